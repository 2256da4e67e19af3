"""The Tensor that people hold: PyTorch's names over `ops`.

This file has what a tensor is and how it is moved, read and shown; `tensor_ops.py` has its arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from . import autograd, backend, creation, dtypes, ops, printing
from .autograd import Node, Variable
from .creation import tensor as tensor  # the package takes both names from here
from .inplace import InPlaceOps
from .interop import SharedMemory
from .size import Size


class Tensor(InPlaceOps, SharedMemory):
    """An n-dimensional array that remembers how it was computed. Made by `tensor`, `zeros`, `randn`, ...

    >>> from tinygrad_mnist import tensor
    >>> x = tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    tensor([2., 4.])
    """

    # --- autograd

    def backward(
        self,
        gradient: Tensor | None = None,
        retain_graph: Any = None,
        create_graph: Any = False,
        inputs: Any = None,
    ) -> None:
        """Add d(self)/d(leaf) to `.grad` of every leaf that this was computed from. See `autograd.backward`."""
        autograd.backward(self, gradient, retain_graph, create_graph, inputs)

    @property
    def grad_fn(self) -> Node | None:
        """The recorded op that made this; None for a leaf."""
        return self.node

    @property
    def data(self) -> Any:
        """This tensor's memory, cut off from the tape, as `detach()` gives it. Assigning replaces the memory."""
        return self.detach()

    @data.setter
    def data(self, value: Tensor) -> None:
        # One change more than before, so that a gradient that needs the old content notices.
        self.array, self.version, self.base = value.array, [self.version[0] + 1], None

    def detach_(self) -> Tensor:
        """Cut this tensor itself off from the tape."""
        self.node, self.requires_grad = None, False
        return self

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set `requires_grad`; returns self."""
        self.requires_grad = requires_grad
        return self

    # --- shape and type

    @property
    def shape(self) -> Size:
        return Size(self.array.shape)

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the length of one dimension."""
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        """The number of dimensions."""
        return self.array.ndim

    def numel(self) -> int:
        """The number of elements."""
        return self.array.size

    nelement = numel

    def element_size(self) -> int:
        """Bytes per element."""
        return self.array.itemsize

    @property
    def itemsize(self) -> int:
        return self.array.itemsize

    @property
    def nbytes(self) -> int:
        return self.array.nbytes

    def is_floating_point(self) -> bool:
        return self.dtype.kind == "f"

    @property
    def is_cuda(self) -> bool:
        return self.device.type == "cuda"

    def stride(self, dim: int | None = None) -> Any:
        """How many elements apart neighbours lie in memory, per dimension."""
        strides = tuple(step // self.array.itemsize for step in self.array.strides)
        return strides if dim is None else strides[dim]

    def is_contiguous(self) -> bool:
        """Whether the elements lie in memory in row-major order without gaps."""
        return self.array.flags.c_contiguous

    # --- moving and converting

    def to(
        self, *args: Any, device: Any = None, dtype: Any = None, copy: Any = False, non_blocking: Any = False
    ) -> Any:
        """This tensor on another device and/or in another dtype, or as another tensor has them.

        `x.to("cuda")`, `x.to(float64)`, `x.to("cuda", float64)`, `x.to(other)`. Returns x itself if it fits.
        """
        for arg in args:
            if isinstance(arg, Variable):
                device, dtype = arg.device, arg.dtype
            elif isinstance(arg, str | backend.device):
                device = arg
            elif arg is not None and not isinstance(arg, bool):
                dtype = arg
        out: Any = self
        if device is not None and backend.device(device).type != self.device.type:
            out = ops.to_device(out, backend.device(device).type)
        if dtype is not None and np.dtype(dtype) != self.dtype:
            out = ops.cast(out, np.dtype(dtype))
        return out.clone() if copy and out is self else out

    def cpu(self) -> Tensor:
        """This tensor in the CPU's memory."""
        return self.to("cpu")

    def cuda(self, device: Any = None) -> Tensor:
        """This tensor in a GPU's memory."""
        return self.to("cuda" if device is None else device)

    def type(self, dtype: Any = None) -> Any:
        """This tensor in another dtype; without an argument, the name of its dtype ('float32')."""
        return str(self.dtype) if dtype is None else self.to(dtype=dtype)

    def new_tensor(self, data: Any, *, dtype: Any = None, device: Any = None, requires_grad: Any = False) -> Tensor:
        """A new tensor with a copy of `data`, in this tensor's dtype and on its device."""
        dtype, device = dtype or self.dtype, device or self.device
        return creation.tensor(data, dtype=dtype, device=device, requires_grad=requires_grad)

    def new_zeros(self, *size: Any, dtype: Any = None, device: Any = None) -> Tensor:
        return creation.zeros(*size, dtype=dtype or self.dtype, device=device or self.device)

    def new_ones(self, *size: Any, dtype: Any = None, device: Any = None) -> Tensor:
        return creation.ones(*size, dtype=dtype or self.dtype, device=device or self.device)

    def new_empty(self, *size: Any, dtype: Any = None, device: Any = None) -> Tensor:
        return creation.empty(*size, dtype=dtype or self.dtype, device=device or self.device)

    def new_full(self, size: Any, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
        return creation.full(size, fill_value, dtype=dtype or self.dtype, device=device or self.device)

    def type_as(self, other: Tensor) -> Tensor:
        """This tensor in the dtype and on the device of another."""
        return self.to(other)

    def float(self) -> Tensor:
        return self.to(dtype=dtypes.float32)

    def double(self) -> Tensor:
        return self.to(dtype=dtypes.float64)

    def half(self) -> Tensor:
        return self.to(dtype=dtypes.float16)

    def long(self) -> Tensor:
        return self.to(dtype=dtypes.int64)

    def int(self) -> Tensor:
        return self.to(dtype=dtypes.int32)

    def short(self) -> Tensor:
        return self.to(dtype=dtypes.int16)

    def byte(self) -> Tensor:
        return self.to(dtype=dtypes.uint8)

    def bool(self) -> Tensor:
        return self.to(dtype=dtypes.bool)

    # --- reading

    def numpy(self, *, force: Any = False) -> np.ndarray:
        """This tensor's memory as a NumPy array; with `force`, a copy if need be."""
        if force:
            return self._read()
        if self.requires_grad:
            raise RuntimeError("can't call numpy() on Tensor that requires grad; use tensor.detach().numpy() instead")
        if self.is_cuda:
            raise TypeError(
                f"can't convert {self.device} device type tensor to numpy; "
                "use Tensor.cpu() to copy it to host memory first"
            )
        return self.array

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.array(self.numpy(), dtype, copy=copy)

    def tolist(self) -> Any:
        """The elements as nested lists of Python numbers (a number, if there are no dimensions)."""
        return self._read().tolist()

    def item(self) -> Any:
        """The only element, as a Python number."""
        if self.array.size != 1:
            raise RuntimeError(f"item(): a Tensor with {self.array.size} elements cannot be converted to a number")
        return self._read().item()

    def _read(self) -> np.ndarray:
        return backend.CPU.to_device(self.array)

    def _number(self) -> Any:
        if self.array.size != 1:
            raise ValueError(f"only one element tensors can be converted to Python scalars, got shape {self.shape}")
        return self._read().item()

    def __bool__(self) -> Any:
        if self.array.size != 1:
            amount = "no" if self.array.size == 0 else "more than one"
            raise RuntimeError(f"Boolean value of Tensor with {amount} value is ambiguous; use .any() or .all()")
        return bool(self._read().item())

    def __float__(self) -> Any:
        return float(self._number())

    def __int__(self) -> Any:
        return int(self._number())

    def __index__(self) -> Any:
        if self.dtype.kind == "f" or self.array.size != 1:
            raise TypeError(f"only integer tensors of a single element can be converted to an index, got {self!r}")
        return int(self._read().item())

    def __len__(self) -> Any:
        if self.ndim == 0:
            raise TypeError("len() of a 0-d tensor")
        return len(self.array)

    def __iter__(self) -> Iterator[Tensor]:
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d tensor")
        return (self[i] for i in range(len(self)))

    def __contains__(self, element: Any) -> Any:
        if not isinstance(element, Variable | bool | int | float | np.generic):
            raise RuntimeError(f"'in' looks for a number or a tensor in a tensor, got {type(element).__qualname__}")
        return bool((self == element).any())

    def __repr__(self) -> str:
        return printing.to_string(self)

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if self.ndim == 0 and spec else format(repr(self), spec)

    # --- copying

    def __deepcopy__(self, memo: dict) -> Any:
        if self.node is not None:
            raise RuntimeError("only leaf tensors can be deep-copied; use x.detach().clone()")
        out = type(self).wrap(self.array.copy(order="K"))
        out.requires_grad = self.requires_grad
        out.grad = None if self.grad is None else ops.clone(self.grad.detach())
        out.__dict__.update(self.__dict__)
        memo[id(self)] = out
        return out

    def __reduce__(self) -> tuple:
        if self.node is not None:
            raise RuntimeError("only leaf tensors can be pickled; use x.detach()")
        array = backend.CPU.to_device(self.array)
        return _restore, (type(self), array, self.device.type, self.requires_grad, self.__dict__)


def _restore(kind: type[Tensor], array: np.ndarray, device: str, requires_grad: bool, attributes: dict) -> Tensor:
    """What `Tensor.__reduce__` says to call: the tensor on its device again."""
    out = kind.wrap(backend.get(device).to_device(array))
    out.requires_grad = requires_grad
    out.__dict__.update(attributes)
    return out


Variable.kind = Tensor
