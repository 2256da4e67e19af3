"""Pooling against PyTorch, by hand, and each linear kernel against its adjoint."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tinygrad_mnist import kernels

IMAGES = [(7, 6), (5, 5), (8, 9)]
# kernel, stride, padding, dilation
WINDOWS = [
    (k, s, p, d)
    for k, s, p, d in itertools.product(
        [(2, 2), (3, 2), (3, 3)], [(1, 1), (2, 2), (3, 2)], [(0, 0), (1, 1), (1, 0)], [(1, 1), (2, 1)]
    )
    if p[0] <= k[0] // 2 and p[1] <= k[1] // 2
]


TOLERANCES = [(np.float64, 1e-12), (np.float32, 1e-6)]


def close(got, expected, tolerance=1e-12):
    assert got.shape == expected.shape
    assert np.abs(got - expected).max(initial=0.0) <= tolerance


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("size", IMAGES)
def test_max_pool2d_agrees_with_pytorch(size, window, ceil_mode, dtype, path, rng):
    x = rng.standard_normal((2, 3, *size)).round(1).astype(dtype)  # rounded: some are equal, and the first must win
    x[0, 0, 2, 2] = np.nan
    x[0, 1] = -np.inf
    tx = torch.tensor(x, requires_grad=True)
    ty, t_index = F.max_pool2d(tx, *window, ceil_mode, return_indices=True)
    y, index = kernels.max_pool2d(x, *window, ceil_mode)
    np.testing.assert_array_equal(y, ty.detach().numpy())
    np.testing.assert_array_equal(index, t_index.numpy())
    np.testing.assert_array_equal(kernels.max_pool2d_at(x, index), y)

    dy = rng.standard_normal(y.shape).astype(dtype)
    ty.backward(torch.tensor(dy))
    tolerance = 1e-5 if dtype == np.float32 else 1e-12  # float32: up to nine gradients are added in another order
    close(kernels.max_pool2d_input_grad(dy, index, x.shape, *window), tx.grad.numpy(), tolerance)
    close(kernels.max_unpool2d(dy, index, size), tx.grad.numpy(), tolerance)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize(("size", "window"), [*itertools.product([(7, 6)], WINDOWS), ((1, 5), ((2, 3), 1, 1, 2))])
def test_max_pool2d_of_many_channels_is_that_of_each(size, window, ceil_mode, rng):
    """Whole vectors of channels, and those that are left over, which the test above compares with PyTorch's."""
    window = tuple(n if isinstance(n, tuple) else (n, n) for n in window)
    x = rng.standard_normal((3, 35, *size)).round(1).astype(np.float32)
    x[0, ::4, 0, 2], x[1, ::5] = np.nan, -np.inf
    each = [kernels.max_pool2d(x[:, c : c + 1], *window, ceil_mode) for c in range(35)]
    for got, expected in zip(kernels.max_pool2d(x, *window, ceil_mode), zip(*each, strict=True), strict=True):
        np.testing.assert_array_equal(got, np.concatenate(expected, 1))


