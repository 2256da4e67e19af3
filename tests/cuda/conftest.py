"""Fixtures of the CUDA tests."""

import gc
from collections.abc import Callable, Iterator

import cuda_on_cpu
import pytest
from tinygrad_mnist.kernels.compiled import use_compiled

if cuda_on_cpu.MISSING:  # test_available.py says why
    collect_ignore_glob = ["test_[!a]*.py"]


@pytest.fixture(autouse=True)
def _numpy_kernels_are_the_reference() -> Iterator[None]:
    """Compare with plain NumPy, not with kernels that are compiled for the CPU."""
    before = use_compiled(False)
    yield
    use_compiled(before)


@pytest.fixture
def leave_memory() -> Iterator[Callable[[int], None]]:
    """Call with the bytes that the device shall still have."""
    import cupy

    counters, pool = cuda_on_cpu.COUNTERS, cupy.get_default_memory_pool()
    before = counters.memory_limit if counters else pool.get_limit()

    def leave(size: int) -> None:
        gc.collect()  # what an earlier test's exception still holds would be free in the middle of this one
        if counters:
            counters.memory_limit = counters.memory_used + size
        else:
            pool.free_all_blocks()
            pool.set_limit(size=pool.total_bytes() + size)

    yield leave
    if counters:
        counters.memory_limit = before
    else:
        pool.set_limit(size=before)


@pytest.fixture
def counters() -> Iterator[cuda_on_cpu.Counters]:
    """The CPU device's counters and settings, put back afterwards."""
    if cuda_on_cpu.COUNTERS is None:
        pytest.skip("only the CUDA-on-CPU device counts launches and copies; this machine has a GPU")
    yield cuda_on_cpu.COUNTERS
    cuda_on_cpu.COUNTERS.order = 0
