"""Fixtures that every test may use."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from https_mirror import CERTIFICATE, Mirror
from hypothesis import settings

# The first example pays for imports and compilation, and a busy machine is no failure.
settings.register_profile("tests", deadline=None, derandomize=True)
settings.load_profile("tests")
torch.set_num_threads(1)  # pytest-xdist already keeps every core busy


@pytest.fixture(params=["cpu"])
def device(request: pytest.FixtureRequest) -> str:
    """Each device that this machine can test: tests of ops, layers and optimizers run on all of them."""
    return request.param


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
