"""GELU by compiled loops against math.erf in float64."""

import math

import numpy as np
import pytest
from tinygrad_mnist.kernels import compiled, gelu

X = np.concatenate([np.linspace(-12, 12, 20001), [0.0, -0.0, 1e-30, math.sqrt(2), -math.sqrt(2)]]).astype(np.float32)


def exact(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """GELU and its derivative."""
    x = x.astype(np.float64)
    cdf = np.array([math.erfc(-v / math.sqrt(2)) / 2 for v in x])
    return x * cdf, cdf + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def test_against_float64(threads, rng):
    dy = rng.normal(size=X.shape).astype(np.float32)
    y, slope = exact(X)
    # Where 1 + erf cancels, what is left is as wrong as the last place of 1.
    np.testing.assert_allclose(gelu.gelu(X), y, rtol=3e-7, atol=4e-7)
    np.testing.assert_allclose(gelu.gelu_grad(dy, X), dy * slope, rtol=5e-7, atol=2e-6)
    np.testing.assert_array_equal(gelu.gelu_grad(dy, X), gelu.gelu_grad(dy, X))


def test_hand_worked():
    x = np.array([0, 1, -1, 50, -50], np.float32)
    np.testing.assert_allclose(gelu.gelu(x), [0, 0.841344746, -0.158655254, 50, 0], rtol=2e-7)
    one = np.ones_like(x)
    np.testing.assert_allclose(gelu.gelu_grad(one, x), [0.5, 1.083315471, -0.083315471, 1, 0], rtol=4e-7, atol=1e-30)


def test_infinity_and_nan():
    np.testing.assert_array_equal(gelu.gelu(np.array([np.inf, -np.inf, np.nan], np.float32)), [np.inf, np.nan, np.nan])
    assert np.isnan(gelu.gelu_grad(np.ones(1, np.float32), np.array([np.nan], np.float32)))


def test_any_layout_keeps_that_of_x(threads, rng):
    x = rng.normal(size=(3, 5, 4)).astype(np.float32)
    dy = rng.normal(size=(3, 5, 4)).astype(np.float32)
    y, dx = gelu.gelu(x), gelu.gelu_grad(dy, x)
    turned = np.ascontiguousarray(x.transpose(2, 0, 1)).transpose(1, 2, 0)
    for same in (turned, np.repeat(x, 2, 1)[:, ::2], x[::-1][::-1]):
        np.testing.assert_array_equal(gelu.gelu(same), y)
        np.testing.assert_array_equal(gelu.gelu_grad(dy, same), dx)
    np.testing.assert_array_equal(gelu.gelu_grad(dy[:, :, ::-1], x[:, :, ::-1]), dx[:, :, ::-1])
    assert gelu.gelu(turned).strides == turned.strides
    assert gelu.gelu_grad(dy, turned).strides == turned.strides
    assert gelu.gelu(x[:0]).shape == (0, 5, 4)


@pytest.mark.parametrize("allowed", [False, True])
def test_usable(allowed):
    before = compiled.use_compiled(allowed)
    assert gelu.usable(X) is allowed
    assert not gelu.usable(X.astype(np.float64))
    compiled.use_compiled(before)
