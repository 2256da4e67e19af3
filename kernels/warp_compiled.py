"""Random maps, and images seen through maps: float32 or uint8, each by one thread, compiled. Contract: `warp.py`.

Some rows of the result at a time go through short loops, of most of which the compiler makes vector instructions: where
the map finds their points, which pixels are there, and what they show. Those are read from an image with a frame of
the plane around it, so that nothing needs to be checked.
"""

from __future__ import annotations

import math

import numpy as np
from numba import float32, float64, int64, njit, uint8, uint64, void

from .team_compiled import handed_over

POINTS = 1024  # at a time, so that what is computed of them stays in the first cache

_maps, _numbers = float64[:, :, ::1], float64[::1]
_SIGNATURES = [void(int64, kind[:, :, :, ::1], _maps, float32[::1], kind[:, :, :, ::1]) for kind in (float32, uint8)]


@njit(void(uint64[:, ::1], _numbers, _numbers, _numbers, _maps), nogil=True, cache=True, error_model="numpy")
def random_maps(
    words: np.ndarray, low: np.ndarray, high: np.ndarray, center: np.ndarray, maps: np.ndarray
) -> None:  # pragma: no cover
    """`affine_maps` of numbers in the ranges low, high (6,), one for each of the first six of an image's words."""
    drawn = np.empty(6)
    for n in range(len(words)):
        for i in range(6):
            drawn[i] = low[i] + (words[n, i] >> uint64(11)) * 2.0**-53 * (high[i] - low[i])
        turn, scale, m = math.radians(drawn[0]), drawn[3], maps[n]
        shear_x, shear_y = math.tan(math.radians(drawn[4])), math.tan(math.radians(drawn[5]))
        cos, sin = math.cos(turn) / scale, math.sin(turn) / scale
        m[1, 0], m[1, 1] = shear_y * cos - sin, shear_y * sin + cos
        m[0, 0], m[0, 1] = cos + shear_x * m[1, 0], sin + shear_x * m[1, 1]
        x, y = center[0] + np.rint(drawn[1]), center[1] + np.rint(drawn[2])
        m[0, 2] = center[0] - (m[0, 0] * x + m[0, 1] * y)
        m[1, 2] = center[1] - (m[1, 0] * x + m[1, 1] * y)
        m[2, 0], m[2, 1], m[2, 2] = 0.0, 0.0, 1.0


@njit(inline="always")
def _clip(value: float, limit: int) -> float:  # pragma: no cover
    """value in 0 .. limit; 0 for NaN."""
    return min(value, float(limit)) if value > 0 else 0.0


