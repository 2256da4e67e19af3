"""Rotation, affine and perspective maps, and elastic deformation: each image of a batch by its own random map.

A map is a matrix (3, 3) that takes a point of the result to the point of the image it shows, both as (x, y, 1) in
pixels from the left and the top edge, so that the centre of a pixel is at (j + 0.5, i + 0.5).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import backend
from ..kernels.warp import RANDOM_BLOCKS
from ..random import Generator
from .images import InterpolationMode, RandomTransform, from_floats, per_channel, to_floats
from .separable import gaussian_weights, separable

Range = float | Sequence[float]


def warp(x: Any, maps: np.ndarray, interpolation: InterpolationMode, fill: Any) -> Any:
    """Images x (N, C, H, W) seen through `maps` (N, 3, 3)."""
    place = backend.of(x)

    def apply(values: Any) -> Any:
        return place.kernels.warp(values, place.to_device(maps), *_options(x, interpolation, fill))

    return _in_its_dtype(x, apply)


def _in_its_dtype(x: Any, apply: Callable[[Any], Any]) -> Any:
    """What a kernel for uint8, float32 and float64 makes of x, in the dtype of x."""
    if x.dtype.char in "Bfd":
        return apply(x)
    return from_floats(apply(x.astype(np.float64)), x.dtype).astype(x.dtype, copy=False)


def _options(x: Any, interpolation: InterpolationMode, fill: Any) -> tuple[bool, Any]:
    """Whether the nearest pixel is wanted, and what is around images x."""
    return interpolation == InterpolationMode.NEAREST, per_channel(fill, x, "fill")


def _sample(x: Any, u: Any, v: Any, interpolation: InterpolationMode, fill: Any) -> Any:
    """Images x (N, C, H, W) at the points u, v (N, OH, OW), in the dtype of x."""
    nearest, plane = _options(x, interpolation, fill)
    y = backend.of(x).kernels.sample(x if nearest else to_floats(x), u, v, nearest, plane)
    return from_floats(y, x.dtype)


def perspective_maps(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The maps (N, 3, 3) that show the four points `start` (4, 2) of the image at `end` (N, 4, 2), all as (x, y)."""
    (x, y), (u, v) = end.transpose(2, 0, 1), start.T  # the map takes (x, y) to (u, v)
    one, zero = np.ones_like(x), np.zeros_like(x)
    for_u = np.stack([x, y, one, zero, zero, zero, -u * x, -u * y], -1)  # (N, 4, 8)
    for_v = np.stack([zero, zero, zero, x, y, one, -v * x, -v * y], -1)
    # The pseudo-inverse, because points that fall together determine no map.
    solved = np.linalg.pinv(np.concatenate([for_u, for_v], 1)) @ np.concatenate([u, v])  # (N, 8)
    return np.concatenate([solved, np.ones((len(end), 1))], 1).reshape(-1, 3, 3)


