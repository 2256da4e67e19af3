"""Images seen through maps, compiled: float32 or uint8, each image by one thread. Contract: `warp` in `warp.py`.

A row of the result is made in two loops: one over its points, of which the compiler makes vector instructions, and
one over its pixels, which are read from an image with a frame of the plane around it: nothing needs to be checked.
"""

from __future__ import annotations

import numpy as np
from numba import boolean, float32, float64, njit, uint8, void

_maps, _plane = float64[:, :, ::1], float32[::1]
_SIGNATURES = [void(kind[:, :, :, ::1], _maps, boolean, _plane, kind[:, :, :, ::1]) for kind in (float32, uint8)]


@njit(inline="always")
def _clip(value: float, limit: int) -> float:  # pragma: no cover
    """value in 0 .. limit; 0 for NaN."""
    return min(value, float(limit)) if value > 0 else 0.0


@njit(error_model="numpy")
def _points(m: np.ndarray, down: float, u: np.ndarray, v: np.ndarray) -> None:  # pragma: no cover
    """Where the map m (3, 3) finds the pixels of a row (W,)."""
    for j in range(len(u)):
        across = j + 0.5
        u[j] = m[0, 0] * across + (m[0, 1] * down + m[0, 2])
        v[j] = m[1, 0] * across + (m[1, 1] * down + m[1, 2])
    if m[2, 0] == 0 and m[2, 1] == 0 and m[2, 2] == 1:
        return
    for j in range(len(u)):
        w = m[2, 0] * (j + 0.5) + (m[2, 1] * down + m[2, 2])
        w = 1e-6 if abs(w) < 1e-6 else w
        u[j], v[j] = u[j] / w, v[j] / w


@njit(_SIGNATURES, nogil=True, cache=True)
def warp(
    x: np.ndarray, maps: np.ndarray, nearest: bool, plane: np.ndarray, y: np.ndarray
) -> None:  # pragma: no cover
    """y from x and maps; what is around channel c of an image has the value plane[c]."""
    N, C, H, W = x.shape
    wide = np.uint32(W + 2)
    framed = np.empty((C, H + 2, W + 2), np.float32)
    pixels = framed.reshape(C, (H + 2) * (W + 2))
    u, v, right, below = np.empty(W), np.empty(W), np.empty(W, np.float32), np.empty(W, np.float32)
    places = np.empty(W, np.uint32)  # unsigned: Numba looks whether others are negative
    for c in range(C):
        framed[c] = plane[c]
    for n in range(N):
        framed[:, 1:-1, 1:-1] = x[n]
        for i in range(H):
            _points(maps[n], i + 0.5, u, v)
            for j in range(W):
                if nearest:
                    row, column = np.uint32(_clip(v[j] + 1, H + 1)), np.uint32(_clip(u[j] + 1, W + 1))
                else:
                    v[j], u[j] = _clip(v[j] + 0.5, H + 1), _clip(u[j] + 0.5, W + 1)
                    row, column = min(np.uint32(v[j]), np.uint32(H)), min(np.uint32(u[j]), np.uint32(W))
                    below[j], right[j] = v[j] - row, u[j] - column
                places[j] = row * wide + column
            for c in range(C):
                for j in range(W):
                    at = places[j]
                    value = pixels[c, at]
                    if not nearest:
                        a, b, d, e = value, pixels[c, at + 1], pixels[c, at + wide], pixels[c, at + wide + 1]
                        above, under = a + right[j] * (b - a), d + right[j] * (e - d)
                        value = above + below[j] * (under - above)
                    if x.itemsize == 1:
                        value = min(max(np.rint(value), float32(0)), float32(255))
                    y[n, c, i, j] = value
