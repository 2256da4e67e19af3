"""The arithmetic of Tensor: operators, and the ops as methods.

A method that takes what its function takes is the function, assigned here by name. One that differs
(`x.permute(1, 0)` for `permute(x, (1, 0))`) is written out.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from . import creation, ops
from .autograd import Variable
from .inplace import in_place


def _operators(fn: Callable) -> tuple[Callable, Callable]:
    """`x ⊕ other` and `other ⊕ x` from a function of two operands."""

    def forward(self: Any, other: Any) -> Any:
        other = _operand(other)
        return other if other is NotImplemented else fn(self, other)

    def reflected(self: Any, other: Any) -> Any:
        other = _operand(other)
        return other if other is NotImplemented else fn(other, self)

    return forward, reflected


def _operand(x: Any) -> Any:
    """What an operator may meet: tensors and Python numbers as they are, NumPy's converted."""
    if isinstance(x, Variable | int | float):
        return x
    if isinstance(x, np.generic):
        return x.item()
    return creation.from_numpy(x) if isinstance(x, np.ndarray) else NotImplemented


class TensorOps(Variable):
    """What a Tensor computes."""

    __array_priority__ = 1000  # array * tensor is a tensor

    def __getattr__(self, name: str) -> Any:  # TRANSITIONAL: methods that ops has by the same name
        fn = getattr(ops, name, None) or getattr(ops, name.rstrip("_"), None)
        if fn is None or name.startswith("__"):
            raise AttributeError(f"Tensor has no attribute {name!r}")
        return functools.partial(in_place(fn) if name.endswith("_") else fn, self)

    __add__, __radd__ = _operators(lambda x, y: ops.add(x, y))
    __sub__, __rsub__ = _operators(lambda x, y: ops.sub(x, y))
    __mul__, __rmul__ = _operators(lambda x, y: ops.mul(x, y))
    __truediv__, __rtruediv__ = _operators(lambda x, y: ops.div(x, y))
    __pow__, __rpow__ = _operators(lambda x, y: ops.pow(x, y))
    __matmul__, __rmatmul__ = _operators(lambda x, y: ops.matmul(x, y))
    __iadd__ = in_place(lambda x, y: ops.add(x, y))
    __isub__ = in_place(lambda x, y: ops.sub(x, y))
    __imul__ = in_place(lambda x, y: ops.mul(x, y))
    __itruediv__ = in_place(lambda x, y: ops.div(x, y))
    __eq__ = _operators(lambda x, y: ops.eq(x, y))[0]
    __ne__ = _operators(lambda x, y: ops.ne(x, y))[0]
    __lt__ = _operators(lambda x, y: ops.lt(x, y))[0]
    __le__ = _operators(lambda x, y: ops.le(x, y))[0]
    __gt__ = _operators(lambda x, y: ops.gt(x, y))[0]
    __ge__ = _operators(lambda x, y: ops.ge(x, y))[0]
    __hash__ = object.__hash__

    def __neg__(self) -> Any:
        return ops.neg(self)

    def __getitem__(self, key: Any) -> Any:
        return ops.index(self, key)

    def reshape(self, *shape: Any) -> Any:
        return ops.reshape(self, creation._shape(shape))

    view = reshape

    def permute(self, *dims: Any) -> Any:
        return ops.permute(self, creation._shape(dims))

    def expand(self, *sizes: Any) -> Any:
        return ops.expand(self, creation._shape(sizes))
