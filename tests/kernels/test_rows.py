"""Rows of a data set, gathered and looked up, against NumPy's own indexing."""

import numpy as np
import pytest
from tinygrad_mnist.kernels import look_up_rows, take_rows

INDEX = np.array([3, 0, 3, -1])


@pytest.mark.parametrize("index", [INDEX, INDEX[:0]])
def test_take_rows(index, rng):
    x = rng.standard_normal((5, 2, 3))
    np.testing.assert_array_equal(take_rows(x, index), np.array([x[i] for i in index]).reshape(-1, 2, 3))
    for bad in (5, -6):
        with pytest.raises(IndexError):
            take_rows(x, np.array([bad]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("index", [INDEX, INDEX[:0], None])
def test_look_up_rows(index, channels, dtype, rng):
    x = rng.integers(0, 256, (5, 4, 6, channels)).astype(np.uint8)
    table = (100 * rng.random((channels, 256))).astype(dtype)
    y = look_up_rows(x, index, table)
    rows = range(5) if index is None else index
    assert (y.shape, y.dtype) == ((len(rows), channels, 4, 6), dtype)
    for n, c, i, j in np.ndindex(y.shape):
        assert y[n, c, i, j] == table[c, x[rows[n], i, j, c]]
    np.testing.assert_array_equal(look_up_rows(x.transpose(0, 2, 1, 3), index, table), y.transpose(0, 1, 3, 2))
