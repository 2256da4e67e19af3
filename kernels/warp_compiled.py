"""Images seen through maps, compiled: float32 or uint8, each image by one thread. Contract: `warp` in `warp.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import boolean, float32, float64, njit, uint8, void

_maps, _plane = float64[:, :, ::1], float32[::1]
_SIGNATURES = [void(kind[:, :, :, ::1], _maps, boolean, _plane, kind[:, :, :, ::1]) for kind in (float32, uint8)]


@njit(inline="always")
def _clip(value: float, limit: int) -> float:  # pragma: no cover
    """value in 0 .. limit; 0 for NaN."""
    return min(value, float(limit)) if value > 0 else 0.0


@njit(inline="always")
def _pixel(image: np.ndarray, row: int, column: int, plane: Any) -> Any:  # pragma: no cover
    inside = 0 <= row < image.shape[0] and 0 <= column < image.shape[1]
    return float32(image[row, column]) if inside else plane


@njit(_SIGNATURES, nogil=True, cache=True)
def warp(
    x: np.ndarray, maps: np.ndarray, nearest: bool, plane: np.ndarray, y: np.ndarray
) -> None:  # pragma: no cover
    """y from x and maps; what is around channel c of an image has the value plane[c]."""
    N, C, H, W = x.shape
    largest = float32(255) if x.itemsize == 1 else float32(np.inf)
    for n in range(N):
        m = maps[n]
        for i in range(H):
            for j in range(W):
                down, across = i + 0.5, j + 0.5
                u = m[0, 0] * across + (m[0, 1] * down + m[0, 2])
                v = m[1, 0] * across + (m[1, 1] * down + m[1, 2])
                w = m[2, 0] * across + (m[2, 1] * down + m[2, 2])
                w = 1e-6 if abs(w) < 1e-6 else w
                u, v = u / w, v / w
                if nearest:
                    row, column = int(_clip(v + 1, H + 1)) - 1, int(_clip(u + 1, W + 1)) - 1
                    for c in range(C):
                        inside = 0 <= row < H and 0 <= column < W
                        value = plane[c] if x.itemsize > 1 else min(max(np.rint(plane[c]), float32(0)), largest)
                        y[n, c, i, j] = x[n, c, row, column] if inside else value
                    continue
                v, u = _clip(v + 0.5, H + 1), _clip(u + 0.5, W + 1)
                row, column = min(int(v), H) - 1, min(int(u), W) - 1
                below, right = float32(v - 1 - row), float32(u - 1 - column)
                for c in range(C):
                    a, b = _pixel(x[n, c], row, column, plane[c]), _pixel(x[n, c], row, column + 1, plane[c])
                    d, e = _pixel(x[n, c], row + 1, column, plane[c]), _pixel(x[n, c], row + 1, column + 1, plane[c])
                    above, under = a + right * (b - a), d + right * (e - d)
                    value = above + below * (under - above)
                    if x.itemsize == 1:
                        value = min(max(np.rint(value), float32(0)), largest)
                    y[n, c, i, j] = value
