"""Bad data that only a kernel sees (a label that is no class), reported without a synchronisation per step.

A kernel that meets it goes on with harmless values and leaves a note in pinned memory of the host, which a device can
write to. Whoever waits for the device anyway (a copy to the host, `synchronize`) looks at the note and raises.
"""

from __future__ import annotations

import functools

import cupy as cp
import numpy as np

from ..loss import NO_PROBABILITIES

FAULT = np.dtype([("code", np.int32), ("value", np.int32), ("limit", np.int32)])

# By FaultCode of common.cuh.
ERRORS: dict[int, tuple[type[Exception], str]] = {
    1: (IndexError, "max_unpool2d: an index is {value}, but the image has {limit} elements: expected 0 to {last}"),
    2: (IndexError, "a target is {value}, but there are {limit} classes: expected 0 to {last}"),
    3: (IndexError, "an index is {value}, but the dimension has {limit} elements: expected 0 to {last}"),
    4: (RuntimeError, NO_PROBABILITIES),
}


@functools.cache
def note() -> np.ndarray:
    """The note, one of all devices: a struct Fault in memory that both the host and the devices see."""
    memory = cp.cuda.alloc_pinned_memory(FAULT.itemsize)
    array = np.frombuffer(memory, FAULT, 1)
    array[:] = 0
    return array


def pointer() -> np.uintp:
    """The note's address, as kernels take it."""
    return np.uintp(note().ctypes.data)


def check() -> None:
    """Raise an error for what kernels have found since the last call; call it after waiting for the device."""
    code, value, limit = note()[0].tolist()
    if code:
        note()[:] = 0
        kind, message = ERRORS[code]
        found = message.format(value=value, limit=limit, last=limit - 1)
        raise kind(f"{found} (found on the GPU, in work given to it since it was last waited for)")
