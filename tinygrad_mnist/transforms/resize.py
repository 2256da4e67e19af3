"""Images in another size, and blurred ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..random import Generator
from .images import ImageTransform, InterpolationMode, RandomTransform, pair, random_boxes
from .separable import gaussian_weights, nearest_weights, resize_weights, separable


def _resized(
    x: Any, boxes: np.ndarray, size: tuple[int, int], interpolation: InterpolationMode, antialias: bool
) -> Any:
    """The boxes (N or 1, 4), each (top, left, height, width), of the images x (N, C, H, W), in a new size."""
    top, left, height, width = boxes.T.astype(np.float64)
    _, _, H, W = x.shape
    if interpolation == InterpolationMode.NEAREST:
        return separable(x, nearest_weights(top, height, H, size[0]), nearest_weights(left, width, W, size[1]))
    down = resize_weights(top, height, H, size[0], antialias)
    return separable(x, down, resize_weights(left, width, W, size[1], antialias))


class Resize(ImageTransform):
    """Images in another `size`: (height, width), or the length of the shorter edge, the other in proportion.

    `max_size` limits the longer edge then. Bilinear, with `antialias` as in Pillow; or the nearest pixel.

    Source: https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.Resize.html

    >>> Resize(2)(np.array([[0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10]], np.uint8))
    array([[1, 9],
           [1, 9]], dtype=uint8)
    """

    def __init__(
        self,
        size: int | Sequence[int],
        interpolation: InterpolationMode = InterpolationMode.BILINEAR,
        max_size: int | None = None,
        antialias: bool = True,
    ):
        shorter = isinstance(size, int) or len(size) == 1
        edges = pair(size, "Resize")
        if max_size is not None and (not shorter or max_size <= edges[0]):
            raise ValueError(
                f"Resize: max_size={max_size} must be larger than size={size}, and size the length of one edge"
            )
        self.size = size
        self.interpolation = interpolation
        self.max_size = max_size
        self.antialias = antialias
        self._edges = edges
        self._shorter = shorter

    def _new_size(self, H: int, W: int) -> tuple[int, int]:
        if not self._shorter:
            return self._edges
        short, long = min(H, W), max(H, W)
        new_short, new_long = self._edges[0], int(self._edges[0] * long / short)
        if self.max_size is not None and new_long > self.max_size:
            new_short, new_long = int(self.max_size * new_short / new_long), self.max_size
        return (new_short, new_long) if H <= W else (new_long, new_short)

    def apply(self, x: Any) -> Any:
        _, _, H, W = x.shape
        return _resized(x, np.array([[0, 0, H, W]]), self._new_size(H, W), self.interpolation, self.antialias)


class RandomResizedCrop(RandomTransform):
    """A random part of each image, brought to `size`.

    The part has `scale` (from, to) of the image's area and an aspect ratio width / height in `ratio`; where ten
    draws do not fit into the image, it is the largest central part of a ratio in that range.

    Source: https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.RandomResizedCrop.html
    """

    def __init__(
        self,
        size: int | Sequence[int],
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        interpolation: InterpolationMode = InterpolationMode.BILINEAR,
        antialias: bool = True,
        generator: Generator | None = None,
    ):
        super().__init__(generator)
        if scale[0] > scale[1] or ratio[0] > ratio[1]:
            raise ValueError(f"RandomResizedCrop: expected (min, max), got scale={scale}, ratio={ratio}")
        self.size = pair(size, "RandomResizedCrop")
        self.scale = scale
        self.ratio = ratio
        self.interpolation = interpolation
        self.antialias = antialias

    def boxes(self, n: int, H: int, W: int) -> np.ndarray:
        """Random parts of n images of size H, W: (n, 4), each (top, left, height, width)."""
        by_height = (1 / self.ratio[1], 1 / self.ratio[0])
        drawn = random_boxes(self.uniform(n, 40).reshape(n, 10, 4), H, W, self.scale, by_height)
        height, width = drawn[:, :, 2], drawn[:, :, 3]
        fits = np.all([height > 0, height <= H, width > 0, width <= W], axis=0)  # (n, 10)
        first = drawn[np.arange(n), fits.argmax(1)]  # (n, 4)
        return np.where(fits.any(1)[:, None], first, self._central_box(H, W))

    def _central_box(self, H: int, W: int) -> np.ndarray:
        height = min(H, round(W / self.ratio[0]))
        width = min(W, round(H * self.ratio[1]))
        return np.array([(H - height) // 2, (W - width) // 2, height, width])

    def apply(self, x: Any) -> Any:
        N, _, H, W = x.shape
        return _resized(x, self.boxes(N, H, W), self.size, self.interpolation, self.antialias)


class GaussianBlur(RandomTransform):
    """Images blurred by a Gaussian of `kernel_size` (odd) pixels and a random `sigma` in (min, max), or exactly sigma.

    Reflects at the edges. Source: https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.GaussianBlur.html
    """

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        sigma: float | tuple[float, float] = (0.1, 2.0),
        generator: Generator | None = None,
    ):
        super().__init__(generator)
        self.kernel_size = pair(kernel_size, "GaussianBlur")[::-1]  # given as (across, down)
        if any(size % 2 == 0 for size in self.kernel_size):
            raise ValueError(f"GaussianBlur: kernel_size should be odd, got {kernel_size}")
        self.sigma = (sigma, sigma) if isinstance(sigma, int | float) else tuple(sigma)
        if not 0 < self.sigma[0] <= self.sigma[1]:
            raise ValueError(f"GaussianBlur: sigma should be positive, and (min, max) in this order, got {sigma}")

    def apply(self, x: Any) -> Any:
        N, _, H, W = x.shape
        low, high = self.sigma
        sigma = low + self.uniform(N, 1)[:, 0] * (high - low)
        down, across = self.kernel_size
        return separable(
            x, gaussian_weights(sigma, down, H, "GaussianBlur"), gaussian_weights(sigma, across, W, "GaussianBlur")
        )
