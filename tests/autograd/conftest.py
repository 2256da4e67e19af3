"""A tensor that claims to be elsewhere."""

from types import SimpleNamespace

import numpy as np
import pytest

import tinygrad_mnist as tg


@pytest.fixture
def fake_device() -> tg.Tensor:
    """A tensor whose array is of another type than NumPy's, as on a GPU."""
    array = SimpleNamespace(
        shape=(2,), ndim=1, size=2, strides=(4,), dtype=np.dtype(np.float32), device=SimpleNamespace(id=0), base=None
    )
    return tg.Tensor.wrap(array)
