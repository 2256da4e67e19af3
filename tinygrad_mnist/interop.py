"""Memory shared with other array libraries, without a copy: DLPack on both devices, CUDA's array interface on GPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import backend
from .autograd import Variable

if TYPE_CHECKING:
    from .tensor import Tensor

KDLCUDA = 2  # DLPack's number for the memory of a CUDA device


class SharedMemory:
    """What lets `numpy.from_dlpack`, `cupy.asarray`, `torch.from_dlpack` and others take a tensor."""

    __slots__ = ()
    array: Any
    requires_grad: bool

    def _shared(self, protocol: str) -> Any:
        if self.requires_grad:
            raise RuntimeError(f"{protocol}: can't export a tensor that requires grad; use tensor.detach()")
        return self.array

    def __dlpack__(self, **options: Any) -> Any:
        """This tensor's memory as a DLPack capsule. Source: https://dmlc.github.io/dlpack/latest/python_spec.html"""
        return self._shared("__dlpack__").__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Where the memory lies on the GPU. AttributeError on the CPU, so that `hasattr` tells."""
        if isinstance(self.array, np.ndarray):
            raise AttributeError("__cuda_array_interface__: this tensor is on the CPU; use tensor.cuda()")
        return self._shared("__cuda_array_interface__").__cuda_array_interface__


def from_dlpack(ext_tensor: Any) -> Tensor:
    """A tensor that shares the memory of another library's array.

    >>> x = np.arange(3.0)
    >>> from_dlpack(x).mul_(2)
    tensor([0., 2., 4.], dtype=float64)
    >>> x
    array([0., 2., 4.])
    """
    if not hasattr(ext_tensor, "__dlpack__"):
        raise TypeError(f"from_dlpack: expected an object with __dlpack__, got {type(ext_tensor).__qualname__}")
    on_gpu = ext_tensor.__dlpack_device__()[0] == KDLCUDA
    xp = backend.get("cuda" if on_gpu else "cpu").xp
    return Variable.kind.wrap(xp.from_dlpack(ext_tensor))  # type: ignore[return-value]  # kind is Tensor
