"""Images sampled between their pixels: against a slow loop and against PyTorch."""

import math

import numpy as np
import pytest
import torch
from tinygrad_mnist.kernels import compiled, philox, random_affine, sample, warp
from tinygrad_mnist.kernels.warp import affine_maps, random_maps


def slow_sample(x: np.ndarray, u: np.ndarray, v: np.ndarray, nearest: bool, fill: np.ndarray) -> np.ndarray:
    """The definition, one point after the other."""
    N, C, H, W = x.shape
    y = np.empty((N, C, *u.shape[1:]), np.float64)

    def pixel(n: int, c: int, i: int, j: int) -> float:
        return x[n, c, i, j] if 0 <= i < H and 0 <= j < W else fill[c]

    for n, c, i, j in np.ndindex(y.shape):
        across, down = u[n, i, j], v[n, i, j]
        if nearest:
            y[n, c, i, j] = pixel(n, c, math.floor(down), math.floor(across))
            continue
        top, left = math.floor(down - 0.5), math.floor(across - 0.5)
        b, r = down - 0.5 - top, across - 0.5 - left
        y[n, c, i, j] = (
            (1 - b) * (1 - r) * pixel(n, c, top, left)
            + (1 - b) * r * pixel(n, c, top, left + 1)
            + b * (1 - r) * pixel(n, c, top + 1, left)
            + b * r * pixel(n, c, top + 1, left + 1)
        )
    return y


@pytest.mark.parametrize("nearest", [False, True])
@pytest.mark.parametrize("shape", [(3, 2, 5, 4), (2, 1, 1, 1), (1, 3, 1, 6), (0, 2, 3, 3), (2, 0, 3, 3)])
@pytest.mark.parametrize("out", [(3, 7), (1, 1), (0, 2)])
def test_is_what_the_loop_gives(
    rng: np.random.Generator, shape: tuple[int, ...], out: tuple[int, int], nearest: bool
) -> None:
    x = rng.standard_normal(shape)
    fill = rng.standard_normal(shape[1])
    u = rng.uniform(-3, shape[3] + 3, (shape[0], *out))
    v = rng.uniform(-3, shape[2] + 3, (shape[0], *out))
    np.testing.assert_allclose(
        sample(x, u, v, nearest, fill), slow_sample(x, u, v, nearest, fill), rtol=1e-12, atol=1e-12, strict=True
    )


def test_by_hand() -> None:
    x = np.array([[[[0.0, 4.0], [8.0, 12.0]]]])
    u = np.array([[[0.5, 1.0, 1.5, 1.0, 2.0, 9.0]]])
    v = np.array([[[0.5, 0.5, 1.5, 1.0, 1.5, 1.5]]])
    # Centres give their pixel, points between two or four the mean, the border half of what is outside.
    assert sample(x, u, v, fill=100.0).tolist() == [[[[0.0, 2.0, 12.0, 6.0, 56.0, 100.0]]]]
    assert sample(x, u, v, nearest=True, fill=100.0).tolist() == [[[[0.0, 4.0, 12.0, 12.0, 100.0, 100.0]]]]


@pytest.mark.parametrize(("mode", "nearest"), [("bilinear", False), ("nearest", True)])
@pytest.mark.parametrize(("n", "out"), [(3, (6, 5)), (0, (6, 5)), (7, (50, 50)), (2, (100, 100))])
def test_is_what_grid_sample_gives(
    rng: np.random.Generator, mode: str, nearest: bool, n: int, out: tuple[int, int]
) -> None:
    """Also where the images do not fit into one block."""
    x = rng.standard_normal((n, 2, 9, 7))
    grid = rng.uniform(-1.5, 1.5, (n, *out, 2))
    ours = sample(x, (grid[..., 0] + 1) * 7 / 2, (grid[..., 1] + 1) * 9 / 2, nearest)
    if n == 0:
        assert ours.shape == (0, 2, *out)
        return
    theirs = torch.nn.functional.grid_sample(torch.tensor(x), torch.tensor(grid), mode, "zeros", align_corners=False)
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32])
def test_nearest_keeps_the_dtype_and_the_values(rng: np.random.Generator, dtype: type) -> None:
    x = rng.integers(0, 255, (2, 3, 5, 4)).astype(dtype)
    j, i = np.meshgrid(np.arange(4) + 0.5, np.arange(5) + 0.5)
    y = sample(x, np.stack([j, j]), np.stack([i, i]), nearest=True)
    np.testing.assert_array_equal(y, x, strict=True)


