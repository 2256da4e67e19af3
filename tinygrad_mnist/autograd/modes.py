"""Switches of the tape, one set per thread: is it recording, and is it looking for NaN?"""

from __future__ import annotations

import contextvars
import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any, Self, TypeVar

import numpy as np

F = TypeVar("F", bound=Callable[..., Any])


class _Silent:
    """Calls functions in a context where NumPy is silent: as in PyTorch, inf and NaN are results, not warnings.

    It is made once for each thread. To enter it takes half as long as `np.errstate`, which makes one at each call; but
    what others keep in a context (the kernels of CUDA do) is not to be seen there.
    """

    def __init__(self) -> None:
        self.context = contextvars.Context()
        self.context.run(np.seterr, all="ignore")
        self.entered = False

    def call(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """fn(*args, **kwargs)"""
        if self.entered:  # a context cannot be entered twice: by a signal's handler, say, that runs an op in an op
            return fn(*args, **kwargs)
        self.entered = True
        try:
            return self.context.run(fn, *args, **kwargs)
        finally:
            self.entered = False


class _Mode(threading.local):
    def __init__(self) -> None:  # once in each thread
        self.silent = _Silent()
        self.grad = True
        self.inference = False
        self.anomaly = False
        self.walking = False  # backward is under way,
        self.everywhere = False  # and to every leaf


mode = _Mode()


class _Switch:
    """A context manager and decorator that sets some of the switches and puts them back."""

    def __init__(self, **values: bool) -> None:
        self._set = values
        self._before: list[dict[str, bool]] = []  # a stack: one switch object may be entered again inside itself

    def __enter__(self) -> Self:
        switches = vars(mode)  # this thread's
        self._before.append({name: switches[name] for name in self._set})
        switches.update(self._set)
        return self

    def __exit__(self, *_: object) -> None:
        vars(mode).update(self._before.pop())

    def __call__(self, fn: F) -> F:
        if inspect.isgeneratorfunction(fn):
            raise TypeError(f"{type(self).__name__}: cannot decorate a generator function; use 'with' inside it")

        @functools.wraps(fn)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with self:
                return fn(*args, **kwargs)

        return inside  # type: ignore[return-value]  # wraps() keeps the signature


class set_grad_enabled(_Switch):
    """Turn recording on or off: at once, and inside a `with` only there."""

    def __init__(self, mode_: bool):
        super().__init__(grad=bool(mode_))
        self._outside = mode.grad
        mode.grad = bool(mode_)

    def __enter__(self) -> Self:
        mode.grad = self._outside
        return super().__enter__()

    def __call__(self, fn: F) -> F:
        mode.grad = self._outside
        return super().__call__(fn)


class _BareDecorator(_Switch):
    """A switch that may stand without brackets: `@no_grad` as well as `@no_grad()`."""

    def __new__(cls, fn: Any = None) -> Any:
        return cls()(fn) if callable(fn) else super().__new__(cls)


class no_grad(_BareDecorator):
    """Record nothing: what is computed inside needs no gradient."""

    def __init__(self, fn: None = None):
        self._set, self._before = {"grad": False}, []  # half the time of super().__init__


class enable_grad(_BareDecorator):
    """Record again, inside a `no_grad`."""

    def __init__(self, fn: None = None):
        super().__init__(grad=True)


class inference_mode(_BareDecorator):
    """Like `no_grad`, for prediction; `is_inference_mode_enabled()` tells."""

    def __init__(self, mode: bool = True):
        super().__init__(grad=not mode, inference=mode)


class set_detect_anomaly(_Switch):
    """Turn `detect_anomaly` on or off: at once, and inside a `with` only there."""

    def __init__(self, mode_: bool):
        super().__init__(anomaly=bool(mode_))
        self._outside = mode.anomaly
        mode.anomaly = bool(mode_)

    def __enter__(self) -> Self:
        mode.anomaly = self._outside
        return super().__enter__()


class detect_anomaly(_Switch):
    """Stop at the first NaN that an op or a gradient makes, and name the op and the line that called it.

    Slow, for debugging: every result is looked through.
    """

    def __init__(self) -> None:
        super().__init__(anomaly=True)


class walking(_Switch):
    """Backward is under way, to every leaf or not, and recorded itself if it is to be differentiated again."""

    def __init__(self, create_graph: bool, everywhere: bool):
        super().__init__(grad=create_graph, walking=True, everywhere=everywhere)


def is_grad_enabled() -> bool:
    """Whether ops are being recorded in this thread."""
    return mode.grad


def every_gradient_is_wanted() -> bool:
    """Whether backward is under way in this thread, to every leaf: not only to some that were named."""
    return mode.everywhere


def is_inference_mode_enabled() -> bool:
    """Whether this thread is inside `inference_mode`."""
    return mode.inference
