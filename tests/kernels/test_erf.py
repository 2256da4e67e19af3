"""erf against math.erf."""

import math

import numpy as np
import pytest

from tinygrad_mnist import kernels

X = np.concatenate([np.linspace(-7, 7, 20001), [0.0, 1e-300, 1e-8, 1 - 1e-16, 1.0, 6.0]])


@pytest.mark.parametrize(("dtype", "ulps"), [("float64", 6), ("float32", 4), ("float16", 1)])
def test_erf_is_accurate_to_a_few_units_in_the_last_place(dtype, ulps, path):
    x = X.astype(dtype)
    wanted = np.array([math.erf(v) for v in x])
    got = kernels.erf(x)
    assert got.dtype == x.dtype
    unit = np.spacing(np.abs(wanted).astype(dtype)).astype("float64")
    assert (np.abs(got.astype("float64") - wanted) <= ulps * unit).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_erf_of_infinity_nan_and_signed_zero(dtype, path):
    got = kernels.erf(np.array([np.inf, -np.inf, np.nan, -0.0], dtype))
    np.testing.assert_array_equal(got, [1, -1, np.nan, -0.0])
    assert np.signbit(got[3])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_erf_keeps_shape_and_takes_any_layout(dtype, path, threads):
    x = np.linspace(-2, 2, 24, dtype=dtype).reshape(2, 3, 4)
    np.testing.assert_array_equal(kernels.erf(x.transpose(2, 0, 1)), kernels.erf(x).transpose(2, 0, 1))
    np.testing.assert_array_equal(kernels.erf(x.transpose(2, 0, 1)[::-1]), kernels.erf(x).transpose(2, 0, 1)[::-1])
    assert kernels.erf(np.zeros((0, 3))).shape == (0, 3)
