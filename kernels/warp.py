"""Images sampled at arbitrary points: rotations, affine and perspective maps, elastic deformations.

A point (u, v) is measured in pixels from the left and the top edge of the image, so that pixel (i, j) is the square
[j, j + 1) x [i, i + 1) with its centre at (j + 0.5, i + 0.5). The plane around the image has the value `fill`.

    nearest:   y[n, c, i, j] = x[n, c, floor(v), floor(u)]          u = u[n, i, j], v = v[n, i, j]
    bilinear:  y[n, c, i, j] = the four pixels whose centres surround (u, v), each weighted by how near it is

A map is a matrix (3, 3) that takes a point (x, y, 1) of the result to the point of the image that it shows:

    (u w, v w, w) = map (j + 0.5, i + 0.5, 1)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import compiled, philox
from .half import in_float32
from .parallel import share

RANDOM_BLOCKS = 2  # of the counter-based stream, for each image that is mapped at random
_BLOCK = 8192  # points at a time, so that what is computed of them stays in the cache


@in_float32()
def random_affine(
    x: np.ndarray, low: np.ndarray, high: np.ndarray, center: np.ndarray, nearest: bool, fill: Any, key: int, block: int
) -> np.ndarray:
    """`warp` by `random_maps`."""
    return warp(x, random_maps(len(x), low, high, center, key, block), nearest, fill)


def random_maps(n: int, low: np.ndarray, high: np.ndarray, center: np.ndarray, key: int, block: int) -> np.ndarray:
    """Maps (n, 3, 3), each drawn from two blocks of the stream `key` (see philox.py), from `block` on.

    low, high (6,) are the ranges of the angle in degrees, the translation across and down in pixels (whole ones are
    drawn), the scale, and the shear along x and along y in degrees; see `affine_maps`.
    """
    code = compiled.load("warp_compiled")
    if code:
        words, maps = philox.words64(key, block, RANDOM_BLOCKS * n).reshape(n, 8), np.empty((n, 3, 3))
        code.random_maps(words, *(np.asarray(numbers, np.float64) for numbers in (low, high, center)), maps)
        return maps
    drawn = low + philox.uniform(key, block, n, 6) * (high - low)
    return affine_maps(center, drawn[:, 0], np.round(drawn[:, 1:3]), drawn[:, 3], drawn[:, 4:])


def affine_maps(
    center: np.ndarray, angle: np.ndarray, translate: np.ndarray, scale: np.ndarray, shear: np.ndarray
) -> np.ndarray:
    """The maps (N, 3, 3) that show images sheared, turned clockwise and scaled about `center` (x, y), then moved.

    angle (N,) and shear (N, 2) in degrees, scale (N,), translate (N, 2) in pixels. They are the inverses of
    T(translate) · T(center) · R(angle) · ShearY(-shear_y) · ShearX(-shear_x) · scale · T(-center), so that what is in
    the middle becomes ShearX(shear_x) · ShearY(shear_y) · R(-angle) / scale.
    """
    turn, (shear_x, shear_y) = np.radians(angle), np.tan(np.radians(shear)).T
    cos, sin = np.cos(turn) / scale, np.sin(turn) / scale
    maps = np.zeros((len(turn), 3, 3))
    maps[:, 1, 0], maps[:, 1, 1] = shear_y * cos - sin, shear_y * sin + cos
    maps[:, 0, 0], maps[:, 0, 1] = cos + shear_x * maps[:, 1, 0], sin + shear_x * maps[:, 1, 1]
    maps[:, :2, 2] = center - (maps[:, :2, :2] * (center + translate)[:, None]).sum(-1)
    maps[:, 2, 2] = 1
    return maps


@in_float32()
def warp(x: np.ndarray, maps: np.ndarray, nearest: bool, fill: Any) -> np.ndarray:
    """x (N, C, H, W), uint8, float32 or float64, seen through maps (N, 3, 3): the same shape and dtype.

    `fill` is one number or C of them. Integers are rounded and kept in range.
    """
    code = compiled.load("warp_compiled") if x.dtype != np.float64 and x.size else None
    if code:
        images, y = np.ascontiguousarray(x), np.empty(x.shape, x.dtype)
        plane = np.empty(x.shape[1], np.float32)
        plane[:] = fill
        see, cost = (code.nearest, 2.4) if nearest else (code.bilinear, 7)  # nanoseconds a pixel
        share(see, lambda i, j: (images[i:j], maps[i:j], plane, y[i:j]), len(x), cost * x.size)
        return y
    H, W = x.shape[2:]
    across, down = np.arange(W) + 0.5, np.arange(H)[:, None] + 0.5  # (W,), (H, 1)
    m = maps[..., None, None]
    u, v, w = (m[:, row, 0] * across + (m[:, row, 1] * down + m[:, row, 2]) for row in range(3))  # (N, H, W)
    w = np.where(abs(w) < 1e-6, 1e-6, w)  # points that a perspective map sends to infinity
    y = sample(x if x.dtype.kind == "f" else x.astype(np.float32), u / w, v / w, nearest, fill)
    return y if x.dtype.kind == "f" else y.round().clip(0, 255).astype(np.uint8)


@in_float32()
def sample(x: np.ndarray, u: np.ndarray, v: np.ndarray, nearest: bool = False, fill: Any = 0) -> np.ndarray:
    """x (N, C, H, W) at the points u, v (N, OH, OW): (N, C, OH, OW), in the dtype of x; bilinear needs floats.

    `fill` is one number or C of them.
    """
    N, C, H, W = x.shape
    framed = np.empty((N, H + 2, W + 2, C), x.dtype)  # with one pixel of the plane around it on each side
    framed[:] = fill
    framed[:, 1:-1, 1:-1] = x.transpose(0, 2, 3, 1)
    pixels = framed.reshape(N, (H + 2) * (W + 2), C)
    y = np.empty((*u.shape, C), x.dtype)  # (N, OH, OW, C)
    _, OH, OW = u.shape
    step = max(1, _BLOCK // max(1, OH * OW))
    find = _nearest if nearest else _bilinear
    for first in range(0, N, step):
        block = slice(first, first + step)
        y[block] = find(pixels[block], u[block] + 1, v[block] + 1, H, W)
    return y.transpose(0, 3, 1, 2)


def _clip(p: np.ndarray, most: int) -> np.ndarray:
    """p in 0 .. most; 0, which is outside the image, for NaN."""
    return np.fmin(np.fmax(p, 0), most)


def _nearest(pixels: np.ndarray, u: np.ndarray, v: np.ndarray, H: int, W: int) -> np.ndarray:
    """pixels (N, (H + 2)(W + 2), C) of framed images at the points u, v (N, OH, OW) in them: (N, OH, OW, C)."""
    image = np.arange(len(pixels))[:, None, None]  # (N, 1, 1)
    row, col = _clip(v, H + 1).astype(np.intp), _clip(u, W + 1).astype(np.intp)
    return pixels[image, row * (W + 2) + col]


def _bilinear(pixels: np.ndarray, u: np.ndarray, v: np.ndarray, H: int, W: int) -> np.ndarray:
    """As `_nearest`, from the four pixels around each point."""
    image = np.arange(len(pixels))[:, None, None]
    v, u = _clip(v - 0.5, H + 1), _clip(u - 0.5, W + 1)  # counted from the first pixel's centre
    row, col = np.minimum(v.astype(np.intp), H), np.minimum(u.astype(np.intp), W)
    down, right = ((p - start)[..., None].astype(pixels.dtype) for p, start in ((v, row), (u, col)))
    at = row * (W + 2) + col
    above, below = pixels[image, at], pixels[image, at + (W + 2)]  # (N, OH, OW, C)
    above += right * (pixels[image, at + 1] - above)
    below += right * (pixels[image, at + (W + 3)] - below)
    above += down * (below - above)
    return above