@njit
def _centres(W: int, H: int) -> tuple[np.ndarray, np.ndarray]:  # pragma: no cover
    """The centres of the pixels of as many rows as are taken at a time, across and down from the first one's corner."""
    n = min(max(1, POINTS // W), H) * W
    across, down = np.empty(n), np.empty(n)
    for p in range(n):
        across[p], down[p] = p % W + 0.5, p // W + 0.5
    return across, down


@njit(error_model="numpy")
def _find(
    m: np.ndarray, across: np.ndarray, down: np.ndarray, top: int, u: np.ndarray, v: np.ndarray
) -> None:  # pragma: no cover
    """u, v (n,): where the map m (3, 3) finds the n first of those pixels, in rows of which the first is `top`."""
    for p in range(len(u)):
        u[p] = m[0, 0] * across[p] + (m[0, 1] * (top + down[p]) + m[0, 2])
        v[p] = m[1, 0] * across[p] + (m[1, 1] * (top + down[p]) + m[1, 2])
    if m[2, 0] == 0 and m[2, 1] == 0 and m[2, 2] == 1:
        return
    for p in range(len(u)):
        w = m[2, 0] * across[p] + (m[2, 1] * (top + down[p]) + m[2, 2])
        w = 1e-6 if abs(w) < 1e-6 else w
        u[p], v[p] = u[p] / w, v[p] / w


@njit(inline="always")
def _as_pixel(value: float, itemsize: int) -> float:  # pragma: no cover
    """value, for uint8 rounded and kept in range."""
    return value if itemsize > 1 else min(max(np.rint(value), float32(0)), float32(255))


@njit
def _fill(framed: np.ndarray, image: np.ndarray) -> None:  # pragma: no cover
    """The image (C, H, W) into the frame. Compiling `framed[:, 1:-1, 1:-1] = image` takes 3.5 seconds."""
    C, H, W = image.shape
    for c in range(C):
        for i in range(H):
            for j in range(W):
                framed[c, i + 1, j + 1] = image[c, i, j]


@njit(_SIGNATURES, nogil=True, cache=True)
def nearest(slot: int, x: np.ndarray, maps: np.ndarray, plane: np.ndarray, y: np.ndarray) -> None:  # pragma: no cover
    """y from x and maps, each pixel a copy; what is around channel c of an image has the value plane[c]."""
    if handed_over(slot):
        return
    N, C, H, W = x.shape
    wide = np.uint32(W + 2)
    framed = np.empty((C, H + 2, W + 2), x.dtype)
    for c in range(C):
        framed[c] = _as_pixel(plane[c], x.itemsize)
    pixels, shown = framed.reshape(C, (H + 2) * (W + 2)), y.reshape(N, C, H * W)
    across, down = _centres(W, H)
    u, v = np.empty_like(across), np.empty_like(across)
    places = np.empty(len(u), np.uint32)  # unsigned: Numba looks whether others are negative
    for n in range(N):
        _fill(framed, x[n])
        for first in range(0, H * W, len(u)):
            count = min(len(u), H * W - first)
            _find(maps[n], across, down, first // W, u[:count], v[:count])
            for p in range(count):
                row, column = np.uint32(_clip(v[p] + 1, H + 1)), np.uint32(_clip(u[p] + 1, W + 1))
                places[p] = row * wide + column
            for c in range(C):
                for p in range(count):
                    shown[n, c, first + p] = pixels[c, places[p]]


@njit(_SIGNATURES, nogil=True, cache=True)
def bilinear(slot: int, x: np.ndarray, maps: np.ndarray, plane: np.ndarray, y: np.ndarray) -> None:  # pragma: no cover
    """As `nearest`, from the four pixels around each point."""
    if handed_over(slot):
        return
    N, C, H, W = x.shape
    wide = np.uint32(W + 2)
    framed = np.empty((C, H + 2, W + 2), np.float32)
    for c in range(C):
        framed[c] = plane[c]
    pixels, shown = framed.reshape(C, (H + 2) * (W + 2)), y.reshape(N, C, H * W)
    across, down = _centres(W, H)
    u, v = np.empty_like(across), np.empty_like(across)
    right, below = np.empty(len(u), np.float32), np.empty(len(u), np.float32)
    places = np.empty(len(u), np.uint32)
    for n in range(N):
        _fill(framed, x[n])
        for first in range(0, H * W, len(u)):
            count = min(len(u), H * W - first)
            _find(maps[n], across, down, first // W, u[:count], v[:count])
            for p in range(count):
                s, t = _clip(v[p] + 0.5, H + 1), _clip(u[p] + 0.5, W + 1)  # counted from the first pixel's centre
                row, column = min(np.uint32(s), np.uint32(H)), min(np.uint32(t), np.uint32(W))
                below[p], right[p] = s - row, t - column
                places[p] = row * wide + column
            for c in range(C):
                for p in range(count):
                    at = places[p]
                    a, b, d, e = pixels[c, at], pixels[c, at + 1], pixels[c, at + wide], pixels[c, at + wide + 1]
                    above, under = a + right[p] * (b - a), d + right[p] * (e - d)
                    shown[n, c, first + p] = _as_pixel(above + below[p] * (under - above), x.itemsize)
