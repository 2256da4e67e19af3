"""Transforms made of other functions."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import backend, creation, dtypes
from ..random import Generator, default_generator
from ..tensor import Tensor


class Compose:
    """One transform after the other.

    Source: https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.Compose.html

    >>> Compose([Lambda(lambda x: x + 1), Lambda(lambda x: x * 2)])(3)
    8
    """

    def __init__(self, transforms: Sequence[Callable]):
        self.transforms = transforms
        self._tables: dict[Any, Any] = {}  # those that `_table` made

    @property
    def batched(self) -> bool:
        """Whether each of them takes a whole batch too."""
        return all(getattr(transform, "batched", False) for transform in self.transforms)

    def __call__(self, img: Any) -> Any:
        for transform in self.transforms:
            img = transform(img)
        return img

    def of_rows(self, images: Any, index: Any) -> Any:
        """self(images[index]) for a set of images (N, H, W, C), uint8, in fewer passes over memory.

        Transforms that change each value by itself (ToTensor, then Normalize) become a table of what they make of the
        256 values, and the images are looked up in it: while they are gathered, if no other transform comes first.
        """
        kernels = backend.of(images).kernels
        first, run, rest = self._split()
        if not run or type(self).__call__ is not Compose.__call__:
            return self(kernels.take_rows(images, index))
        if first:
            images, index = Compose(first)(kernels.take_rows(images, index)), None
        if isinstance(images, Tensor) or images.dtype != np.uint8 or images.ndim != 4:
            return Compose([*run, *rest])(images)
        return Compose(rest)(creation.wrap(kernels.look_up_rows(images, index, self._table(run, images))))

    def _split(self) -> tuple[list, list, list]:
        """The transforms before the first pointwise one, those that are pointwise from there on, and the rest."""
        first = list(itertools.takewhile(lambda transform: not _is_pointwise(transform), self.transforms))
        run = list(itertools.takewhile(_is_pointwise, self.transforms[len(first) :]))
        return first, run, list(self.transforms[len(first) + len(run) :])

    def _table(self, run: list, images: Any) -> Any:
        """What `run` makes of the values 0 to 255 in each channel of images (N, H, W, C), on their device: (C, 256)."""
        place, channels = backend.of(images), images.shape[-1]
        key = repr(run), channels, dtypes.get_default_dtype(), place.device
        if key not in self._tables:
            ramp = np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None], (1, 256, channels))  # an image (H, W, C)
            self._tables[key] = place.to_device(np.ascontiguousarray(Compose(run)(ramp).array.reshape(channels, 256)))
        return self._tables[key]

    def __repr__(self) -> str:
        inner = "".join(f"\n{transform!r}".replace("\n", "\n    ") for transform in self.transforms)
        return f"{type(self).__name__}({inner}\n)"


def _is_pointwise(transform: Any) -> bool:
    """Whether it changes each value of an image by itself; a subclass has to say so again."""
    return bool(vars(type(transform)).get("pointwise", False))


class RandomApply(Compose):
    """`transforms`, one after the other, with probability `p`; in a batch for each image by itself.

    In a batch they must not change size or dtype. Source:
    https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.RandomApply.html
    """

    def __init__(self, transforms: Sequence[Callable], p: float = 0.5, generator: Generator | None = None):
        super().__init__(transforms)
        self.p = p
        self._generator = generator

    def __call__(self, img: Any) -> Any:
        batch = getattr(img, "ndim", 0) == 4
        chosen = (self._generator or default_generator).uniform(len(img) if batch else 1) < self.p
        if not chosen.any():
            return img
        if not batch:
            return super().__call__(img)
        (which,) = chosen.nonzero()
        changed = super().__call__(img[which])
        if changed.shape[1:] != img.shape[1:] or changed.dtype != img.dtype:
            raise ValueError(
                f"RandomApply: in a batch the transforms must keep size and dtype, got {tuple(changed.shape[1:])}, "
                f"{changed.dtype} from {tuple(img.shape[1:])}, {img.dtype}; put them into a Lambda to go image by image"
            )
        out = img.clone() if isinstance(img, Tensor) else img.copy()
        out[which] = changed
        return out

    def __repr__(self) -> str:
        inner = "".join(f"\n{transform!r}".replace("\n", "\n    ") for transform in self.transforms)
        return f"RandomApply(\n    p={self.p}{inner}\n)"


class Lambda:
    """A function of the user's as a transform. `batched` says that it takes a whole batch, (N, H, W, C), as well.

    >>> Lambda(lambda x: 255 - x)(5)
    250
    """

    def __init__(self, lambd: Callable, batched: bool = False):
        if not callable(lambd):
            raise TypeError(f"Lambda: argument lambd should be callable, got {type(lambd).__name__}")
        self.lambd = lambd
        self.batched = batched

    def __call__(self, img: Any) -> Any:
        return self.lambd(img)

    def __repr__(self) -> str:
        return "Lambda()"
