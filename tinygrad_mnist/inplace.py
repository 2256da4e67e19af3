"""In-place forms: a result is computed out of place and written over the tensor, whose history it becomes."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from . import creation, dtypes, functions, ops
from .autograd import Variable, is_grad_enabled
from .random import Generator, default_generator
from .tensor_ops import Tensor, TensorOps


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
    kwargs = {name: old if a is self else a for name, a in kwargs.items()}
    return fn(old, *args, **kwargs), weakref.ref(old)


def _as_it_was(self: Variable) -> Variable:
    """`self` under another name, which keeps the history that `self` is about to change."""
    old = self.kind.wrap(self.array, self.node)
    old.version, old.base = self.version, self.base
    return old


def set_item(self: Variable, key: Any, value: Any) -> None:
    """self[key] = value, for a number, array or tensor that broadcasts to self[key]."""
    if isinstance(value, np.ndarray):
        value = creation.as_tensor(value, device=self.device)
    if is_grad_enabled() and (self.requires_grad or getattr(value, "requires_grad", False)):
        in_place(ops.setitem)(self, key, value)
    else:
        check_may_change(self)
        ops.assign(self, key, value)
        self.version[0] += 1


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
    # NumPy gives arrays without elements strides of 0 too.
    repeats = array.size and any(n > 1 and step == 0 for n, step in zip(array.shape, array.strides, strict=True))
    if repeats:
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


class InPlaceOps(TensorOps):
    """What a Tensor does to itself: x.exp_() is x = x.exp() in the same memory."""

    __iadd__ = in_place(functions.add)
    __isub__ = in_place(functions.sub)
    __imul__ = in_place(ops.mul)
    __itruediv__ = in_place(ops.div)
    __ifloordiv__ = in_place(ops.floor_divide)
    __imod__ = in_place(ops.remainder)
    __ipow__ = in_place(ops.pow)
    __iand__ = in_place(ops.bitwise_and)
    __ior__ = in_place(ops.bitwise_or)
    __ixor__ = in_place(ops.bitwise_xor)

    add_ = in_place(functions.add)
    sub_ = in_place(functions.sub)
    mul_ = in_place(ops.mul)
    div_ = in_place(functions.div)
    floor_divide_ = in_place(ops.floor_divide)
    remainder_ = in_place(ops.remainder)
    pow_ = in_place(ops.pow)
    neg_ = in_place(ops.neg)
    clamp_ = clip_ = in_place(ops.clamp)
    clamp_min_ = in_place(ops.clamp_min)
    clamp_max_ = in_place(ops.clamp_max)
    lerp_ = in_place(ops.lerp)
    addcmul_ = in_place(functions.addcmul)
    addcdiv_ = in_place(functions.addcdiv)
    abs_ = in_place(ops.abs)
    exp_ = in_place(ops.exp)
    log_ = in_place(ops.log)
    sqrt_ = in_place(ops.sqrt)
    rsqrt_ = in_place(ops.rsqrt)
    square_ = in_place(ops.square)
    reciprocal_ = in_place(ops.reciprocal)
    sin_ = in_place(ops.sin)
    cos_ = in_place(ops.cos)
    tanh_ = in_place(ops.tanh)
    sigmoid_ = in_place(ops.sigmoid)
    relu_ = in_place(ops.relu)
    floor_ = in_place(ops.floor)
    ceil_ = in_place(ops.ceil)
    round_ = in_place(ops.round)
    trunc_ = in_place(ops.trunc)
    logical_not_ = in_place(ops.logical_not)
    masked_fill_ = in_place(ops.masked_fill)
    scatter_ = in_place(ops.scatter)
    scatter_add_ = in_place(ops.scatter_add)
    tril_ = in_place(ops.tril)
    triu_ = in_place(ops.triu)

    def __setitem__(self, key: Any, value: Any) -> None:
        set_item(self, key, value)

    def fill_(self, value: Any) -> Tensor:
        """Every element set to `value`, a number or a tensor without dimensions."""
        set_item(self, ..., value)
        return self

    def zero_(self) -> Tensor:
        """Every element set to 0."""
        return self.fill_(0)

    def copy_(self, src: Any, non_blocking: bool = False) -> Tensor:
        """The elements of `src`, which is broadcast, and converted in dtype and device."""
        set_item(self, ..., src.to(self.device))
        return self

    def normal_(self, mean: float = 0, std: float = 1, *, generator: Generator | None = None) -> Tensor:
        """Normal random numbers."""
        return self._draw((generator or default_generator).normal(self.shape, self.dtype) * std + mean)

    def uniform_(self, a: float = 0, b: float = 1, *, generator: Generator | None = None) -> Tensor:
        """Uniform random numbers in [a, b)."""
        return self._draw((generator or default_generator).uniform(self.shape, self.dtype) * (b - a) + a)

    def bernoulli_(self, p: float = 0.5, *, generator: Generator | None = None) -> Tensor:
        """1 with probability p, else 0."""
        return self._draw((generator or default_generator).uniform(self.shape) < p)

    def random_(self, low: int, high: int | None = None, *, generator: Generator | None = None) -> Tensor:
        """Random integers in [0, low), or in [low, high)."""
        return self._draw((generator or default_generator).integers(low, self.shape, high))

    def _draw(self, values: np.ndarray) -> Tensor:
        set_item(self, ..., values)
        return self
