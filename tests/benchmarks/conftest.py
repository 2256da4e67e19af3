import pytest
import torch
from tinygrad_mnist.kernels import parallel

from benchmarks import timing


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """No time for the machine's peaks or for long samples; threads are set back."""
    monkeypatch.setattr(timing, "machine", lambda: timing.Machine(flops=1e11, bandwidth=1e10))
    monkeypatch.setattr(timing, "SHORTEST_SAMPLE", 0.0)
    monkeypatch.setattr(timing, "SETTLING", 0.0)
    before = parallel.get_num_threads(), torch.get_num_threads()
    yield
    parallel.set_num_threads(before[0])
    torch.set_num_threads(before[1])
