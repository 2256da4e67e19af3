"""Filters that act on rows and columns separately, as matrix products: antialiased resizing and Gaussian blur."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from .images import from_floats, to_floats


def separable(x: Any, down: np.ndarray, across: np.ndarray) -> Any:
    """y = down · x · acrossᵀ for images x (N, C, H, W), in the dtype of x: (N, C, OH, OW).

    down (N, OH, H) and across (N, OW, W) are the weights of each image, or of all of them where their N is 1.
    """
    floats = to_floats(x)
    xp = backend.of(x).xp
    down = xp.asarray(down, floats.dtype)[:, None]  # (N, 1, OH, H)
    across = xp.asarray(across, floats.dtype)[:, None].swapaxes(-1, -2)  # (N, 1, W, OW)
    return from_floats(xp.matmul(down, xp.matmul(floats, across)), x.dtype)


def resize_weights(start: np.ndarray, length: np.ndarray, size: int, new: int, antialias: bool) -> np.ndarray:
    """How much each of `size` pixels counts in each of `new` ones, when pixels start to start + length become those.

    start, length (N,); the result (N, new, size) has rows of sum 1. A triangle whose half-width is one new pixel
    when shrinking (antialias), and one old pixel otherwise, as in Pillow and in PyTorch's interpolate.
    """
    start, length = start[:, None, None], length[:, None, None]
    step = length / new
    centre = start + (np.arange(new)[:, None] + 0.5) * step  # (N, new, 1), in old pixels
    width = np.maximum(step, 1) if antialias else 1
    pixel = np.arange(size)
    weights = np.maximum(1 - abs(pixel + 0.5 - centre) / width, 0)  # (N, new, size)
    weights *= (pixel >= start) & (pixel < start + length)
    return weights / weights.sum(-1, keepdims=True)


def nearest_weights(start: np.ndarray, length: np.ndarray, size: int, new: int) -> np.ndarray:
    """What `resize_weights` gives, with the pixel that the new centre falls on counting alone."""
    start, length = (whole[:, None, None].astype(np.int64) for whole in (start, length))
    chosen = start + (2 * np.arange(new)[:, None] + 1) * length // (2 * new)  # (N, new, 1), exact
    return (np.arange(size) == chosen).astype(np.float32)


def gaussian_weights(sigma: np.ndarray, kernel_size: int, size: int, name: str) -> np.ndarray:
    """A Gaussian of `sigma` (N,) pixels, cut off at kernel_size, reflected at the edges: (N, size, size)."""
    half = kernel_size // 2
    if half >= size:
        raise ValueError(
            f"{name}: a kernel of {kernel_size} pixels needs images of at least {half + 1} pixels to reflect at the "
            f"edge, got {size}; use a smaller kernel"
        )
    taps = np.exp(-0.5 * (np.arange(-half, half + 1) / sigma[:, None]) ** 2)  # (N, kernel_size)
    taps /= taps.sum(-1, keepdims=True)
    source = np.pad(np.arange(size), half, "reflect")  # which pixel lies at each place of the padded line
    weights = np.zeros((len(sigma), size, size))
    rows = np.arange(size)
    for k in range(kernel_size):
        weights[:, rows, source[k : k + size]] += taps[:, k, None]
    return weights
