"""Images sampled at arbitrary points: what rotations, affine and perspective maps and elastic deformations need.

A point (u, v) is measured in pixels from the left and the top edge of the image, so that pixel (i, j) is the square
[j, j + 1) x [i, i + 1) with its centre at (j + 0.5, i + 0.5). The plane around the image has the value `fill`.

    nearest:   y[n, c, i, j] = x[n, c, floor(v), floor(u)]          u = u[n, i, j], v = v[n, i, j]
    bilinear:  y[n, c, i, j] = the four pixels whose centres surround (u, v), each weighted by how near it is
"""

from __future__ import annotations

from typing import Any

import numpy as np

_BLOCK = 8192  # points at a time, so that what is computed of them stays in the cache


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


def _nearest(pixels: np.ndarray, u: np.ndarray, v: np.ndarray, H: int, W: int) -> np.ndarray:
    """pixels (N, (H + 2)(W + 2), C) of framed images at the points u, v (N, OH, OW) in them: (N, OH, OW, C)."""
    image = np.arange(len(pixels))[:, None, None]  # (N, 1, 1)
    row, col = np.clip(v, 0, H + 1).astype(np.intp), np.clip(u, 0, W + 1).astype(np.intp)
    return pixels[image, row * (W + 2) + col]


def _bilinear(pixels: np.ndarray, u: np.ndarray, v: np.ndarray, H: int, W: int) -> np.ndarray:
    """As `_nearest`, from the four pixels around each point."""
    image = np.arange(len(pixels))[:, None, None]
    v, u = np.clip(v - 0.5, 0, H + 1), np.clip(u - 0.5, 0, W + 1)  # counted from the first pixel's centre
    row, col = np.minimum(v.astype(np.intp), H), np.minimum(u.astype(np.intp), W)
    down, right = ((p - start)[..., None].astype(pixels.dtype) for p, start in ((v, row), (u, col)))
    at = row * (W + 2) + col
    above, below = pixels[image, at], pixels[image, at + (W + 2)]  # (N, OH, OW, C)
    above += right * (pixels[image, at + 1] - above)
    below += right * (pixels[image, at + (W + 3)] - below)
    above += down * (below - above)
    return above
