"""Runs a kernel of both packages on the same arguments and compares."""

import copy
from collections.abc import Sequence
from typing import Any

import cuda_on_cpu
import numpy as np

ORDERS = (0, 1, 12345)  # of the blocks of a launch: first to last, last to first, shuffled
# Of sums; float16 is computed in float32.
TOLERANCE = {np.dtype(np.float16): 1e-5, np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-13}
STEP = 2.0**-10  # from a float16 to the next: where sums differ, one may be rounded up and the other down


def to_device(value: Any) -> Any:
    """`value` with each NumPy array in it, in lists too, as a CuPy array."""
    import cupy

    if isinstance(value, np.ndarray):
        return cupy.asarray(value)
    return [to_device(v) for v in value] if isinstance(value, list) else value


def arrays_in(value: Any) -> list[np.ndarray]:
    """All arrays in a result or in arguments, on the host."""
    if isinstance(value, (list, tuple)):
        return [a for v in value for a in arrays_in(v)]
    if hasattr(value, "get"):
        return [value.get()]
    return [value] if isinstance(value, np.ndarray) else []


def close(got: np.ndarray, expected: np.ndarray, precision: float, terms: int = 1) -> bool:
    """Whether two arrays agree as well as sums of `terms` numbers of this relative precision can."""
    if got.shape != expected.shape or got.dtype != expected.dtype:
        return False
    if got.dtype.kind != "f":
        return bool(np.array_equal(got, expected))
    tolerance, step = precision * np.sqrt(terms), 0.0
    if got.dtype == np.float16:  # of numbers that are rounded twice, a quarter and more differ
        step, differ = STEP, (got != expected) & ~(np.isnan(got) & np.isnan(expected))
        if np.count_nonzero(differ) > 2 + 0.05 * got.size:
            return False
    exact = (a.astype(np.float64) for a in (got, expected))
    return bool(np.allclose(*exact, rtol=tolerance + step, atol=tolerance, equal_nan=True))


def assert_same(name: str, *arguments: Any, terms: int = 1) -> None:
    """The kernel `name` gives the same on both devices: what it returns, and what it leaves in its arguments.

    On the CPU device it runs in several orders of blocks, on a GPU several times, always with the same bits.
    """
    from tinygrad_mnist.kernels import cuda

    from tinygrad_mnist import kernels

    on_host = copy.deepcopy(list(arguments))
    expected = arrays_in([getattr(kernels, name)(*on_host), on_host])
    precision = max(TOLERANCE.get(a.dtype, 0) for a in arrays_in(list(arguments)))
    first: Sequence[np.ndarray] = ()
    for order in ORDERS:
        if cuda_on_cpu.COUNTERS is not None:
            cuda_on_cpu.COUNTERS.order = order
        on_device = to_device(list(arguments))
        got = arrays_in([getattr(cuda, name)(*on_device), on_device])
        assert len(got) == len(expected)
        for i, (a, b) in enumerate(zip(got, expected, strict=True)):
            assert close(a, b, precision, terms), f"{name}: array {i} differs\ngot\n{a}\nexpected\n{b}"
        first = first or got
        for a, b in zip(got, first, strict=True):
            assert a.tobytes() == b.tobytes(), f"{name}: the result depends on the order of the blocks"
    if cuda_on_cpu.COUNTERS is not None:
        cuda_on_cpu.COUNTERS.order = 0
