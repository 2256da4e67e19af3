"""Fixtures of the CUDA tests."""

from collections.abc import Iterator

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
def counters() -> Iterator[cuda_on_cpu.Counters]:
    """The CPU device's counters and settings, put back afterwards."""
    if cuda_on_cpu.COUNTERS is None:
        pytest.skip("only the CUDA-on-CPU device counts launches and copies; this machine has a GPU")
    limit = cuda_on_cpu.COUNTERS.memory_limit
    yield cuda_on_cpu.COUNTERS
    cuda_on_cpu.COUNTERS.memory_limit = limit
    cuda_on_cpu.COUNTERS.order = 0
