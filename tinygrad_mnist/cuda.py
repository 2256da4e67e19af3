"""CUDA devices, with torch.cuda's names. CuPy is imported by the first call and never before."""

from __future__ import annotations

import importlib.util

from . import backend, random
from .backend import OutOfMemoryError as OutOfMemoryError


def is_available() -> bool:
    """Whether CuPy is installed and finds a usable GPU. Never raises."""
    if importlib.util.find_spec("cupy") is None:
        return False
    try:
        backend.get("cuda")
    except backend.BackendError:
        return False
    return True


def device_count() -> int:
    """How many GPUs there are; 0 without CuPy or a driver."""
    return backend.get("cuda").xp.cuda.runtime.getDeviceCount() if is_available() else 0


def current_device() -> int:
    """The index of the GPU that new arrays go to. Raises BackendError without one."""
    return backend.get("cuda").xp.cuda.Device().id


def get_device_name(device: int | None = None) -> str:
    """What the GPU calls itself, like 'NVIDIA H100 80GB HBM3'. Raises BackendError without one."""
    runtime = backend.get("cuda").xp.cuda.runtime
    return runtime.getDeviceProperties(current_device() if device is None else device)["name"].decode()


def manual_seed(seed: int) -> None:
    """As `tg.manual_seed`: there is one default generator, and GPU and CPU draw the same numbers from it."""
    random.manual_seed(seed)


manual_seed_all = manual_seed


def synchronize() -> None:
    """Wait until all work on the GPU is done. Raises BackendError without one."""
    backend.get("cuda").synchronize()


def mem_get_info() -> tuple[int, int]:
    """(free, total) bytes of the GPU's memory, as its driver counts. Raises BackendError without one."""
    return backend.get("cuda").xp.cuda.runtime.memGetInfo()


def empty_cache() -> None:
    """Give memory that CuPy keeps for later arrays back to the driver; nothing without a GPU in use."""
    if is_available():
        backend.get("cuda").xp.get_default_memory_pool().free_all_blocks()
