"""Convolution of few pixels by many weights, against PyTorch in float64."""

import numpy as np
import pytest
import torch
from tinygrad_mnist.kernels import compiled, conv_few
from tinygrad_mnist.kernels.fused import nhwc

# N, C, H, W, O, kernel, stride, padding, dilation
GEOMETRIES = [
    (1, 16, 1, 1, 1, (1, 1), (1, 1), (0, 0), (1, 1)),
    (1, 32, 4, 5, 7, (3, 3), (1, 1), (1, 1), (1, 1)),
    (3, 48, 5, 4, 13, (3, 2), (2, 1), (0, 1), (1, 2)),
    (2, 16, 6, 7, 20, (1, 1), (2, 3), (0, 0), (1, 1)),
    (2, 512, 2, 2, 9, (3, 3), (1, 1), (1, 1), (1, 1)),
    (4, 64, 2, 2, 9, (3, 3), (1, 1), (1, 1), (1, 1)),
    (11, 1024, 2, 1, 7, (3, 3), (1, 1), (1, 1), (1, 1)),
    (8, 128, 4, 3, 13, (3, 3), (2, 2), (1, 1), (1, 1)),
    (16, 256, 2, 2, 7, (3, 3), (1, 1), (1, 1), (1, 1)),
    (3, 48, 8, 7, 1, (3, 3), (1, 1), (2, 1), (1, 1)),
    (64, 256, 2, 1, 2, (3, 3), (1, 1), (1, 1), (1, 1)),
]
TILES = [  # how many patches, and of how many parts, on AVX-512
    (16, 1), (4, 1), (16, 1), (16, 1), (4, 9), (16, 1), (4, 9), (4, 9), (16, 9), (64, 1), (64, 9)
]  # fmt: skip


EPS = 1e-3


def draw(geometry):
    """x, w (channels-last), four vectors for b or a norm, and stride, padding and dilation."""
    N, C, H, W, O, kernel, *args = geometry
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(s).astype(np.float32) for s in ((N, C, H, W), (O, *kernel, C)))
    mean, weight, bias = rng.standard_normal((3, O)).astype(np.float32)
    return x, w.transpose(0, 3, 1, 2), (mean, rng.uniform(0.5, 2, O).astype(np.float32), weight, bias), args


def expected(x, w, b, norm, args):
    x, w, b = (None if a is None else torch.tensor(np.ascontiguousarray(a), dtype=torch.float64) for a in (x, w, b))
    y = torch.nn.functional.conv2d(x, w, b, *args)
    if norm is None:
        return y.numpy()
    vectors = (None if a is None else torch.tensor(a, dtype=torch.float64) for a in norm[:4])
    return torch.nn.functional.batch_norm(y, *vectors, eps=norm[4]).numpy()


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_agrees_with_pytorch(geometry, threads):
    x, w, (mean, var, weight, bias), args = draw(geometry)
    plus = np.random.default_rng(1).standard_normal(expected(x, w, None, None, args).shape).astype(np.float32)
    for b, norm, more, relu in [
        (None, (mean, var, weight, bias, EPS), None, True),
        (bias, (mean, var, weight, bias, EPS), plus, False),
        (bias, None, None, False),
        (bias, (mean, var, None, None, EPS), None, False),
        (None, None, nhwc(plus).transpose(0, 3, 1, 2), True),
    ]:
        y = conv_few.conv2d(x, w, b, norm, more, relu, *args)
        exact = expected(x, w, b, norm, args)
        exact = exact if more is None else exact + more
        exact = np.maximum(exact, 0) if relu else exact
        assert y.shape == exact.shape
        assert np.abs(y - exact).max() <= 8e-6 * (1 + np.sqrt(w[0].size))
        assert y.tobytes() == conv_few.conv2d(x, w, b, norm, more, relu, *args).tobytes()


@pytest.mark.parametrize(("geometry", "tile"), [*zip(GEOMETRIES, TILES, strict=True)])
def test_tiles_are_as_wide_as_there_are_patches_and_leave_out_taps_outside(geometry, tile):
    x, w, _, args = draw(geometry)
    plan = conv_few._plan(x.shape, w.shape, *args)
    *_, tiles, inside = plan.tables
    assert sorted(set(tiles.ravel())) == list(range(np.prod(plan.shape[:3])))
    assert inside.any(1).all()
    assert plan.rows.size >= len(w)
    if compiled.load("tile").LANES == 16:  # shorter vectors have other tiles
        assert (tiles.shape[1], inside.shape[1]) == tile


def test_nan_stays():
    x, w, (mean, var, weight, bias), args = draw(GEOMETRIES[1])
    x[0, 3, 0, 0] = np.nan
    seen, plus = np.zeros((1, 7, 4, 5), bool), np.zeros((1, 7, 4, 5), np.float32)
    seen[:, :, :2, :2] = True
    plus[0, 5, 3, 4] = np.nan
    np.testing.assert_array_equal(np.isnan(conv_few.conv2d(x, w, bias, None, None, True, *args)), seen)
    seen[0, 5, 3, 4] = seen[0, 2] = True
    mean[2] = np.nan
    y = conv_few.conv2d(x, w, None, (mean, var, weight, bias, EPS), plus, True, *args)
    np.testing.assert_array_equal(np.isnan(y), seen)


def test_what_it_is_for():
    x, w, _, args = draw((1, 64, 4, 4, 65, (3, 3), (1, 1), (1, 1), (1, 1)))
    assert conv_few.usable(x, w, *args, 1)
    assert not conv_few.usable(np.repeat(x, 17, 0), w, *args, 1)  # 272 pixels
    assert not conv_few.usable(x.astype(np.float64), w.astype(np.float64), *args, 1)
    assert not conv_few.usable(x, np.ascontiguousarray(w), *args, 1)  # row-major
    assert not conv_few.usable(x[:, :60], w[:, :60], *args, 1)  # not whole vectors
    before = compiled.use_compiled(False)
    assert not conv_few.usable(x, w, *args, 1)
    compiled.use_compiled(before)
