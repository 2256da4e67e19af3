"""New tensors: from data, from a shape, from a pattern."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import backend, dtypes
from .autograd import Variable

Device = str | backend.device | None
Tensor = Any  # what every function here returns: `tensor.Tensor`, which this module lies below

_default_device: backend.device | None = None  # None: data stay where they are, all else is made on the CPU


def get_default_device() -> backend.device:
    """Where new tensors are made that are given no device: the CPU, unless `set_default_device` was called."""
    return _default_device or backend.device("cpu")


def set_default_device(device: Device) -> None:
    """Make new tensors and layers that are given no device on this one; None: as before the first call.

    Tensors that are there already stay where they are, and so do the results of ops: with their inputs.
    Raises BackendError if the machine has no such device.

    >>> set_default_device("cpu")
    >>> get_default_device()
    device(type='cpu')
    """
    global _default_device
    chosen = None if device is None else backend.device(device)
    if chosen is not None:
        backend.get(chosen.type)
    _default_device = chosen


def wrap(array: Any, device: Device = None, requires_grad: bool = False) -> Tensor:
    """`array` as a Tensor on `device` (default: where it is)."""
    if device is not None:
        array = backend.get(backend.device(device).type).to_device(array)
    out = Variable.kind.wrap(array)
    if requires_grad:
        out.requires_grad = True
    return out


def new(array: Any, device: Device = None, requires_grad: bool = False) -> Tensor:
    """`array` as a Tensor on `device` (default: the default device, else where it is)."""
    return wrap(array, device or _default_device, requires_grad)


def to_array(data: Any, dtype: Any = None) -> Any:
    """`data` as an array, not copied where it is one already, with PyTorch's choice of dtype.

    Tensors, arrays and NumPy scalars keep theirs; Python floats take the default dtype, Python ints int64.
    """
    if isinstance(data, Variable):
        array = data.array
    elif hasattr(data, "__cuda_array_interface__"):
        array = backend.get("cuda").to_device(data)
    else:
        array = _from_python(data)
        first = _first(data)
        if dtype is None and type(first) in (bool, int, float):
            dtype = {"b": dtypes.bool, "f": dtypes.get_default_dtype()}.get(array.dtype.kind, dtypes.int64)
        elif dtype is None and isinstance(first, Variable) and array.dtype.kind == "f":
            dtype = first.dtype if first.dtype.kind == "f" else dtypes.get_default_dtype()
    if array.dtype.kind not in "bifu":
        raise TypeError(f"expected numbers, nested sequences of numbers, arrays or tensors, got dtype {array.dtype}")
    with np.errstate(all="ignore"):  # as in an op, what is too large for the dtype is inf
        return array.astype(array.dtype.newbyteorder("=") if dtype is None else dtype, copy=False)


def _from_python(data: Any) -> np.ndarray:
    try:
        array = np.asarray(_on_the_cpu(data))
    except ValueError as error:
        raise ValueError(f"expected nested sequences of equal lengths: {error}") from None
    if array.dtype == object or (array.dtype == np.uint64 and not hasattr(data, "dtype")):
        raise ValueError(f"expected numbers that fit in int64 or float64, got {type(_first(data)).__qualname__}")
    return array


def _on_the_cpu(data: Any) -> Any:
    """`data`, with arrays of the CPU for tensors in nested sequences whose first element is a tensor."""
    if not isinstance(_first(data), Variable):
        return data
    if isinstance(data, list | tuple):
        return [_on_the_cpu(part) for part in data]
    return backend.CPU.to_device(data.array)


def _first(data: Any) -> Any:
    """The first element of nested sequences; 0 if there is none."""
    while isinstance(data, list | tuple | range):
        if len(data) == 0:
            return 0
        data = data[0]
    return data


def tensor(data: Any, *, dtype: Any = None, device: Device = None, requires_grad: bool = False) -> Tensor:
    """A new tensor with a copy of `data`: numbers, nested sequences, an array, or a tensor.

    >>> tensor([[1.0, 2.0], [3.0, 4.0]])
    tensor([[1., 2.],
            [3., 4.]])
    """
    array = to_array(data, dtype)
    if array is data or hasattr(data, "__array__") or isinstance(data, Variable):
        array = array.copy()
    return new(array, device, requires_grad)


def as_tensor(data: Any, dtype: Any = None, device: Device = None) -> Tensor:
    """`data` as a tensor, sharing its memory where dtype and device allow; a tensor keeps its history."""
    if isinstance(data, Variable):
        return data.to(device=device or _default_device, dtype=dtype)  # type: ignore[attr-defined]  # a Tensor
    return new(to_array(data, dtype), device)


def from_numpy(ndarray: np.ndarray) -> Tensor:
    """A tensor that shares the memory of a NumPy array."""
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(ndarray).__qualname__})")
    if not ndarray.dtype.isnative:
        raise ValueError(f"expected numbers in this machine's byte order, got dtype {ndarray.dtype.str}; use tensor()")
    return wrap(to_array(ndarray))


def _shape(size: tuple) -> tuple[int, ...]:
    """zeros(2, 3) and zeros((2, 3)) mean the same."""
    if len(size) == 1 and not hasattr(size[0], "__index__"):
        size = tuple(size[0])
    if any(n < 0 for n in size):
        raise RuntimeError(f"trying to create a tensor with a negative dimension: {list(size)}")
    return size


def _new(kind: str, size: tuple, dtype: Any, device: Device, requires_grad: bool) -> Tensor:
    xp = backend.get(backend.device(device or get_default_device()).type).xp
    return wrap(getattr(xp, kind)(_shape(size), dtype or dtypes.get_default_dtype()), requires_grad=requires_grad)


def zeros(*size: Any, dtype: Any = None, device: Device = None, requires_grad: bool = False) -> Tensor:
    """Zeros in a shape: `zeros(2, 3)` or `zeros((2, 3))`."""
    return _new("zeros", size, dtype, device, requires_grad)


def ones(*size: Any, dtype: Any = None, device: Device = None, requires_grad: bool = False) -> Tensor:
    """Ones in a shape."""
    return _new("ones", size, dtype, device, requires_grad)


def empty(*size: Any, dtype: Any = None, device: Device = None, requires_grad: bool = False) -> Tensor:
    """Memory of a shape, not set to anything."""
    return _new("empty", size, dtype, device, requires_grad)


def full(
    size: Any, fill_value: Any, *, dtype: Any = None, device: Device = None, requires_grad: bool = False
) -> Tensor:
    """`fill_value` in a shape; its type decides the dtype, as in `tensor`."""
    value = to_array(fill_value, dtype)
    if value.ndim:
        raise TypeError(f"full: expected a number to fill with, got shape {value.shape}")
    return new(np.full(_shape((size,)), value), device, requires_grad)


def eye(
    n: int, m: int | None = None, *, dtype: Any = None, device: Device = None, requires_grad: bool = False
) -> Tensor:
    """The identity matrix with n rows and m columns (m = n by default)."""
    return new(np.eye(n, m, dtype=dtype or dtypes.get_default_dtype()), device, requires_grad)


def arange(
    start: Any, end: Any = None, step: Any = 1, *, dtype: Any = None, device: Device = None, requires_grad: bool = False
) -> Tensor:
    """start, start + step, ... below `end`; `arange(end)` starts at 0. int64 if all three are ints.

    >>> arange(1, 2, 0.25)
    tensor([1.0000, 1.2500, 1.5000, 1.7500])
    """
    if end is None:
        start, end = 0, start
    start, end, step = (x.item() if hasattr(x, "item") else x for x in (start, end, step))
    if step == 0:
        raise RuntimeError("arange: step must be nonzero")
    if (end - start) * step < 0:
        raise RuntimeError(f"arange: upper bound and lower bound inconsistent with step sign ({start}, {end}, {step})")
    if dtype is None:
        whole = all(isinstance(x, int) for x in (start, end, step))
        dtype = dtypes.int64 if whole else dtypes.get_default_dtype()
    count = math.ceil((end - start) / step)
    return new((start + step * np.arange(count)).astype(dtype), device, requires_grad)


def linspace(
    start: float, end: float, steps: int, *, dtype: Any = None, device: Device = None, requires_grad: bool = False
) -> Tensor:
    """`steps` values from `start` to `end`, both included, equally far apart."""
    if steps < 0:
        raise RuntimeError(f"linspace: number of steps must be non-negative, got {steps}")
    values = np.linspace(start, end, steps).astype(dtype or dtypes.get_default_dtype())
    return new(values, device, requires_grad)


def _like(kind: str, x: Any, dtype: Any, device: Device, requires_grad: bool) -> Tensor:
    array = getattr(x.xp, kind)(x.array, dtype=dtype or x.dtype)
    return wrap(array, device, requires_grad)


def zeros_like(input: Any, *, dtype: Any = None, device: Device = None, requires_grad: bool = False) -> Tensor:
    """Zeros in the shape, dtype, device and memory layout of `input`."""
    return _like("zeros_like", input, dtype, device, requires_grad)


def ones_like(input: Any, *, dtype: Any = None, device: Device = None, requires_grad: bool = False) -> Tensor:
    """Ones in the shape, dtype, device and memory layout of `input`."""
    return _like("ones_like", input, dtype, device, requires_grad)


def empty_like(input: Any, *, dtype: Any = None, device: Device = None, requires_grad: bool = False) -> Tensor:
    """Unset memory in the shape, dtype, device and memory layout of `input`."""
    return _like("empty_like", input, dtype, device, requires_grad)


def full_like(
    input: Any, fill_value: Any, *, dtype: Any = None, device: Device = None, requires_grad: bool = False
) -> Tensor:
    """`fill_value` in the shape, dtype, device and memory layout of `input`."""
    out = _like("empty_like", input, dtype, device, requires_grad)
    out.array[...] = fill_value
    return out
