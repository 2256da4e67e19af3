"""Functions of tensors with PyTorch's signatures, where these offer more than the op does.

Each is a method of Tensor and a function of the package; what has the op's own signature is taken from `ops`
directly. Here are the optional arguments (alpha, dtype, rounding_mode, unbiased), named results, comparisons
of whole tensors, and counting.
"""

from __future__ import annotations

import builtins
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from . import dtypes, ops
from .autograd import Variable

Tensor = Any  # what the functions take and return: `tensor.Tensor`, which this module lies below
F = TypeVar("F", bound=Callable[..., Any])


def numpy_names(fn: F) -> F:
    """`fn`, which may be called with NumPy's names, axis= and keepdims=, for dim= and keepdim= too, as in PyTorch."""

    @functools.wraps(fn)
    def apply(*args: Any, **kwargs: Any) -> Any:
        for theirs, ours in (("axis", "dim"), ("keepdims", "keepdim")) if kwargs else ():
            if theirs in kwargs:
                kwargs[ours] = kwargs.pop(theirs)
        return fn(*args, **kwargs)

    return apply  # type: ignore[return-value]  # wraps() keeps the signature


class Selected(NamedTuple):
    """Elements, and the indices they were found at."""

    values: Tensor
    indices: Tensor


def _scaled(other: Any, alpha: float) -> Any:
    return other if alpha == 1 else ops.mul(other, alpha) if isinstance(other, Variable) else other * alpha


def add(input: Tensor, other: Any, *, alpha: float = 1) -> Tensor:
    """input + alpha · other"""
    return ops.add(input, _scaled(other, alpha))


def sub(input: Tensor, other: Any, *, alpha: float = 1) -> Tensor:
    """input - alpha · other"""
    if builtins.any(getattr(x, "dtype", None) == dtypes.bool for x in (input, other)):
        raise RuntimeError("subtraction with a bool tensor is not supported; use logical_xor() or logical_not()")
    return ops.sub(input, _scaled(other, alpha))