def test_memory_layout_does_not_matter(rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 5, 4, 3)).transpose(0, 3, 1, 2)
    u, v = rng.uniform(0, 5, (2, 2, 6, 6))
    np.testing.assert_array_equal(sample(x, u, v), sample(x.copy(), u.copy(), v.copy()))


def test_far_away_is_outside() -> None:
    x = np.ones((1, 1, 2, 2), np.float32)
    u = np.array([[[np.inf, -np.inf, 1e30, -1e30]]])
    for nearest in (False, True):
        assert sample(x, u, u, nearest, 7.0).tolist() == [[[[7.0] * 4]]]


# --- maps


def slow_warp(x: np.ndarray, maps: np.ndarray, nearest: bool, fill: np.ndarray) -> np.ndarray:
    """The points that maps show, one after the other, and what the loop above finds there."""
    N, _, H, W = x.shape
    u, v = np.empty((N, H, W)), np.empty((N, H, W))
    for n, i, j in np.ndindex(N, H, W):
        across, down, w = maps[n] @ [j + 0.5, i + 0.5, 1]
        u[n, i, j], v[n, i, j] = across / w, down / w
    return slow_sample(x, u, v, nearest, fill)


@pytest.mark.parametrize("nearest", [False, True])
@pytest.mark.parametrize("shape", [(3, 2, 5, 4), (2, 1, 1, 1), (0, 2, 3, 3), (2, 0, 3, 3), (5, 3, 8, 9)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_warp_is_what_the_loop_gives(rng, shape, dtype, nearest, path, threads) -> None:
    x = (200 * rng.random(shape)).astype(dtype)
    x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    maps = np.eye(3) + 0.2 * rng.standard_normal((shape[0], 3, 3))
    fill = np.round(100 * rng.random(shape[1]))
    ours, expected = warp(x, maps, nearest, fill), slow_warp(x.astype(float), maps, nearest, fill)
    assert ours.dtype == dtype
    tolerance = {np.uint8: 0.5001, np.float32: 1e-3, np.float64: 1e-9}[dtype]
    np.testing.assert_allclose(ours.astype(float), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("size", [(9, 8), (41, 40), (2, 1100), (3, 0)])  # 1,024 points are taken at a time
def test_compiled_maps_give_numpys_bits(rng, size) -> None:
    maps = np.eye(3) + 0.2 * rng.standard_normal((4, 3, 3))
    maps[1, 2] = 0, 0, 1e-9
    for dtype in (np.uint8, np.float32):
        x = (250 * rng.random((4, 3, *size))).astype(dtype)
        for nearest in (False, True):
            results = []
            for allowed in (False, True):
                before = compiled.use_compiled(allowed)
                results.append(warp(x, maps, nearest, [3.5, 300.0, -7.0] if dtype == np.float32 else 200))
                compiled.use_compiled(before)
            np.testing.assert_array_equal(*results, strict=True)


def test_a_map_of_nan_reads_nothing_outside(path) -> None:
    """What it shows is of no use, but it must come from the image; compiled code would not notice."""
    x = np.full((1, 1, 9, 8), 7, np.uint8)
    for nearest in (False, True):
        assert np.isin(warp(x, np.full((1, 3, 3), np.nan), nearest, 7), [7]).all()


def test_random_affine_draws_two_blocks_for_each_image(rng, path) -> None:
    x = rng.random((5, 2, 8, 7)).astype(np.float32)
    low, high = np.array([-40, -2, -2, 0.7, -20, -10]), np.array([40, 2, 2, 1.5, 20, 10])
    center = np.array([3.5, 4.0])
    maps = random_maps(5, low, high, center, 11, 3)
    u = np.array([[int(word) >> 11 for word in philox.words64(11, 3 + 2 * n, 2).reshape(-1)[:6]] for n in range(5)])
    drawn = low + u / 2**53 * (high - low)
    expected = affine_maps(center, drawn[:, 0], np.round(drawn[:, 1:3]), drawn[:, 3], drawn[:, 4:])
    np.testing.assert_allclose(maps, expected, rtol=1e-12, atol=1e-12)
    y = random_affine(x, low, high, center, False, 0.5, 11, 3)
    np.testing.assert_array_equal(y, warp(x, maps, False, 0.5))
    np.testing.assert_array_equal(y[2:], random_affine(x[2:], low, high, center, False, 0.5, 11, 7))
