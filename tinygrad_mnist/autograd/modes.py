"""Switches of the tape, one set per thread: is it recording, and is it looking for NaN?"""

from __future__ import annotations

import contextvars
import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any, ClassVar, Self, TypeVar

import numpy as np

F = TypeVar("F", bound=Callable[..., Any])


class Mode:
    """The switches of one thread, and a context in which NumPy is silent: as in PyTorch, inf and NaN are results, not
    warnings.

    The context is made once. To enter it takes half as long as `np.errstate`, which makes one at each call; but what
    others keep in a context (the kernels of CUDA do) is not to be seen there.
    """

    def __init__(self) -> None:
        self.silent = contextvars.Context()
        self.silent.run(np.seterr, all="ignore")
        self.is_silent = False
        self.grad = True
        self.inference = False
        self.anomaly = False
        self.walking = False  # backward is under way,
        self.everywhere = False  # and to every leaf

    def silently(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """fn(*args, **kwargs)"""
        if self.is_silent:  # a context cannot be entered twice: by a signal's handler, say, that runs an op in an op
            return fn(*args, **kwargs)
        self.is_silent = True
        try:
            return self.silent.run(fn, *args, **kwargs)
        finally:
            self.is_silent = False


class _Thread(threading.local):
    def __init__(self) -> None:  # once in each thread
        self.mode = Mode()


thread = _Thread()


class _Switch:
    """A context manager and decorator that sets some of the switches and puts them back."""

    def __init__(self, **values: bool) -> None:
        self._set = values
        self._before: list[Any] = []  # a stack: one switch object may be entered again inside itself

    def __enter__(self) -> Self:
        switches = vars(thread.mode)
        self._before.append({name: switches[name] for name in self._set})
        switches.update(self._set)
        return self

    def __exit__(self, *_: object) -> None:
        vars(thread.mode).update(self._before.pop())

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
        self._outside = thread.mode.grad
        thread.mode.grad = bool(mode_)

    def __enter__(self) -> Self:
        thread.mode.grad = self._outside
        return super().__enter__()

    def __call__(self, fn: F) -> F:
        thread.mode.grad = self._outside
        return super().__call__(fn)


class _Recording(_Switch):
    """One switch, in half the time; it may stand without brackets: `@no_grad` as well as `@no_grad()`."""

    on: ClassVar[bool]

    def __new__(cls, fn: Any = None) -> Any:
        return cls()(fn) if callable(fn) else object.__new__(cls)

    def __init__(self, fn: None = None) -> None:
        self._before = []

    def __enter__(self) -> Self:
        mode = thread.mode
        self._before.append(mode.grad)
        mode.grad = self.on
        return self

    def __exit__(self, *_: object) -> None:
        thread.mode.grad = self._before.pop()


class no_grad(_Recording):
    """Record nothing: what is computed inside needs no gradient."""

    on = False


class enable_grad(_Recording):
    """Record again, inside a `no_grad`."""

    on = True


class inference_mode(_Switch):
    """Like `no_grad`, for prediction; `is_inference_mode_enabled()` tells."""

    def __new__(cls, mode: Any = True) -> Any:
        return cls()(mode) if callable(mode) else super().__new__(cls)  # @inference_mode

    def __init__(self, mode: bool = True):
        super().__init__(grad=not mode, inference=mode)


class set_detect_anomaly(_Switch):
    """Turn `detect_anomaly` on or off: at once, and inside a `with` only there."""

    def __init__(self, mode_: bool):
        super().__init__(anomaly=bool(mode_))
        self._outside = thread.mode.anomaly
        thread.mode.anomaly = bool(mode_)

    def __enter__(self) -> Self:
        thread.mode.anomaly = self._outside
        return super().__enter__()


class detect_anomaly(_Switch):
    """Stop at the first NaN that an op or a gradient makes, and name the op and the line that called it.

    Slow, for debugging: every result is looked through.
    """

    def __init__(self) -> None:
        super().__init__(anomaly=True)


class walking:
    """Backward is under way, to every leaf or not, and recorded itself if it is to be differentiated again."""

    def __init__(self, create_graph: bool, everywhere: bool):
        self._set = create_graph, True, everywhere

    def __enter__(self) -> None:
        mode = thread.mode
        self._before = mode.grad, mode.walking, mode.everywhere
        mode.grad, mode.walking, mode.everywhere = self._set

    def __exit__(self, *_: object) -> None:
        mode = thread.mode
        mode.grad, mode.walking, mode.everywhere = self._before


def is_grad_enabled() -> bool:
    """Whether ops are being recorded in this thread."""
    return thread.mode.grad


def every_gradient_is_wanted() -> bool:
    """Whether backward is under way in this thread, to every leaf: not only to some that were named."""
    return thread.mode.everywhere


def is_inference_mode_enabled() -> bool:
    """Whether this thread is inside `inference_mode`."""
    return thread.mode.inference