class RandomAffine(RandomTransform):
    """Each image turned, moved, scaled and sheared at random about `center` (x, y), by default the image's centre.

    `degrees`: turned clockwise by (min, max), or (-d, d) for a number d. `translate`: moved by at most these parts
    of width and height. `scale`: (min, max). `shear` in degrees: (min, max) along x, or four numbers for x and y; a
    number d is (-d, d). Outside is `fill`, a number or one per channel.

    Source: https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.RandomAffine.html
    """

    def __init__(
        self,
        degrees: Range,
        translate: Sequence[float] | None = None,
        scale: Sequence[float] | None = None,
        shear: Range | None = None,
        interpolation: InterpolationMode = InterpolationMode.NEAREST,
        fill: Any = 0,
        center: Sequence[float] | None = None,
        generator: Generator | None = None,
    ):
        super().__init__(generator)
        name = type(self).__name__
        self.degrees = _range(degrees, f"{name}: degrees")
        if translate is not None and (len(translate) != 2 or not all(0 <= part <= 1 for part in translate)):
            raise ValueError(f"{name}: translate should be two numbers between 0 and 1, got {translate}")
        if scale is not None and (len(scale) != 2 or not all(factor > 0 for factor in scale)):
            raise ValueError(f"{name}: scale should be two positive numbers, got {scale}")
        if center is not None and len(center) != 2:
            raise ValueError(f"{name}: center should be (x, y), got {center}")
        self.translate = translate
        self.scale = scale
        self.shear = None if shear is None else _range(shear, f"{name}: shear", (2, 4))
        self.interpolation = interpolation
        self.fill = fill
        self.center = center

    def ranges(self, H: int, W: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The least and the most of what is drawn for images of size H, W, and their centre: see `random_maps`."""
        (across, down), scale = self.translate or (0, 0), self.scale or (1, 1)
        low_x, high_x, low_y, high_y = (*(self.shear or (0, 0)), 0, 0)[:4]
        low = np.array([self.degrees[0], -across * W, -down * H, scale[0], low_x, low_y], np.float64)
        high = np.array([self.degrees[1], across * W, down * H, scale[1], high_x, high_y], np.float64)
        return low, high, np.array((W / 2, H / 2) if self.center is None else self.center, np.float64)

    def apply(self, x: Any) -> Any:
        N, _, H, W = x.shape
        options = *self.ranges(H, W), *_options(x, self.interpolation, self.fill)
        taken = self.generator.take(N * RANDOM_BLOCKS)
        return _in_its_dtype(x, lambda values: backend.of(x).kernels.random_affine(values, *options, *taken))


class RandomRotation(RandomTransform):
    """Each image turned counter-clockwise by an angle in (min, max) degrees, or (-d, d) for a number d.

    About `center` (x, y), by default the image's centre; the size stays (`expand=True` is not offered: the images of
    a batch would differ in size). Outside is `fill`, a number or one per channel.

    Source: https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.RandomRotation.html
    """

    def __init__(
        self,
        degrees: Range,
        interpolation: InterpolationMode = InterpolationMode.NEAREST,
        expand: bool = False,
        center: Sequence[float] | None = None,
        fill: Any = 0,
        generator: Generator | None = None,
    ):
        super().__init__(generator)
        if expand:
            raise ValueError("RandomRotation: expand=True gives images of different sizes; put a Pad before it")
        self.degrees = _range(degrees, "RandomRotation: degrees")
        self.interpolation = interpolation
        self.fill = fill
        self.center = center
        low, high = self.degrees
        self._affine = RandomAffine((-high, -low), None, None, None, interpolation, fill, center, generator)

    def apply(self, x: Any) -> Any:
        return self._affine.apply(x)


class RandomPerspective(RandomTransform):
    """With probability `p` each, images seen at an angle: their corners move inwards by up to `distortion_scale`
    times half of width and height. Outside is `fill`, a number or one per channel.

    Source: https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.RandomPerspective.html
    """

    def __init__(
        self,
        distortion_scale: float = 0.5,
        p: float = 0.5,
        interpolation: InterpolationMode = InterpolationMode.BILINEAR,
        fill: Any = 0,
        generator: Generator | None = None,
    ):
        super().__init__(generator)
        if not 0 <= distortion_scale <= 1:
            raise ValueError(f"RandomPerspective: distortion_scale should be in [0, 1], got {distortion_scale}")
        self.distortion_scale = distortion_scale
        self.p = p
        self.interpolation = interpolation
        self.fill = fill

    def maps(self, draws: np.ndarray, H: int, W: int) -> np.ndarray:
        """Maps for images of size H, W from `draws` (n, 8) in [0, 1): (n, 3, 3)."""
        corners = np.array([[0, 0], [W - 1, 0], [W - 1, H - 1], [0, H - 1]])
        inwards = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
        most = np.floor(self.distortion_scale * np.array([W // 2, H // 2]))
        return perspective_maps(corners, corners + inwards * np.floor(draws.reshape(-1, 4, 2) * (most + 1)))

    def apply(self, x: Any) -> Any:
        N, _, H, W = x.shape
        draws = self.uniform(N, 9)
        xp = backend.of(x).xp
        chosen = xp.asarray(draws[:, 0] < self.p)[:, None, None, None]
        return xp.where(chosen, warp(x, self.maps(draws[:, 1:], H, W), self.interpolation, self.fill), x)


class ElasticTransform(RandomTransform):
    """Each pixel of each image displaced at random, neighbours alike: noise in [-1, 1], blurred by a Gaussian of
    `sigma` (x, y, or both) pixels, times `alpha` / 2 pixels. Outside is `fill`, a number or one per channel.

    Source: https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.ElasticTransform.html; Simard,
    Steinkraus, Platt, "Best practices for convolutional neural networks", ICDAR 2003.
    """

    def __init__(
        self,
        alpha: Range = 50.0,
        sigma: Range = 5.0,
        interpolation: InterpolationMode = InterpolationMode.BILINEAR,
        fill: Any = 0,
        generator: Generator | None = None,
    ):
        super().__init__(generator)
        self.alpha = _range(alpha, "ElasticTransform: alpha", number=lambda d: (d, d))
        self.sigma = _range(sigma, "ElasticTransform: sigma", number=lambda d: (d, d))
        if min(self.sigma) <= 0:
            raise ValueError(f"ElasticTransform: sigma should be positive, got {sigma}")
        self.interpolation = interpolation
        self.fill = fill

    def displacements(self, n: int, H: int, W: int) -> np.ndarray:
        """How far each pixel of n images of size H, W is moved, in pixels across and down: (n, 2, H, W)."""
        noise = self.uniform(n, 2 * H * W).reshape(n, 2, H, W) * 2 - 1
        for axis in range(2):
            taps = int(8 * self.sigma[axis] + 1) // 2 * 2 + 1
            across, down = (
                gaussian_weights(np.array([sigma]), taps, size, "ElasticTransform")
                for sigma, size in zip(self.sigma, (W, H), strict=True)
            )
            noise[:, axis, None] = separable(noise[:, axis, None], down, across)
        return noise * np.reshape(self.alpha, (2, 1, 1)) / 2

    def apply(self, x: Any) -> Any:
        N, _, H, W = x.shape
        xp = backend.of(x).xp
        moved = xp.asarray(self.displacements(N, H, W))
        u = moved[:, 0] + (xp.arange(W) + 0.5)
        v = moved[:, 1] + (xp.arange(H) + 0.5)[:, None]
        return _sample(x, u, v, self.interpolation, self.fill)


def _symmetric(d: float) -> tuple[float, float]:
    return -d, d


def _range(
    value: Range,
    name: str,
    lengths: tuple[int, ...] = (2,),
    number: Callable[[float], tuple[float, float]] = _symmetric,
) -> tuple[float, ...]:
    """A range from a sequence of `lengths`, or from a number that must not be negative."""
    if isinstance(value, int | float):
        if value < 0:
            raise ValueError(f"{name} must not be negative if it is a single number, got {value}")
        return number(value)
    if len(value) not in lengths:
        raise ValueError(f"{name} should be a number or {' or '.join(map(str, lengths))} numbers, got {value}")
    return tuple(value)
