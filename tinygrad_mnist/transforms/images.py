"""What a transform may be given, and how it sees it: as planes (N, C, H, W)."""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from .. import backend, creation
from ..kernels import philox
from ..random import Generator, default_generator
from ..tensor import Tensor

# What torchvision reads PIL's modes of more than 8 bits as.
_PIL_DTYPES: dict[str, Any] = {"I": np.int32, "I;16": np.int16, "F": np.float32}


class InterpolationMode(enum.Enum):
    """How a value between pixels is found."""

    NEAREST = "nearest"
    BILINEAR = "bilinear"


def is_pil(image: Any) -> bool:
    """Whether `image` is a PIL image; PIL is not imported to find out."""
    pil = sys.modules.get("PIL.Image")
    return pil is not None and isinstance(image, pil.Image)


def pil_to_array(pic: Any) -> np.ndarray:
    """A PIL image as an array (H, W) or (H, W, C)."""
    array = np.array(pic, _PIL_DTYPES.get(pic.mode, np.uint8))
    return array * np.uint8(255) if pic.mode == "1" else array


def check_array(image: Any, name: str, kinds: str = "a PIL image or an array") -> None:
    """Raise if `image` is no array (H, W), (H, W, C) or (N, H, W, C)."""
    try:
        backend.of(image)
    except TypeError as error:
        raise TypeError(f"{name}: pic should be {kinds}, got {type(image).__name__}") from error
    if image.ndim not in (2, 3, 4):
        raise ValueError(
            f"{name}: expected an image (H, W) or (H, W, C), or a batch of images (N, H, W, C), "
            f"got {image.ndim} dimensions: {image.shape}"
        )


def channels_first(array: Any) -> Any:
    """(..., H, W, C) as (..., C, H, W); a view."""
    return array.swapaxes(-1, -3).swapaxes(-1, -2)


def channels_last(array: Any) -> Any:
    """(..., C, H, W) as (..., H, W, C); a view."""
    return array.swapaxes(-1, -2).swapaxes(-1, -3)


def to_planes(image: Any, name: str) -> tuple[Any, Callable[[Any], Any]]:
    """`image` as an array (N, C, H, W), and a function that brings such an array into the form of `image`.

    N is 1 where there is no batch, C is 1 where there are no channels.
    """
    if isinstance(image, Tensor):
        if image.ndim not in (2, 3, 4):
            raise ValueError(f"{name}: expected a Tensor (H, W), (C, H, W) or (N, C, H, W), got {tuple(image.shape)}")
        shape = (1,) * (4 - image.ndim) + tuple(image.shape)
        removed = 4 - image.ndim
        return image.array.reshape(shape), lambda y: creation.wrap(_drop(y, removed))
    if is_pil(image):
        planes, to_array = to_planes(pil_to_array(image), name)
        return planes, lambda y: _to_pil(to_array(y))
    check_array(image, name, "a PIL image, an array or a Tensor")
    if image.ndim == 2:
        return image[None, None], lambda y: y[0, 0] if y.shape[1] == 1 else channels_last(y)[0]
    if image.ndim == 3:
        return channels_first(image)[None], lambda y: channels_last(y)[0]
    return channels_first(image), channels_last


def _to_pil(array: np.ndarray) -> Any:
    """An array (H, W) or (H, W, C) as a PIL image, gray where there is one channel."""
    gray = array.ndim == 3 and array.shape[2] == 1
    return sys.modules["PIL.Image"].fromarray(array[:, :, 0] if gray else array)


def _drop(y: Any, count: int) -> Any:
    """`y` without its first `count` axes, of which those of size 1 are dropped."""
    for _ in range(count):
        y = y[0] if y.shape[0] == 1 else y
    return y


def to_floats(x: Any) -> Any:
    """`x` as it is if it has floats, else in float32."""
    return x if x.dtype.kind == "f" else x.astype(np.float32)


def from_floats(y: Any, dtype: np.dtype) -> Any:
    """`y` in `dtype`, what `to_floats` was given: rounded and kept in range if that has integers."""
    if dtype.kind == "f":
        return y
    limits = np.iinfo(dtype)
    return y.round().clip(limits.min, limits.max).astype(dtype)


class ImageTransform:
    """What all transforms of images share: subclasses say in `apply` what becomes of arrays (N, C, H, W).

    It takes a PIL image, an array (H, W), (H, W, C) or (N, H, W, C), or a Tensor (H, W), (C, H, W) or (N, C, H, W),
    and gives the same. Each image of a batch gets random numbers of its own.
    """

    batched: ClassVar[bool] = True

    def __call__(self, img: Any) -> Any:
        x, restore = to_planes(img, type(self).__name__)
        return restore(self.apply(x))

    def apply(self, x: Any) -> Any:
        """What becomes of the images x (N, C, H, W)."""
        raise NotImplementedError

    def __repr__(self) -> str:
        shown = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        return f"{type(self).__name__}({', '.join(f'{name}={_show(value)}' for name, value in shown.items())})"


def _show(value: Any) -> str:
    return value.value if isinstance(value, InterpolationMode) else repr(value)


class RandomTransform(ImageTransform):
    """An ImageTransform that draws from `generator`, by default the global one (see `manual_seed`)."""

    def __init__(self, generator: Generator | None):
        self._generator = generator

    @property
    def generator(self) -> Generator:
        """Where its random numbers come from."""
        return self._generator or default_generator

    def uniform(self, n: int, count: int) -> np.ndarray:
        """`count` numbers in [0, 1) for each of `n` images: (n, count); the same if the images come one by one."""
        blocks = philox.blocks_for(2 * count)
        return philox.uniform(*self.generator.take(n * blocks), n, count)


def pair(value: Any, name: str) -> tuple[int, int]:
    """A size (height, width) from a number or a sequence of one or two."""
    sizes = list(value) if isinstance(value, Sequence) else [value]
    if len(sizes) not in (1, 2) or any(not isinstance(size, int) or size < 1 for size in sizes):
        raise ValueError(f"{name}: expected a positive int, or (height, width), got {value!r}")
    return sizes[0], sizes[-1]


def per_channel(fill: Any, x: Any, name: str) -> Any:
    """A number, or a sequence of one per channel of x (N, C, H, W), as something to fill (..., C) with."""
    if not isinstance(fill, Sequence):
        return fill
    if len(fill) not in (1, x.shape[1]):
        raise ValueError(f"{name}: fill has {len(fill)} values, the images have {x.shape[1]} channels")
    return backend.of(x).xp.asarray(fill, dtype=x.dtype)


def random_boxes(
    draws: np.ndarray, H: int, W: int, scale: tuple[float, float], ratio: tuple[float, float]
) -> np.ndarray:
    """Boxes (top, left, height, width) in images of size H, W from `draws` (..., 4) in [0, 1): (..., 4).

    Each has `scale` (from, to) of the image's area, and a ratio height / width in `ratio`; it may be too large.
    """
    area = H * W * (scale[0] + draws[..., 0] * (scale[1] - scale[0]))
    low, high = np.log(ratio)
    aspect = np.exp(low + draws[..., 1] * (high - low))
    height, width = np.round(np.sqrt(area * aspect)), np.round(np.sqrt(area / aspect))
    top, left = np.floor(draws[..., 2] * (H - height + 1)), np.floor(draws[..., 3] * (W - width + 1))
    return np.stack([top, left, height, width], -1)
