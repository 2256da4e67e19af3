"""ReLU and its gradient, small and large, in every layout."""

import numpy as np
import pytest

from tinygrad_mnist import kernels

LAYOUTS = {
    "contiguous": lambda a: a,
    "permuted": lambda a: a.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2),
    "strided": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "reversed": lambda a: a[..., ::-1],
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(0, 1, 2, 3), (2, 3, 4, 5), (5, 40, 30, 21)])
def test_relu_and_gradient(shape, layout, dtype, threads, rng):
    x, dy = (LAYOUTS[layout](rng.standard_normal(shape).astype(dtype)) for _ in range(2))
    y = kernels.relu(x)
    np.testing.assert_array_equal(y, np.where(x > 0, x, 0))
    dx = kernels.relu_grad(dy, y)
    assert dx.dtype == dtype
    np.testing.assert_array_equal(dx, np.where(x > 0, dy, 0))
    np.testing.assert_array_equal(kernels.relu_grad(np.ascontiguousarray(dy), y), dx)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layouts", [["contiguous"] * 2, ["permuted"] * 2, ["permuted", "contiguous"], ["strided"] * 2])
@pytest.mark.parametrize("shape", [(0, 1, 2, 3), (2, 3, 4, 5), (5, 40, 30, 21)])
def test_relu_of_a_sum(shape, layouts, dtype, threads, rng):
    a, b = (LAYOUTS[layout](rng.standard_normal(shape).astype(dtype)) for layout in layouts)
    y = kernels.add_relu(a, b)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, np.where(a + b > 0, a + b, 0))


@pytest.mark.parametrize("size", [4, 2**17])
def test_nan_and_inf(size, threads):
    x = np.resize(np.array([np.nan, -np.inf, np.inf, 0.0], np.float32), size)
    y = kernels.relu(x)
    np.testing.assert_array_equal(y[:4], [np.nan, 0, np.inf, 0])
    np.testing.assert_array_equal(kernels.add_relu(x, x)[:4], [np.nan, 0, np.inf, 0])
    dx = kernels.relu_grad(np.full(size, np.inf, np.float32), y)
    np.testing.assert_array_equal(dx[:4], [0, 0, np.inf, 0])


def test_integers():
    np.testing.assert_array_equal(kernels.relu(np.array([-2, 0, 3])), [0, 0, 3])
