"""Biases, their gradients and right answers, against loops."""

import numpy as np
import pytest
from tinygrad_mnist.kernels import add_bias, bias_grad, count_correct


@pytest.mark.parametrize("shape", [(3, 4), (0, 2), (2, 3, 4, 5), (2, 3, 4)])
def test_gradient_is_what_the_loop_gives(shape, rng):
    dy = rng.standard_normal(shape)
    expected = np.zeros(shape[1])
    for place in np.ndindex(shape):
        expected[place[1]] += dy[place]
    np.testing.assert_allclose(bias_grad(dy), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gradient_of_many_pixels_is_the_sum_in_every_layout(dtype, threads, rng):
    dy = rng.standard_normal((70, 20, 16, 3)).astype(dtype).transpose(0, 3, 1, 2)
    for layout in (dy, np.ascontiguousarray(dy), dy[:, ::-1]):
        expected = layout.sum((0, 2, 3), dtype=np.float64)
        got = bias_grad(layout)
        assert got.dtype == dtype
        np.testing.assert_allclose(got, expected, rtol=0, atol=22_400 * np.finfo(dtype).eps)  # a rounding a term


def test_add_bias_by_hand():
    y = np.array([[1.0, 2.0], [3.0, 4.0]])
    add_bias(y, np.array([10.0, 20.0]))
    assert y.tolist() == [[11, 22], [13, 24]]
    add_bias(y, np.array([-12.0, -23.0]), True)
    assert y.tolist() == [[0, 0], [1, 1]]
    y[0, 0], y[0, 1] = np.nan, -5
    add_bias(y, None, True)
    np.testing.assert_array_equal(y, [[np.nan, 0], [1, 1]])


def test_add_bias_shared_among_threads(rng):
    """Rows in several pieces."""
    x, b = rng.standard_normal((300, 1000)), rng.standard_normal(1000)
    y = x.copy()
    add_bias(y, b, True)
    np.testing.assert_array_equal(y, np.maximum(x + b, 0))


def test_right_answers_by_hand():
    x = np.array([[1.0, 3.0, 2.0], [5.0, 5.0, 4.0], [5.0, 5.0, 4.0], [0.0, np.nan, 9.0], [0.0, np.nan, 9.0]])
    assert count_correct(x, np.array([1, 0, 1, 1, 2])) == 3
    assert count_correct(x[:0], np.zeros(0, int)) == 0
    assert count_correct(x, np.array([1, 0, 1, 1, 2])).dtype == np.int64
