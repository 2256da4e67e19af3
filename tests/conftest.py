"""Fixtures that every test may use."""

import gc
from collections.abc import Iterator

import cuda_on_cpu
import numpy as np
import pytest
import torch
from https_mirror import CERTIFICATE, Mirror
from hypothesis import HealthCheck, settings

import tinygrad_mnist as tg

# The first example pays for imports and compilation, and a busy machine is no failure.
settings.register_profile(
    "tests",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # `device` sets up nothing that an example changes
)
settings.load_profile("tests")
torch.set_num_threads(1)  # pytest-xdist already keeps every core busy


def pytest_report_header() -> str:
    """Which device "cuda" is in this run."""
    if cuda_on_cpu.MISSING:
        return f"cuda: none ({cuda_on_cpu.MISSING})"
    kind = "this machine's GPU" if cuda_on_cpu.COUNTERS is None else "the real CuPy on the CPU, this machine has no GPU"
    return f"cuda: {tg.cuda.get_device_name()} ({kind})"


def pytest_collection_finish() -> None:
    """What collecting the tests has made lives as long as they run: nobody looks through it for garbage any more."""
    gc.collect()
    gc.freeze()


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each device: tests of ops, layers, optimizers and training run on both.

    "cuda" is the machine's GPU or the CUDA-on-CPU device; what a kernel found wrong and no test expected is an error.
    """
    if request.param == "cpu":
        yield "cpu"
        return
    if cuda_on_cpu.MISSING:
        pytest.skip(cuda_on_cpu.MISSING)
    yield "cuda"
    tg.cuda.synchronize()


@pytest.fixture
def default_device(device: str) -> Iterator[str]:
    """Each device, and new tensors are made on it: for tests whose subject is not where a tensor lies."""
    tg.set_default_device(device)
    yield device
    tg.set_default_device(None)


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator with a fixed seed."""
    return np.random.default_rng(0)


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    """A local https server whose certificate `requests` trusts for the length of the test."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
    with Mirror() as server:
        yield server
