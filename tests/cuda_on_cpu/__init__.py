"""A CUDA device for tests: the machine's GPU, or else the CPU under the real CuPy (see device.py).

`COUNTERS` is the CPU device's, None if the tests run on a GPU or not at all; `MISSING` says why there is no device.
"""

import ctypes

from . import device
from .device import Counters, count

__all__ = ["COUNTERS", "HAS_GPU", "MISSING", "Counters", "count"]


def _gpu_present() -> bool:
    """Whether the machine has an NVIDIA driver and a GPU; does not import CuPy."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    n = ctypes.c_int(0)
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(n)) == 0 and n.value > 0


COUNTERS: Counters | None = None
MISSING: str | None = None
HAS_GPU = _gpu_present()
if HAS_GPU:
    MISSING = device.missing_cupy()
else:
    MISSING = device.missing()
    if MISSING is None:
        # At once: what CuPy has bound to when it is imported cannot be replaced any more.
        COUNTERS = device.install()
