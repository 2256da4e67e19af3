"""Batch norm with ReLU and pooling in few passes, against PyTorch in float64 and the separate kernels."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tinygrad_mnist.kernels import norm_relu

STEPS = [norm_relu.RELU, norm_relu.RELU_POOL]
SHAPES = [(4, 5, 7, 6), (3, 33, 8, 9), (1, 1, 2, 3), (2, 16, 2, 2)]


def channels_last(a):
    return np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


LAYOUTS = {"nchw": lambda a: a, "nhwc": channels_last, "strided": lambda a: np.repeat(channels_last(a), 2, axis=0)[::2]}


def both(x, w, b, step, layout, rng):
    """y, dx, dw, db by the kernels, and by PyTorch in float64."""
    fused, mean, var = norm_relu.batch_norm(LAYOUTS[layout](x), w, b, 1e-3, step)
    dy = rng.standard_normal(fused.y.shape).astype(np.float32)
    gradients = norm_relu.batch_norm_grad(LAYOUTS[layout](dy), LAYOUTS[layout](x), w, mean, var, 1e-3, fused)
    tensors = [None if a is None else torch.tensor(a.astype(np.float64), requires_grad=True) for a in (x, w, b)]
    y = F.relu(F.batch_norm(tensors[0], None, None, *tensors[1:], True, eps=1e-3))
    y = F.max_pool2d(y, 2) if step == norm_relu.RELU_POOL else y
    wanted = [t for t in tensors if t is not None]
    expected = [y, *torch.autograd.grad(y, wanted, torch.tensor(dy.astype(np.float64)))]
    return [fused.y, *gradients], [e.detach().numpy() for e in expected]


@pytest.mark.parametrize("weights", ["both", "weight", "none"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("step", STEPS)
def test_agrees_with_pytorch(step, shape, layout, weights, path, threads, rng):
    x = rng.normal(0.5, 2, shape).astype(np.float32)
    w, b = rng.normal(size=(2, shape[1])).astype(np.float32)  # some weights are negative: the smallest x is largest
    results, expected = both(x, w if weights != "none" else None, b if weights == "both" else None, step, layout, rng)
    for got, right in zip(results, expected, strict=False):
        assert got.dtype == np.float32
        assert got.shape == right.shape
        assert np.abs(got - right).max() <= 3e-6 * max(1, np.abs(right).max())


@pytest.mark.parametrize("step", STEPS)
def test_every_run_gives_the_same_bits(step, path, threads, rng):
    x = rng.standard_normal((5, 8, 10, 10)).astype(np.float32)
    first, again = (both(x, None, None, step, "nhwc", np.random.default_rng(0))[0] for _ in range(2))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("step", STEPS)
def test_nan_stays_and_an_infinite_gradient_passes_only_where_relu_was_open(step, path):
    huge, one = np.float32(3.4e38), np.ones(1, np.float32)
    x = np.full((1, 1, 2, 6), -huge)
    x[0, 0, 0, 0] = x[0, 0, 1, 3] = huge  # so far from the mean that float32 has no number for it: infinity times w = 0
    with np.errstate(all="ignore"):  # as in an op
        fused, _, _ = norm_relu.batch_norm(x, 0 * one, -one, 1.0, step)
    nan, pooled = np.nan, [[[[np.nan, np.nan, 0]]]]
    expected = [[[[nan, 0, 0, 0, 0, 0], [0, 0, 0, nan, 0, 0]]]] if step == norm_relu.RELU else pooled
    np.testing.assert_array_equal(fused.y, expected)
    x = np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2)
    closed, mean, var = norm_relu.batch_norm(x, 0 * one, -one, 1.0, step)
    dx, dw, db = norm_relu.batch_norm_grad(np.full_like(closed.y, np.inf), x, one, mean, var, 1.0, closed)
    np.testing.assert_array_equal(dx, np.zeros_like(x))
    assert (dw, db) == (0, 0)


def test_usable_for_images_of_float32():
    x = np.ones((1, 1, 2, 2), np.float32)
    assert norm_relu.usable(x)
    assert not norm_relu.usable(x.astype(np.float64))
    assert not norm_relu.usable(x[:0])
    assert not norm_relu.usable(x[0])
