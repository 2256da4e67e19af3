"""The arithmetic of Tensor: its operators, and the functions that are its methods too.

A method with the arguments of its function *is* the function, assigned here by name, so that signature and
documentation are written once. Methods that differ (`x.permute(1, 0)` for `permute(x, (1, 0))`) are written out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import creation, functions, ops
from .autograd import Variable

Tensor = Any  # what the methods return: `tensor.Tensor`, the subclass that people hold


def _operators(fn: Callable) -> tuple[Callable, Callable]:
    """`x ⊕ other` and `other ⊕ x` from a function of two operands."""

    def forward(self: Any, other: Any) -> Any:
        other = operand(other)
        return other if other is NotImplemented else fn(self, other)

    def reflected(self: Any, other: Any) -> Any:
        other = operand(other)
        return other if other is NotImplemented else fn(other, self)

    return forward, reflected


def operand(x: Any) -> Any:
    """What an operator may meet: tensors and Python numbers as they are, NumPy's converted."""
    if isinstance(x, Variable | int | float):
        return x
    if isinstance(x, np.generic):
        return x.item()
    return creation.from_numpy(x) if isinstance(x, np.ndarray) else NotImplemented


def _ints(args: tuple[Any, ...]) -> tuple[int, ...]:
    """The sizes or dimensions in x.view(2, 3) and x.view((2, 3))."""
    return args if len(args) != 1 or hasattr(args[0], "__index__") else tuple(args[0])


