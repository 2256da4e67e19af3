"""Fixtures that every test may use."""

import numpy as np
import pytest
import torch

torch.set_num_threads(1)  # pytest-xdist already keeps every core busy


@pytest.fixture(params=["cpu"])
def device(request: pytest.FixtureRequest) -> str:
    """Each device that this machine can test: tests of ops, layers and optimizers run on all of them."""
    return request.param


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator with a fixed seed."""
    return np.random.default_rng(0)
