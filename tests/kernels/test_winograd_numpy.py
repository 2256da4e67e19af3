"""Winograd's tiles by NumPy alone, with the step after the convolution, against PyTorch in float64."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tinygrad_mnist.kernels import compiled, conv, conv_direct, pool, winograd_numpy
from tinygrad_mnist.kernels.fused import NONE, RELU, RELU_POOL

# N, C, H, W, O, padding: odd and even results, rows that are long or short, images taken one by one and together
GEOMETRIES = [
    (4, 32, 10, 11, 40, (0, 0)),
    (3, 2, 7, 9, 3, (1, 2)),
    (5, 3, 6, 7, 4, (0, 1)),
    (1, 16, 20, 36, 1, (1, 1)),
    (2, 4, 4, 3, 2, (2, 0)),
    (151, 2, 3, 4, 3, (0, 0)),
    (3, 5, 1, 1, 2, (2, 1)),
]


def draw(geometry, step):
    """x, w, b, a gradient at the step's result, and what PyTorch makes of them: y, dx, dw, db in float64."""
    N, C, H, W, O, padding = geometry
    rng = np.random.default_rng(H)
    x, w, b = (rng.standard_normal(shape).astype(np.float32) for shape in [(N, C, H, W), (O, C, 3, 3), (O,)])
    tx, tw, tb = (torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in (x, w, b))
    y = F.conv2d(tx, tw, tb, padding=padding)
    y = y if step == NONE else F.relu(y)
    y = F.max_pool2d(y, 2) if step == RELU_POOL else y
    dy = rng.standard_normal(y.shape).astype(np.float32)
    y.backward(torch.tensor(dy, dtype=torch.float64))
    return x, w, b, dy, [t.detach().numpy() for t in (y, tx.grad, tw.grad, tb.grad)]


def assert_close(got, expected):
    assert got.shape == expected.shape
    assert np.abs(got - expected).max(initial=0) <= 2e-6 * np.abs(expected).max(initial=1)


CASES = [(geometry, step) for geometry in GEOMETRIES for step in (NONE, RELU)]
CASES += [(geometry, RELU_POOL) for geometry in GEOMETRIES[:4]]  # of the others nothing would be left


@pytest.mark.parametrize(("geometry", "step"), CASES)
@pytest.mark.parametrize("in_cache", [2**18, 0])
def test_values_and_gradients_agree_with_pytorch(geometry, step, in_cache, threads, monkeypatch):
    """With all tiles taken together, and with a few at a time."""
    monkeypatch.setattr(winograd_numpy, "IN_CACHE", in_cache)
    monkeypatch.setattr(winograd_numpy, "FEWEST", 13)
    x, w, b, dy, (y, dx, dw, db) = draw(geometry, step)
    padding = geometry[-1]
    fused = winograd_numpy.conv2d(x, w, b, padding, step)
    assert_close(fused.y, y)
    undone = None if step == NONE else fused
    for got, expected in zip(
        winograd_numpy.conv2d_gradients(dy, x, w, padding, undone, (True, True)), (dx, dw, db), strict=True
    ):
        assert_close(got, expected)
    no_x = np.broadcast_to(np.float32(0), x.shape)
    assert_close(winograd_numpy.conv2d_gradients(dy, no_x, w, padding, undone, (True, False))[0], dx)
    assert_close(winograd_numpy.conv2d_gradients(dy, x, w, padding, undone, (False, True))[1], dw)


@pytest.mark.parametrize("pool_after", [False, True])
def test_memory_layout_changes_nothing(pool_after):
    step = RELU_POOL if pool_after else RELU
    x, w, b, dy, _ = draw(GEOMETRIES[2], step)
    padding = GEOMETRIES[2][-1]

    def results(lay_out):
        arrays = [lay_out(a) for a in (x, w, dy)]
        fused = winograd_numpy.conv2d(arrays[0], arrays[1], b, padding, step)
        return fused.y, *winograd_numpy.conv2d_gradients(arrays[2], *arrays[:2], padding, fused, (True, True))

    expected = results(np.ascontiguousarray)
    for lay_out in [
        lambda a: np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
        lambda a: np.repeat(np.repeat(a, 2, 1), 2, 3)[:, ::2, :, ::2],
        lambda a: a[:, :, ::-1, ::-1].copy()[:, :, ::-1, ::-1],
    ]:
        for got, e in zip(results(lay_out), expected, strict=True):
            assert_close(got, e)


