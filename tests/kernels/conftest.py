"""Every fast path of the kernels, switched on or off for a test."""

from collections.abc import Iterator

import pytest
from tinygrad_mnist.kernels import compiled, parallel, team


@pytest.fixture(params=[False, True], ids=["numpy", "compiled"])
def path(request: pytest.FixtureRequest) -> Iterator[str]:
    """NumPy alone, and compiled code where the kernels have it (Numba belongs to the test environment)."""
    before = compiled.use_compiled(request.param)
    yield "compiled" if request.param else "numpy"
    compiled.use_compiled(before)


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Each number of worker threads that the kernels must give the same results with, however little work there is."""
    before = parallel.get_num_threads()
    monkeypatch.setattr(parallel, "SMALL", 0)
    monkeypatch.setattr(team, "SMALL", 0)
    parallel.set_num_threads(request.param)
    yield request.param
    parallel.set_num_threads(before)
