"""Softmax cross-entropy against PyTorch in float64, on every path."""

import numpy as np
import pytest
import torch

from tinygrad_mnist import kernels

LAYOUTS = {"rows": lambda a: a, "columns": lambda a: a.T.copy().T, "strided": lambda a: np.repeat(a, 2, axis=0)[::2]}


@pytest.mark.parametrize("label_dtype", [np.int64, np.int32])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-6), (np.float64, 1e-13)])
@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (70, 10), (5, 1000)])
def test_agrees_with_pytorch(shape, dtype, tolerance, layout, label_dtype, path, rng):
    x = LAYOUTS[layout]((5 * rng.standard_normal(shape)).astype(dtype))
    t = rng.integers(-1, shape[1], shape[0]).astype(label_dtype)
    dy = rng.standard_normal(shape[0]).astype(dtype)
    y, lse = kernels.softmax_cross_entropy(x, t)
    dx = kernels.softmax_cross_entropy_grad(dy, x, t, lse)
    tx = torch.tensor(x.astype(np.float64), requires_grad=True)
    labels = torch.tensor(t.astype(np.int64))
    expected = torch.nn.functional.cross_entropy(tx, labels, reduction="none", ignore_index=-1)
    expected.backward(torch.tensor(dy.astype(np.float64)))
    for got, right in ((y, expected.detach().numpy()), (dx, tx.grad.numpy())):
        assert got.dtype == dtype
        assert got.shape == right.shape
        assert np.abs(got - right).max() <= tolerance * max(1, np.abs(right).max())


def test_one_gradient_for_all_rows(path, rng):
    x, t = rng.standard_normal((4, 3)).astype(np.float32), np.array([0, 1, 2, -1])
    _, lse = kernels.softmax_cross_entropy(x, t)
    shared = np.broadcast_to(np.float32(0.25), (4,))
    np.testing.assert_array_equal(
        kernels.softmax_cross_entropy_grad(shared, x, t, lse),
        kernels.softmax_cross_entropy_grad(shared.copy(), x, t, lse),
    )


@pytest.mark.parametrize("place", [0, 1])
def test_nan_and_large_numbers(place, path):
    x = np.array([[0, 1e4, -1e4], [1e4, 0, 0]], np.float32)
    y, _ = kernels.softmax_cross_entropy(x, np.array([1, 1]))
    np.testing.assert_array_equal(y, np.array([0, 1e4], np.float32))
    x[0, place] = np.nan
    y, lse = kernels.softmax_cross_entropy(x, np.array([2, 0]))
    np.testing.assert_array_equal(np.isnan(y), [True, False])
    dx = kernels.softmax_cross_entropy_grad(np.ones(2, np.float32), x, np.array([2, 0]), lse)
    np.testing.assert_array_equal(np.isnan(dx).all(axis=1), [True, False])


def test_a_label_beyond_the_classes_is_refused(path):
    with pytest.raises(IndexError, match="out of bounds"):
        kernels.softmax_cross_entropy(np.zeros((2, 3), np.float32), np.array([0, 3]))


def test_no_rows(path):
    y, lse = kernels.softmax_cross_entropy(np.zeros((0, 3), np.float32), np.zeros(0, np.int64))
    assert y.shape == lse.shape == (0,)


@pytest.mark.parametrize(("labels", "ignored"), [([0, 2, 1], -100), ([0, 2, 1], 2), ([0, -5, 1], -5), ([2, 3, 3], 3)])
def test_mean_over_the_rows_that_count(labels, ignored, path, rng):
    x, t = rng.standard_normal((3, 3)).astype(np.float32), np.array(labels)
    loss, classes, lse, count = kernels.mean_cross_entropy(x, t, ignored, 0.0)
    tx = torch.tensor(x, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(tx, torch.tensor(t), ignore_index=ignored)
    expected.backward()
    assert (count, loss.dtype) == ((t != ignored).sum(), np.float32)
    np.testing.assert_array_equal(classes, np.where(t == ignored, -1, t))
    np.testing.assert_allclose(loss, expected.item(), rtol=1e-6)
    dx = kernels.mean_cross_entropy_grad(np.ones((), np.float32), x, classes, lse, count, 0.0)
    np.testing.assert_allclose(dx, tx.grad.numpy(), rtol=1e-5, atol=1e-7)
