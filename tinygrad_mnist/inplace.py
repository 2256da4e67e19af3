"""In-place forms: a result is computed out of place and written over the tensor, whose history it becomes."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any

from . import dtypes, ops
from .autograd import Variable, is_grad_enabled, record

def in_place(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The in-place form of `fn`: its result overwrites its first argument, which is returned."""

    @functools.wraps(fn)
    def apply(self: Variable, *args: Any, **kwargs: Any) -> Any:
        check_may_change(self)
        result, old = _from_old(fn, self, args, kwargs)
        _check_fits(self, result)
        result = result if result.dtype == self.dtype else ops.cast(result, self.dtype)
        _check_view(self, result)
        if (kept := old()) is not None and kept is not self:
            # A gradient function needs the old content, which is about to be overwritten.
            kept.array, kept.version = kept.array.copy(), kept.version.copy()
        self.array[...] = result.array
        self.version[0] += 1
        _adopt(self, result)
        return self

    return apply


def _from_old(fn: Callable, self: Variable, args: tuple, kwargs: dict) -> tuple[Variable, weakref.ref[Variable]]:
    """fn(self, ...), and a weak reference to what stood for `self`: alive if a gradient function holds on to it."""
    old = _as_it_was(self) if is_grad_enabled() else self
    args = tuple(old if a is self else a for a in args)
    return fn(old, *args, **kwargs), weakref.ref(old)


def _as_it_was(self: Variable) -> Variable:
    """`self` under another name, which keeps the history that `self` is about to change."""
    old = self.kind.wrap(self.array, self.node)
    old.version, old.base = self.version, self.base
    return old


def set_item(self: Variable, key: Any, value: Any) -> None:
    """self[key] = value, for a number, array or tensor that broadcasts to self[key]."""
    check_may_change(self)
    if not isinstance(value, Variable):
        value = self.like(self.xp.asarray(value, None if hasattr(value, "dtype") else self.dtype))
    recorded = is_grad_enabled() and (self.requires_grad or value.requires_grad)
    where = ops.index_key(key)
    if recorded:
        value = _broadcastable(value, self.array[where].shape)
        _check_view(self, value)
    try:
        self.array[where] = value.array
    except ValueError as error:
        raise RuntimeError(
            f"shape mismatch: value of shape {tuple(value.shape)} cannot be broadcast to the indexing result of "
            f"shape {tuple(self.array[where].shape)}"
        ) from error
    self.version[0] += 1
    if recorded:
        shape, before = value.shape, value.dtype
        result = record(
            "IndexPutBackward0",
            self.array,
            (_as_it_was(self), value),
            (
                lambda g: ops.masked_fill(g, _mask(g, where), 0),
                lambda g: ops.cast(ops.sum_to(ops.index(g, where), shape), before),
            ),
        )
        _adopt(self, result)


def _mask(g: Variable, where: Any) -> Variable:
    """True where an assignment to [where] overwrites."""
    mask = g.xp.zeros(g.shape, bool)
    mask[where] = True
    return g.like(mask)


def _broadcastable(value: Variable, shape: tuple[int, ...]) -> Variable:
    """`value` without leading axes of size 1 that `shape` does not have: assignment ignores them."""
    extra = value.ndim - len(shape)
    if extra > 0 and all(n == 1 for n in value.shape[:extra]):
        return ops.reshape(value, tuple(value.shape[extra:]))
    return value


def _adopt(self: Variable, result: Variable) -> None:
    """Make the history of `result`, whose content `self` now has, that of `self`."""
    node = result.node
    if node is None or node is self.node:
        return
    if self.node is not None and self.retains_grad:
        node.retainer, self.node.retainer = self.node.retainer, None
    if node.output is not None and node.output[1] is result.array:
        node.output = (self.kind, self.array, self.version, self.version[0])
    self.node = node


def check_may_change(self: Variable) -> None:
    """Raise if `self` may not be changed in place."""
    array = self.array
    if 0 in array.strides and any(n > 1 and step == 0 for n, step in zip(array.shape, array.strides, strict=True)):
        raise RuntimeError(
            f"unsupported operation: more than one element of the written-to tensor (shape {tuple(self.shape)}) refers "
            "to a single memory location, as expand() makes them; clone() the tensor first"
        )
    if is_grad_enabled():
        advice = "use the out-of-place form (y = x + 1), or change it inside no_grad()"
        if self.node is None and self.requires_grad:
            raise RuntimeError(f"a leaf Variable that requires grad is being used in an in-place operation; {advice}")
        base = None if self.base is None else self.base[0]
        if base is not None and base.node is None and base.requires_grad:
            raise RuntimeError(
                f"a view of a leaf Variable that requires grad is being used in an in-place operation; {advice}"
            )


def _check_fits(self: Variable, result: Variable) -> None:
    if result.shape != self.shape:
        raise RuntimeError(
            f"output with shape {list(self.shape)} doesn't match the broadcast shape {list(result.shape)}"
        )
    if not dtypes.can_cast(result.dtype, self.dtype):
        raise RuntimeError(f"result type {result.dtype} can't be cast to the desired output type {self.dtype}")


def _check_view(self: Variable, value: Variable) -> None:
    """Raise if a view would get a history that the tensor it shows does not have."""
    if self.base is not None and is_grad_enabled() and (self.base[0].requires_grad or value.requires_grad):
        raise RuntimeError(
            f"in-place operation on a view (shape {tuple(self.shape)}, of a tensor of shape "
            f"{tuple(self.base[0].shape)}) that gradients flow through is not supported: assign to the tensor itself, "
            "x[index] = x[index] + 1, or work on x[index].clone()"
        )
