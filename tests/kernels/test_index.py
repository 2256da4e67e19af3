"""scatter_sum against a loop; NumPy itself checks indices."""

import numpy as np
import pytest

from tinygrad_mnist import kernels


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "uint8"])
@pytest.mark.parametrize("shape", [(20,), (4, 5), (0,), (2, 0)])
def test_scatter_sum_adds_what_shares_a_position(dtype, shape):
    rng = np.random.default_rng(0)
    positions = rng.integers(0, 6, shape)
    values = rng.integers(0, 4, shape).astype(dtype)
    wanted = np.zeros(7)
    for p, v in zip(positions.ravel(), values.ravel(), strict=True):
        wanted[p] += v
    got = kernels.scatter_sum(positions, values, 7)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, wanted)


def test_scatter_sum_is_the_adjoint_of_taking():
    rng = np.random.default_rng(0)
    x, c, positions = rng.standard_normal(9), rng.standard_normal((5, 4)), rng.integers(0, 9, (5, 4))
    assert np.isclose((x[positions] * c).sum(), (x * kernels.scatter_sum(positions, c, 9)).sum(), rtol=1e-12)


def test_large_integers_are_summed_exactly():
    big = np.array([2**62, 1])
    assert kernels.scatter_sum(np.array([0, 0]), big, 1)[0] == 2**62 + 1


def test_check_index_leaves_the_check_to_numpy():
    kernels.check_index((3,), (np.array([7]),))
    with pytest.raises(IndexError):
        np.zeros(3)[np.array([7])]