class TensorOps(Variable):
    """What a Tensor computes."""

    __array_priority__ = 1000  # ndarray + tensor is tensor.__radd__(ndarray)
    __hash__ = object.__hash__  # by identity, although == compares elements

    __add__, __radd__ = _operators(functions.add)
    __sub__, __rsub__ = _operators(functions.sub)
    __mul__, __rmul__ = _operators(ops.mul)
    __truediv__, __rtruediv__ = _operators(ops.div)
    __floordiv__, __rfloordiv__ = _operators(ops.floor_divide)
    __mod__, __rmod__ = _operators(ops.remainder)
    __pow__, __rpow__ = _operators(ops.pow)
    __matmul__, __rmatmul__ = _operators(ops.matmul)
    __and__, __rand__ = _operators(ops.bitwise_and)
    __or__, __ror__ = _operators(ops.bitwise_or)
    __xor__, __rxor__ = _operators(ops.bitwise_xor)
    __eq__, _ = _operators(ops.eq)
    __ne__, _ = _operators(ops.ne)
    __lt__, __gt__ = _operators(ops.lt)
    __le__, __ge__ = _operators(ops.le)
    del _
    __neg__ = ops.neg
    __abs__ = ops.abs
    __invert__ = ops.bitwise_not
    __getitem__ = ops.getitem

    def __pos__(self) -> Tensor:
        return self

    # Arithmetic
    add = functions.add
    sub = subtract = functions.sub
    mul = multiply = ops.mul
    div = divide = true_divide = functions.div
    floor_divide = ops.floor_divide
    remainder = ops.remainder
    pow = ops.pow
    neg = negative = ops.neg
    maximum = ops.maximum
    minimum = ops.minimum
    clamp = clip = ops.clamp
    clamp_min = ops.clamp_min
    clamp_max = ops.clamp_max
    lerp = ops.lerp
    addcmul = functions.addcmul
    addcdiv = functions.addcdiv

    # Functions of one number
    abs = absolute = ops.abs
    sign = ops.sign
    exp = ops.exp
    exp2 = ops.exp2
    expm1 = ops.expm1
    log = ops.log
    log2 = ops.log2
    log10 = ops.log10
    log1p = ops.log1p
    sqrt = ops.sqrt
    rsqrt = ops.rsqrt
    square = ops.square
    reciprocal = ops.reciprocal
    sin = ops.sin
    cos = ops.cos
    tan = ops.tan
    tanh = ops.tanh
    sigmoid = ops.sigmoid
    erf = ops.erf
    floor = ops.floor
    ceil = ops.ceil
    round = ops.round
    trunc = ops.trunc
    relu = ops.relu
    softmax = functions.softmax
    log_softmax = functions.log_softmax

    # Comparison
    eq = ops.eq
    ne = ops.ne
    lt = ops.lt
    le = ops.le
    gt = ops.gt
    ge = ops.ge
    isnan = ops.isnan
    isinf = ops.isinf
    isfinite = ops.isfinite
    logical_not = ops.logical_not
    logical_and = ops.logical_and
    logical_or = ops.logical_or
    logical_xor = ops.logical_xor
    isclose = functions.isclose
    allclose = functions.allclose
    equal = functions.equal

    # Reductions
    sum = functions.sum
    mean = functions.mean
    prod = functions.prod
    var = functions.var
    std = functions.std
    norm = functions.norm
    logsumexp = functions.logsumexp
    max = functions.max
    min = functions.min
    amax = functions.amax
    amin = functions.amin
    argmax = functions.argmax
    argmin = functions.argmin
    all = functions.all
    any = functions.any
    cumsum = functions.cumsum
    cumprod = functions.cumprod
    sort = functions.sort
    argsort = functions.argsort
    topk = functions.topk
    bincount = functions.bincount
    unique = functions.unique
    count_nonzero = functions.count_nonzero
    nonzero = functions.nonzero

    # Matrices
    matmul = ops.matmul
    mm = ops.mm
    bmm = ops.bmm
    mv = ops.mv
    dot = ops.dot
    outer = ops.outer
    t = functions.t
    tril = ops.tril
    triu = ops.triu
    diagonal = ops.diagonal

    # Elements by position
    gather = ops.gather
    scatter = ops.scatter
    scatter_add = ops.scatter_add
    index_select = ops.index_select
    take_along_dim = ops.take_along_dim
    masked_fill = ops.masked_fill
    masked_select = ops.masked_select
    narrow = ops.narrow

    # Shape
    clone = ops.clone
    contiguous = ops.contiguous
    flatten = ops.flatten
    squeeze = ops.squeeze
    unsqueeze = ops.unsqueeze
    transpose = swapaxes = swapdims = ops.transpose
    movedim = ops.movedim
    roll = ops.roll
    split = ops.split
    chunk = ops.chunk
    unbind = ops.unbind

    def where(self, condition: Tensor, other: Any) -> Tensor:
        """This where the bool tensor `condition` is True, else `other`."""
        return ops.where(condition, self, other)

    def reshape(self, *shape: Any) -> Tensor:
        """The same elements in another shape (one size may be -1); a view where the memory allows."""
        return ops.reshape(self, _ints(shape))

    view = reshape  # a copy where PyTorch would refuse: memory order is not part of our contract

    def expand(self, *sizes: Any) -> Tensor:
        """Repeated along dimensions of size 1 and new ones in front, as a read-only view; -1 keeps a size."""
        return ops.expand(self, _ints(sizes))

    def permute(self, *dims: Any) -> Tensor:
        """Dimension i of the result is dimension dims[i] of this."""
        return ops.permute(self, _ints(dims))

    def flip(self, *dims: Any) -> Tensor:
        """The order along `dims` reversed."""
        return ops.flip(self, _ints(dims))

    def repeat(self, *sizes: Any) -> Tensor:
        """Repeated sizes[d] times along each dimension d."""
        return ops.repeat(self, _ints(sizes))

    def tile(self, *dims: Any) -> Tensor:
        """Like `repeat`; fewer numbers than dimensions are filled with 1 in front."""
        return ops.tile(self, _ints(dims))

    def view_as(self, other: Tensor) -> Tensor:
        return self.view(other.shape)

    def reshape_as(self, other: Tensor) -> Tensor:
        return self.reshape(other.shape)

    def expand_as(self, other: Tensor) -> Tensor:
        return self.expand(other.shape)

    @property
    def T(self) -> Tensor:
        """The dimensions in reverse order."""
        return ops.permute(self, tuple(reversed(range(self.ndim))))

    @property
    def mT(self) -> Tensor:
        """The last two dimensions exchanged."""
        return ops.transpose(self, -2, -1)
