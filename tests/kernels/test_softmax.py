"""Softmax by compiled loops, and their e^x, against float64."""

import numpy as np
import pytest
from numba import njit
from tinygrad_mnist.kernels import compiled, exp_compiled, softmax

SHAPES = [(1, 1), (3, 1), (7, 50), (300, 17), (2, 9000), (2, 3, 4, 5)]


@njit
def exponentials(x, y):
    for i in range(len(x)):
        y[i] = exp_compiled.exp(x[i])


def test_exp_is_accurate_to_one_unit_in_the_last_place():
    x = np.concatenate([np.linspace(-87.3, 88.3, 200_001), [0, 1e-30, -1e-30]]).astype(np.float32)
    y = np.empty_like(x)
    exponentials(x, y)
    wanted = np.exp(x.astype(np.float64))
    assert (np.abs(y - wanted) <= np.spacing(wanted.astype(np.float32))).all()


def test_exp_outside_that():
    x = np.array([-np.inf, -1000, -87.4, 88.4, np.inf, np.nan], np.float32)
    y = np.empty_like(x)
    exponentials(x, y)
    np.testing.assert_array_equal(y[[0, 1, 2, 5]], [0, 0, 0, np.nan])
    np.testing.assert_array_equal(y[3:5], exp_of(exp_compiled.HIGHEST))


def exp_of(x: np.float32) -> np.float32:
    y = np.empty(1, np.float32)
    exponentials(np.array([x]), y)
    return y[0]


@pytest.mark.parametrize("shape", SHAPES)
def test_against_float64(shape, threads, rng):
    x, dy = (rng.normal(0, 5, shape).astype(np.float32) for _ in range(2))
    e = np.exp(x.astype(np.float64) - x.max(-1, keepdims=True))
    wanted = e / e.sum(-1, keepdims=True)
    y = softmax.softmax(x)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, wanted, rtol=5e-6, atol=1e-37)  # x - max(x) is rounded: e^40 by 40 units
    dx = softmax.softmax_grad(dy, y)
    product = wanted * dy
    np.testing.assert_allclose(dx, product - wanted * product.sum(-1, keepdims=True), rtol=1e-5, atol=2e-5)
    np.testing.assert_array_equal(softmax.softmax(x), y)
    np.testing.assert_array_equal(softmax.softmax_grad(dy, y), dx)


def test_hand_worked():
    x = np.log(np.array([[1, 2, 5], [3, 3, 3]], np.float32))
    y = softmax.softmax(x)
    np.testing.assert_allclose(y, [[1 / 8, 2 / 8, 5 / 8], [1 / 3, 1 / 3, 1 / 3]], rtol=3e-7)
    dy = np.array([[8, 0, 0], [1, 1, 1]], np.float32)  # y dy sums to 1, and to 1
    np.testing.assert_allclose(softmax.softmax_grad(dy, y), [[7 / 8, -2 / 8, -5 / 8], [0, 0, 0]], atol=3e-7)


def test_infinity_and_nan():
    inf, nan = np.inf, np.nan
    x = np.array([[1, nan, 2], [-inf, -inf, -inf], [3, -inf, 3], [0, inf, 0], [200, 0, -200]], np.float32)
    wanted = [[nan] * 3, [nan] * 3, [0.5, 0, 0.5], [nan] * 3, [1, 0, 0]]
    np.testing.assert_array_equal(softmax.softmax(x), wanted)


def test_any_layout(rng):
    x, dy = (rng.normal(size=(4, 6, 5)).astype(np.float32) for _ in range(2))
    y = softmax.softmax(x)
    dx = softmax.softmax_grad(dy, y)
    for order in [(1, 0, 2), (0, 1, 2)]:
        turned = [a.transpose(order)[::-1] for a in (x, dy, y)]
        np.testing.assert_array_equal(softmax.softmax(turned[0]), turned[2])
        np.testing.assert_array_equal(softmax.softmax_grad(*turned[1:]), dx.transpose(order)[::-1])


@pytest.mark.parametrize("allowed", [False, True])
def test_usable(allowed):
    x = np.ones((2, 3), np.float32)
    before = compiled.use_compiled(allowed)
    assert softmax.usable(x) is allowed
    assert not softmax.usable(x.astype(np.float64))
    assert not softmax.usable(x[:0])
    compiled.use_compiled(before)