def test_pooling_takes_the_first_of_equal_pixels_as_max_pool2d_does(rng):
    """Small whole numbers, of which tiles make no rounding errors."""
    x = rng.integers(-1, 2, (3, 2, 9, 8)).astype(np.float32)
    w = rng.integers(-1, 2, (4, 2, 3, 3)).astype(np.float32)
    fused = winograd_numpy.conv2d(x, w, None, (0, 0), RELU_POOL)
    y = winograd_numpy.conv2d(x, w, None, (0, 0)).y
    expected, index = pool.max_pool2d(y.astype(np.float64), (2, 2), (2, 2), (0, 0), (1, 1), False)
    np.testing.assert_array_equal(fused.y, np.maximum(expected, 0))
    np.testing.assert_array_equal(conv_direct.flat_index(fused), index)


def test_a_gradient_of_fewer_pixels_is_zero_where_no_kernel_was(rng):
    """As of a transposed convolution with output padding."""
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in [(2, 3, 9, 11), (4, 3, 3, 3)])
    dy = rng.standard_normal((2, 4, 5, 6)).astype(np.float32)
    dx, dw, _ = winograd_numpy.conv2d_gradients(dy, x, w, (0, 0), None, (True, True))
    full = np.pad(dy, ((0, 0), (0, 0), (0, 2), (0, 3))).astype(np.float64)
    args = (1, 1), (0, 0), (1, 1), 1
    assert_close(dx, conv.conv2d_input_grad(full, w.astype(np.float64), x.shape, *args))
    assert_close(dw, conv.conv2d_weight_grad(full, x.astype(np.float64), w.shape, *args))


def test_nan_stays_nan_and_in_its_tiles():
    x, w = np.ones((1, 2, 12, 12), np.float32), np.ones((3, 2, 3, 3), np.float32)
    x[0, 1, 5, 5] = np.nan
    for step, part in [(NONE, slice(2, 6)), (RELU, slice(2, 6)), (RELU_POOL, slice(1, 3))]:
        y = winograd_numpy.conv2d(x, w, None, (0, 0), step).y
        seen = np.zeros(y.shape, bool)
        seen[:, :, part, part] = True
        np.testing.assert_array_equal(np.isnan(y), seen)


def test_it_is_what_convolutions_without_numba_use(monkeypatch):
    """Those with 3x3 kernels and enough channels, and as many gradients of them."""
    calls = []
    for name in ("conv2d", "conv2d_gradients"):
        original = getattr(winograd_numpy, name)
        monkeypatch.setattr(winograd_numpy, name, lambda *a, f=original, n=name: (calls.append(n), f(*a))[1])
    before = compiled.use_compiled(False)
    try:
        args = (1, 1), (1, 1), (1, 1), 1
        x, w = np.ones((2, 32, 5, 4), np.float32), np.ones((33, 32, 3, 3), np.float32)
        y = conv.conv2d(x, w, None, *args)
        conv.conv2d_input_grad(y, w, x.shape, *args)
        conv.conv2d_weight_grad(y, x, w.shape, *args)
        assert calls == ["conv2d", "conv2d_gradients", "conv2d_gradients"]
        conv.conv2d(x, w[:31], None, *args)
        conv.conv2d(x.astype(np.float64), w.astype(np.float64), None, *args)
        conv.conv2d(x[:0], w, None, *args)
        conv.conv2d(x, w, None, (2, 1), *args[1:])
        assert len(calls) == 3
    finally:
        compiled.use_compiled(before)
