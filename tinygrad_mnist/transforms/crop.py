"""Parts of images, mirrored images, images with a margin or a hole: pixels are moved and none is changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import backend
from ..random import Generator
from .images import ImageTransform, RandomTransform, channels_first, channels_last, pair, per_channel, random_boxes

_PAD_MODES = ("constant", "edge", "reflect", "symmetric")


def _padded(x: Any, left: int, top: int, right: int, bottom: int, fill: Any, mode: str) -> Any:
    """Images x (N, C, H, W) with margins."""
    xp = backend.of(x).xp
    if mode != "constant":
        return xp.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), mode=mode)
    N, C, H, W = x.shape
    out = xp.empty((N, H + top + bottom, W + left + right, C), x.dtype)
    out[:] = per_channel(fill, x, "Pad")
    out[:, top : top + H, left : left + W] = channels_last(x)
    return channels_first(out)


class Pad(ImageTransform):
    """Images with a margin of `padding` pixels: one number, (left and right, top and bottom), or (left, top, right,
    bottom). `padding_mode` is 'constant' (of value `fill`, a number or one per channel), 'edge', 'reflect' (without
    repeating the edge) or 'symmetric'.

    Source: https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.Pad.html

    >>> Pad((1, 0), fill=9)(np.array([[1, 2]], np.uint8))
    array([[9, 1, 2, 9]], dtype=uint8)
    """

    def __init__(self, padding: int | Sequence[int], fill: float | Sequence[float] = 0, padding_mode: str = "constant"):
        widths = [padding] if isinstance(padding, int) else list(padding)
        if len(widths) not in (1, 2, 4) or min(widths) < 0:
            raise ValueError(f"Pad: padding must be 1, 2 or 4 non-negative ints, got {padding}")
        if padding_mode not in _PAD_MODES:
            raise ValueError(f"Pad: padding_mode should be one of {', '.join(_PAD_MODES)}, got {padding_mode!r}")
        self.padding = padding
        self.fill = fill
        self.padding_mode = padding_mode
        self._widths = widths * (4 // len(widths))  # left, top, right, bottom

    def apply(self, x: Any) -> Any:
        left, top, right, bottom = self._widths
        return _padded(x, left, top, right, bottom, self.fill, self.padding_mode)


class CenterCrop(ImageTransform):
    """The central part of `size` (height, width), or a square; smaller images get a margin of zeros first.

    Source: https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.CenterCrop.html
    """

    def __init__(self, size: int | Sequence[int]):
        self.size = pair(size, "CenterCrop")

    def apply(self, x: Any) -> Any:
        height, width = self.size
        down, across = max(height - x.shape[2], 0), max(width - x.shape[3], 0)
        if down or across:
            x = _padded(x, across // 2, down // 2, (across + 1) // 2, (down + 1) // 2, 0, "constant")
        top, left = round((x.shape[2] - height) / 2), round((x.shape[3] - width) / 2)
        return x[:, :, top : top + height, left : left + width]


class RandomCrop(RandomTransform):
    """A part of `size` (height, width), or a square, at a random place in each image.

    First the images get a margin of `padding` (see `Pad`); with `pad_if_needed` also one as wide as needed.
    Raises ValueError if the part is larger than the image.

    Source: https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.RandomCrop.html
    """

    def __init__(
        self,
        size: int | Sequence[int],
        padding: int | Sequence[int] | None = None,
        pad_if_needed: bool = False,
        fill: float | Sequence[float] = 0,
        padding_mode: str = "constant",
        generator: Generator | None = None,
    ):
        super().__init__(generator)
        self.size = pair(size, "RandomCrop")
        self.padding = padding
        self.pad_if_needed = pad_if_needed
        self.fill = fill
        self.padding_mode = padding_mode
        self._pad = Pad(0 if padding is None else padding, fill, padding_mode)

    def apply(self, x: Any) -> Any:
        x = self._pad.apply(x)
        height, width = self.size
        if self.pad_if_needed:
            down, across = max(height - x.shape[2], 0), max(width - x.shape[3], 0)
            x = _padded(x, across, down, across, down, self.fill, self.padding_mode)
        N, _, H, W = x.shape
        if height > H or width > W:
            raise ValueError(
                f"RandomCrop: required crop size {(height, width)} is larger than the image {(H, W)}; "
                "give padding, or pad_if_needed=True"
            )
        corner = np.floor(self.uniform(N, 2) * (H - height + 1, W - width + 1)).astype(np.intp)  # (N, 2)
        xp = backend.of(x).xp
        rows = xp.asarray(corner[:, :1] + np.arange(height))[:, :, None]  # (N, height, 1)
        cols = xp.asarray(corner[:, 1:] + np.arange(width))[:, None, :]  # (N, 1, width)
        return channels_first(channels_last(x)[xp.arange(N)[:, None, None], rows, cols])


class _RandomFlip(RandomTransform):
    _axis: int

    def __init__(self, p: float = 0.5, generator: Generator | None = None):
        super().__init__(generator)
        self.p = p

    def apply(self, x: Any) -> Any:
        xp = backend.of(x).xp
        flipped = xp.asarray(self.uniform(len(x), 1) < self.p)[..., None, None]  # (N, 1, 1, 1)
        return xp.where(flipped, xp.flip(x, self._axis), x)


class RandomHorizontalFlip(_RandomFlip):
    """Images mirrored left to right with probability `p` each. Harmful to digits: a mirrored 2 is none.

    Source: https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.RandomHorizontalFlip.html
    """

    _axis = 3


class RandomVerticalFlip(_RandomFlip):
    """Images mirrored top to bottom with probability `p` each.

    Source: https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.RandomVerticalFlip.html
    """

    _axis = 2


class RandomErasing(RandomTransform):
    """With probability `p` each, images lose a random rectangle: it becomes `value` (a number, one per channel, or
    'random' for normal numbers).

    The rectangle has `scale` (from, to) of the image's area and a ratio height / width in `ratio`; an image that
    ten draws do not fit into stays whole. `inplace` overwrites the given images.

    Source: https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.RandomErasing.html
    """

    def __init__(
        self,
        p: float = 0.5,
        scale: tuple[float, float] = (0.02, 0.33),
        ratio: tuple[float, float] = (0.3, 3.3),
        value: float | Sequence[float] | str = 0,
        inplace: bool = False,
        generator: Generator | None = None,
    ):
        super().__init__(generator)
        if isinstance(value, str) and value != "random":
            raise ValueError(f"RandomErasing: value should be a number, one per channel, or 'random', got {value!r}")
        if not 0 <= scale[0] <= scale[1] <= 1 or not 0 < ratio[0] <= ratio[1] or not 0 <= p <= 1:
            raise ValueError(
                f"RandomErasing: expected p in [0, 1], scale (min, max) in [0, 1] and ratio (min, max), "
                f"got p={p}, scale={scale}, ratio={ratio}"
            )
        self.p = p
        self.scale = scale
        self.ratio = ratio
        self.value = value
        self.inplace = inplace

    def _holes(self, n: int, H: int, W: int) -> np.ndarray:
        """Which pixels of n images are lost: (n, 1, H, W)."""
        draws = self.uniform(n, 41)
        erased = draws[:, 0] < self.p
        boxes = random_boxes(draws[:, 1:].reshape(n, 10, 4), H, W, self.scale, self.ratio)
        fits = (boxes[:, :, 2] < H) & (boxes[:, :, 3] < W)  # (n, 10)
        top, left, height, width = boxes[np.arange(n), fits.argmax(1)].T[:, :, None]  # each (n, 1)
        row, col = np.arange(H), np.arange(W)
        rows, cols = (row >= top) & (row < top + height), (col >= left) & (col < left + width)
        inside = rows[:, None, :, None] & cols[:, None, None, :]
        return inside & (erased & fits.any(1))[:, None, None, None]

    def __call__(self, img: Any) -> Any:
        result = super().__call__(img)
        if not self.inplace:
            return result
        img[...] = result
        return img

    def apply(self, x: Any) -> Any:
        N, C, H, W = x.shape
        xp = backend.of(x).xp
        holes = xp.asarray(self._holes(N, H, W))
        if self.value == "random":
            value = xp.asarray(self.generator.normal((N, C, H, W)), x.dtype)
        else:
            value = xp.asarray(per_channel(self.value, x, "RandomErasing"), x.dtype).reshape(-1, 1, 1)
        return xp.where(holes, value, x)