def test_max_pool2d_of_integers():
    x = np.array([[[[1, 5], [-3, 2]]]])
    y, index = kernels.max_pool2d(x, (2, 2), (2, 2), (1, 1), (1, 1), False)
    np.testing.assert_array_equal(y, [[[[1, 5], [-3, 2]]]])
    np.testing.assert_array_equal(index, [[[[0, 1], [2, 3]]]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_infinite_gradient_stays_where_it_belongs(dtype, path):
    index = np.array([[[[3]]]], np.int32)
    dy = np.array([[[[np.inf]]]], dtype)
    dx = kernels.max_pool2d_input_grad(dy, index, (1, 1, 2, 2), (2, 2), (2, 2), (0, 0), (1, 1))
    np.testing.assert_array_equal(dx, [[[[0, 0], [0, np.inf]]]])


@pytest.mark.parametrize("divisor_override", [None, 5])
@pytest.mark.parametrize("count_include_pad", [False, True])
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("window", [w[:3] for w in WINDOWS if w[3] == (1, 1)])
def test_avg_pool2d_agrees_with_pytorch(window, ceil_mode, count_include_pad, divisor_override, path, rng):
    for size, (dtype, tolerance) in itertools.product(IMAGES, TOLERANCES):
        x = rng.standard_normal((2, 3, *size)).astype(dtype)
        tx = torch.tensor(x, requires_grad=True)
        ty = F.avg_pool2d(tx, *window, ceil_mode, count_include_pad, divisor_override)
        y = kernels.avg_pool2d(x, *window, ceil_mode, count_include_pad, divisor_override)
        assert y.dtype == dtype
        close(y, ty.detach().numpy(), tolerance)
        dy = rng.standard_normal(y.shape).astype(dtype)
        ty.backward(torch.tensor(dy))
        dx = kernels.avg_pool2d_input_grad(dy, x.shape, *window, count_include_pad, divisor_override)
        assert dx.dtype == dtype
        close(dx, tx.grad.numpy(), tolerance)
        assert abs(np.vdot(y, dy) - np.vdot(x, dx)) <= 100 * tolerance


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 7), (5, 1)])
@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES)
def test_adaptive_pooling_agrees_with_pytorch(dtype, tolerance, image, size, path, threads, rng):
    x = rng.standard_normal((2, 3, *image)).round(1).astype(dtype)
    tx = torch.tensor(x, requires_grad=True)
    ty = F.adaptive_avg_pool2d(tx, size)
    y = kernels.adaptive_avg_pool2d(x, size)
    assert y.dtype == dtype
    close(y, ty.detach().numpy(), tolerance)
    dy = rng.standard_normal(y.shape).astype(dtype)
    ty.backward(torch.tensor(dy))
    close(kernels.adaptive_avg_pool2d_input_grad(dy, x.shape), tx.grad.numpy(), tolerance)

    ty, t_index = F.adaptive_max_pool2d(tx, size, return_indices=True)
    y, index = kernels.adaptive_max_pool2d(x, size)
    np.testing.assert_array_equal(y, ty.detach().numpy())
    np.testing.assert_array_equal(index, t_index.numpy())


def test_unpooling_is_the_adjoint_of_taking(rng):
    x, index = rng.standard_normal((2, 3, 4, 5)), rng.integers(0, 20, (2, 3, 2, 7))
    c = rng.standard_normal(index.shape)
    taken, back = kernels.max_pool2d_at(x, index), kernels.max_unpool2d(c, index, (4, 5))
    assert abs(np.vdot(taken, c) - np.vdot(x, back)) <= 1e-10


@pytest.mark.parametrize("layout", ["channels_last", "strided", "float32"])
def test_memory_layout_and_dtype(layout, path, threads, rng):
    plain = rng.standard_normal((2, 4, 6, 8)).astype(np.float32)
    x = {
        "channels_last": np.ascontiguousarray(plain.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
        "strided": np.repeat(plain, 2, axis=3)[..., ::2],
        "float32": plain,
    }[layout]
    args = (2, 2), (2, 2), (0, 0)
    y, index = kernels.max_pool2d(x, *args, (1, 1), False)
    assert (y.dtype, index.dtype) == (np.float32, np.int32)
    np.testing.assert_array_equal(y, plain.reshape(2, 4, 3, 2, 4, 2).max(axis=(3, 5)))
    mean = kernels.avg_pool2d(x, *args, False, True, None)
    assert mean.dtype == np.float32
    close(mean, plain.reshape(2, 4, 3, 2, 4, 2).mean(axis=(3, 5)), 1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_empty_batches(dtype, path):
    x = np.zeros((0, 2, 4, 4), dtype)
    args = (2, 2), (2, 2), (0, 0)
    y, index = kernels.max_pool2d(x, *args, (1, 1), False)
    assert y.shape == index.shape == (0, 2, 2, 2)
    assert kernels.max_pool2d_input_grad(y, index, x.shape, *args, (1, 1)).shape == x.shape
    assert kernels.max_unpool2d(y, index, (4, 4)).shape == x.shape
    assert kernels.max_pool2d_at(x, index).shape == y.shape
    assert kernels.avg_pool2d(x, *args, False, True, None).shape == y.shape
    assert kernels.adaptive_avg_pool2d(x, (1, 1)).shape == (0, 2, 1, 1)
    assert kernels.adaptive_max_pool2d(x, (1, 1))[0].shape == (0, 2, 1, 1)
