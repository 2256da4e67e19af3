"""What a device is: its array module, its kernels, and how arrays get there and back.

A backend is found from the arrays themselves (`of(array)`); there is no global "current device".
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from . import kernels


class BackendError(RuntimeError):
    """A device was asked for that this machine cannot give; the message says what to do."""


class OutOfMemoryError(RuntimeError):
    """A CUDA device has no room for an array."""


class device:
    """A place where arrays live: `device("cpu")`, `device("cuda")`, `device("cuda", 0)`.

    >>> device("cuda:0").type, device("cuda:0").index
    ('cuda', 0)
    """

    __slots__ = ("index", "type")

    type: str
    index: int | None

    def __init__(self, type: str | device, index: int | None = None):
        kind, _, number = str(type).partition(":")
        if kind not in ("cpu", "cuda") or (number and not number.isdigit()):
            raise ValueError(f"device: expected 'cpu', 'cuda' or 'cuda:N', got {type!r}")
        self.type = kind
        self.index = int(number) if number else index

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str | device) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __repr__(self) -> str:
        index = "" if self.index is None else f", index={self.index}"
        return f"device(type={self.type!r}{index})"


class NumpyBackend:
    """The CPU: NumPy arrays and the kernels written for them."""

    xp: ModuleType = np
    kernels: ModuleType = kernels
    device = device("cpu")

    def to_device(self, array: Any) -> np.ndarray:
        """`array` (of any backend) as a NumPy array; the same object if it is one already."""
        return of(array).to_numpy(array)

    def to_numpy(self, array: np.ndarray) -> np.ndarray:
        """`array` as a NumPy array, without a copy."""
        return array

    def synchronize(self) -> None:
        """Wait for all work on the device: the CPU has none pending."""


class CupyBackend:
    """A CUDA device: CuPy arrays and the kernels written in CUDA C."""

    def __init__(self) -> None:
        self.xp = _import_cupy()
        self.kernels = importlib.import_module(".kernels.cuda", __package__)
        self.device = device("cuda", 0)
        self.xp.cuda.set_allocator(_explaining(self.xp, self.xp.cuda.get_allocator()))

    def to_device(self, array: Any) -> Any:
        """`array` (NumPy or CuPy) as a CuPy array; the same object if it is one already."""
        return self.xp.asarray(array)

    def to_numpy(self, array: Any) -> np.ndarray:
        """`array` copied into a NumPy array; waits for the device, and raises what kernels found wrong until then."""
        copied = self.xp.asnumpy(array)
        self.kernels.check()
        return copied

    def synchronize(self) -> None:
        """Wait until all work on the device is done, and raise what kernels found wrong in it."""
        self.xp.cuda.get_current_stream().synchronize()
        self.kernels.check()


def _explaining(cupy: ModuleType, allocate: Callable[[int], Any]) -> Callable[[int], Any]:
    """CuPy's allocator with an error that says what to do."""

    def allocate_or_explain(size: int) -> Any:
        try:
            return allocate(size)
        except cupy.cuda.memory.OutOfMemoryError as error:
            free, total = (n / 2**20 for n in cupy.cuda.runtime.memGetInfo())
            raise OutOfMemoryError(
                f"CUDA out of memory: tried to allocate {size / 2**20:,.1f} MiB, {free:,.1f} of {total:,.1f} MiB are "
                "free. Use a smaller batch, run evaluation under no_grad(), or free tensors that are still referenced "
                "and call cuda.empty_cache()"
            ) from error

    return allocate_or_explain


def _import_cupy() -> ModuleType:
    """CuPy, imported at the first use of a CUDA device and never before."""
    try:
        cupy = importlib.import_module("cupy")
    except ImportError as error:
        raise BackendError(
            f"CUDA needs CuPy, which could not be imported ({error}).\n"
            "Install it for your CUDA version: pip install 'tinygrad_mnist[cuda12]' (or [cuda13]).\n"
            "Check it with: python -m tinygrad_mnist info"
        ) from error
    if not cupy.is_available():
        try:
            reason = f"{cupy.cuda.runtime.getDeviceCount()} GPUs"
        except Exception as error:  # CUDARuntimeError, such as cudaErrorInsufficientDriver
            reason = str(error)
        raise BackendError(
            f"CuPy {cupy.__version__} is installed but finds no usable NVIDIA GPU or driver ({reason}).\n"
            "Install the NVIDIA driver, and the extra that matches its CUDA version: "
            "pip install 'tinygrad_mnist[cuda12]' (or [cuda13]).\n"
            "Check it with: nvidia-smi, then python -m tinygrad_mnist info"
        )
    return cupy


Backend = NumpyBackend | CupyBackend
_BACKENDS: dict[str, type[Backend]] = {"cpu": NumpyBackend, "cuda": CupyBackend}


@functools.cache
def get(type: str) -> Backend:
    """The backend of a device type: 'cpu' or 'cuda'. Raises BackendError if the machine has none."""
    return _BACKENDS[type]()


def of(array: Any) -> Backend:
    """The backend that `array` belongs to."""
    if isinstance(array, np.ndarray):
        return CPU
    if type(array).__module__.partition(".")[0] == "cupy":
        return get("cuda")
    raise TypeError(f"expected a NumPy or CuPy array, got {type(array).__qualname__}")


CPU = NumpyBackend()
