"""Biases, their gradients and right answers, against loops."""

import itertools

import numpy as np
import pytest
from tinygrad_mnist.kernels import add_bias, bias_grad, count_correct, linear, parallel, team


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


def test_linear_by_hand():
    x, w, b = (
        np.array([[1.0, 2.0], [0.0, 3.0]]),
        np.array([[1.0, 1.0], [-1.0, 0.0], [np.nan, 0.0]]),
        np.array([10.0, 0, 0]),
    )
    np.testing.assert_array_equal(linear(x, w, None), [[3, -1, np.nan], [3, 0, np.nan]])
    np.testing.assert_array_equal(linear(x, w, b), [[13, -1, np.nan], [13, 0, np.nan]])
    np.testing.assert_array_equal(linear(x, w, b, True), [[13, 0, np.nan], [13, 0, np.nan]])


@pytest.mark.parametrize("layout", ["C", "F", "read-only", "no bias"])
def test_linear_is_what_the_loop_gives(layout, threads, path, rng):
    """One row and many rows go by compiled loops of their own, where all lies in memory as those take it."""
    sizes = [(1, 70, 13), (1, 3, 4), (1, 1, 1), (1, 5, 0), (1, 0, 3), (2, 70, 13), (0, 4, 3)]
    sizes += [(67, 320, 18), (67, 240, 17)]
    for (M, C, O), dtype, relu in itertools.product(sizes, (np.float32, np.float64), (False, True)):
        x, w, b = (rng.standard_normal(shape).astype(dtype) for shape in ((M, C), (O, C), (O,)))
        w = np.asfortranarray(w) if layout == "F" else w
        w.flags.writeable = layout != "read-only"
        bias = np.zeros(O) if layout == "no bias" else b
        expected = np.array([[np.float64(x[m]) @ w[o] + bias[o] for o in range(O)] for m in range(M)]).reshape(M, O)
        got = linear(x, w, None if layout == "no bias" else b, relu)
        assert (got.dtype, got.shape) == (dtype, (M, O))
        atol = (100 + C) * np.finfo(dtype).eps  # a rounding a term
        np.testing.assert_allclose(got, np.maximum(expected, 0) if relu else expected, atol=atol)


@pytest.mark.parametrize(("rows", "columns"), [(1, 333), (67, 336), (67, 208)])
def test_compiled_layers_keep_nan_and_have_the_same_bits_with_any_number_of_threads(rows, columns, monkeypatch, rng):
    monkeypatch.setattr(team, "SMALL", 0)
    x, w, b = (rng.standard_normal(shape).astype(np.float32) for shape in ((rows, columns), (21, columns), (21,)))
    w[4, 5], w[20, 207] = np.nan, np.inf
    before, results = parallel.get_num_threads(), []
    for n in (1, 2, 3):
        parallel.set_num_threads(n)
        results.append([linear(x, w, b, True) for _ in range(3)])
    parallel.set_num_threads(before)
    assert np.isnan(results[0][0]).nonzero()[1].tolist() == [4] * rows
    for result in results:
        for y in result:
            np.testing.assert_array_equal(y, results[0][0])


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