def div(input: Tensor, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """input / other; rounding_mode 'trunc' rounds towards 0, 'floor' down."""
    if rounding_mode is None:
        return ops.div(input, other)
    if rounding_mode not in ("trunc", "floor"):
        raise RuntimeError(f"div: rounding_mode must be None, 'trunc' or 'floor', got {rounding_mode!r}")
    if rounding_mode == "floor":
        return ops.floor_divide(input, other)
    if result_type(input, other).kind == "f":
        return ops.trunc(ops.div(input, other))
    size = ops.floor_divide(ops.abs(input), ops.abs(other) if isinstance(other, Variable) else abs(other))
    negative = ops.ne(ops.lt(input, 0), ops.lt(other, 0) if isinstance(other, Variable) else other < 0)
    return ops.where(negative, ops.neg(size), size)


def _as(input: Tensor, dtype: Any) -> Tensor:
    return input if dtype is None else ops.cast(input, np.dtype(dtype))


@numpy_names
def sum(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The sum over `dim` (one, several, or None for all), in `dtype`; int64 for integers and bool."""
    return ops.sum(_as(input, dtype), dim, keepdim)


@numpy_names
def mean(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The mean over `dim` (one, several, or None for all), in `dtype`."""
    return ops.mean(_as(input, dtype), dim, keepdim)


@numpy_names
def prod(input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The product over `dim` (None for all), in `dtype`."""
    return ops.prod(_as(input, dtype), dim, keepdim)


@numpy_names
def cumsum(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """The running sum along `dim`, in `dtype`."""
    return ops.cumsum(_as(input, dtype), dim)


@numpy_names
def cumprod(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """The running product along `dim`, in `dtype`."""
    return ops.cumprod(_as(input, dtype), dim)


def _correction(dim: Any, unbiased: bool | None, correction: float) -> tuple[Any, float]:
    """var(x, False) means unbiased=False, as in PyTorch."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    return dim, correction if unbiased is None else float(unbiased)


@numpy_names
def var(
    input: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *, correction: float = 1
) -> Tensor:
    """The variance over `dim`: squared distances from the mean, summed and divided by their number - correction."""
    dim, correction = _correction(dim, unbiased, correction)
    return ops.var(input, dim, correction, keepdim)


@numpy_names
def std(
    input: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *, correction: float = 1
) -> Tensor:
    """The square root of the variance over `dim`."""
    dim, correction = _correction(dim, unbiased, correction)
    return ops.std(input, dim, correction, keepdim)


def norm(input: Tensor, p: float | str | None = "fro", dim: Any = None, keepdim: bool = False) -> Tensor:
    """(sum of |x|^p)^(1/p) over `dim`; 'fro' is p = 2."""
    return ops.norm(input, 2.0 if p in ("fro", None) else float(p), dim, keepdim)


@numpy_names
def max(input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """The largest element; with `dim`, (values, indices) along it; with a tensor, the elementwise maximum."""
    other = dim if isinstance(dim, Variable) else other
    if other is not None:
        return ops.maximum(input, other)
    return ops.max(input) if dim is None else Selected(*ops.max(input, dim, keepdim))


@numpy_names
def min(input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """The smallest element; with `dim`, (values, indices) along it; with a tensor, the elementwise minimum."""
    other = dim if isinstance(dim, Variable) else other
    if other is not None:
        return ops.minimum(input, other)
    return ops.min(input) if dim is None else Selected(*ops.min(input, dim, keepdim))


@numpy_names
def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = True) -> Selected:
    """(values, indices) sorted along `dim`; always stable."""
    return Selected(*ops.sort(input, dim, descending))


def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Selected:
    """(values, indices) of the k largest (or smallest) along `dim`; always sorted."""
    return Selected(*ops.topk(input, k, dim, largest))


@numpy_names
def softmax(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """e^x / (sum of e^x along `dim`)"""
    return ops.softmax(_as(input, dtype), dim)


@numpy_names
def log_softmax(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """x - log(sum of e^x along `dim`)"""
    return ops.log_softmax(_as(input, dtype), dim)


def einsum(equation: str, *operands: Any) -> Tensor:
    """Products summed over the letters that are not in the result: einsum('ij,jk->ik', a, b)."""
    return ops.einsum(equation, *(operands[0] if isinstance(operands[0], list | tuple) else operands))


def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """input + value · tensor1 · tensor2"""
    return add(input, ops.mul(tensor1, tensor2), alpha=value)


def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """input + value · tensor1 / tensor2"""
    return add(input, ops.div(tensor1, tensor2), alpha=value)


def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta · input + alpha · mat1 @ mat2"""
    return ops.add(_scaled(input, beta), _scaled(ops.mm(mat1, mat2), alpha))


def t(input: Tensor) -> Tensor:
    """A matrix transposed; vectors and numbers as they are."""
    if input.ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, got {input.ndim}; use .mT or transpose")
    return ops.transpose(input, 0, -1) if input.ndim == 2 else input


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """1-d tensors as coordinates of a grid: each expanded over the dimensions of the others."""
    if indexing not in ("ij", "xy"):
        raise RuntimeError(f"meshgrid: indexing must be one of 'xy' or 'ij', but received: {indexing}")
    axes = list(tensors[0] if isinstance(tensors[0], Sequence) else tensors)
    swap = indexing == "xy" and len(axes) > 1
    shape = tuple(x.numel() for x in axes)
    grids = [
        ops.expand(ops.reshape(x, tuple(-1 if d == i else 1 for d in range(len(axes)))), shape)
        for i, x in enumerate(axes)
    ]
    return tuple(ops.transpose(g, 0, 1) if swap else g for g in grids)


def isclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Tensor:
    """Whether |input - other| <= atol + rtol · |other|, elementwise."""
    if input.dtype != other.dtype:
        raise RuntimeError(f"isclose: expected tensors of one dtype, got {input.dtype} and {other.dtype}")
    a, b = (x.array for x in (input, other))
    return input.like(input.xp.isclose(a, b, rtol=rtol, atol=atol, equal_nan=equal_nan))


def allclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
    """Whether |input - other| <= atol + rtol · |other| everywhere."""
    return builtins.bool(isclose(input, other, rtol, atol, equal_nan).array.all())


def equal(input: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same shape and elements."""
    return input.shape == other.shape and builtins.bool((input.array == other.array).all())


def numel(input: Tensor) -> int:
    """The number of elements."""
    return input.array.size


def is_tensor(obj: Any) -> bool:
    """Whether `obj` is a Tensor."""
    return isinstance(obj, Variable)


def is_floating_point(input: Tensor) -> bool:
    """Whether the dtype is a floating one."""
    return input.dtype.kind == "f"


def result_type(tensor1: Any, tensor2: Any) -> np.dtype:
    """The dtype that two tensors or numbers meet in."""
    return dtypes.result_type(
        [(x.dtype, 2 if x.ndim else 1) if is_tensor(x) else (dtypes.scalar_dtype(x), 0) for x in (tensor1, tensor2)]
    )


def bincount(input: Tensor, minlength: int = 0) -> Tensor:
    """How often 0, 1, 2, ... occur in a 1-d tensor of non-negative integers (int64)."""
    if input.ndim != 1 or input.dtype.kind not in "iu" or (input.array.size and input.array.min() < 0):
        raise RuntimeError(f"bincount expects a 1-d tensor of non-negative integers, got {input.dtype}, {input.shape}")
    return input.like(input.xp.bincount(input.array, minlength=minlength).astype(dtypes.int64, copy=False))


def unique(
    input: Tensor, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False
) -> Any:
    """The different elements, always sorted; with the place of each element among them, and how often each occurs."""
    found = input.xp.unique(input.array, return_inverse=return_inverse, return_counts=return_counts)
    return tuple(map(input.like, found)) if isinstance(found, tuple) else input.like(found)


def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """The indices of the elements that are not 0, one a row; with `as_tuple`, one tensor per dimension."""
    found = ops.nonzero(input)
    return ops.unbind(found, 1) if as_tuple else found


def where(condition: Tensor, input: Any = None, other: Any = None) -> Any:
    """`input` where the bool tensor `condition` is True, else `other`; alone: the indices where it is."""
    if input is None and other is None:
        return nonzero(condition, as_tuple=True)
    return ops.where(condition, input, other)


@numpy_names
def count_nonzero(input: Tensor, dim: Any = None) -> Tensor:
    """How many elements over `dim` are not 0."""
    return ops.sum(ops.ne(input, 0), dim)


amax, amin, argmax, argmin, argsort = map(numpy_names, (ops.amax, ops.amin, ops.argmax, ops.argmin, ops.argsort))
all, any, logsumexp = map(numpy_names, (ops.all, ops.any, ops.logsumexp))
cat, stack = numpy_names(ops.cat), numpy_names(ops.stack)
inf, nan, pi, e = math.inf, math.nan, math.pi, math.e
