"""Transforms made of other functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

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

    @property
    def batched(self) -> bool:
        """Whether each of them takes a whole batch too."""
        return all(getattr(transform, "batched", False) for transform in self.transforms)

    def __call__(self, img: Any) -> Any:
        for transform in self.transforms:
            img = transform(img)
        return img

    def __repr__(self) -> str:
        inner = "".join(f"\n{transform!r}".replace("\n", "\n    ") for transform in self.transforms)
        return f"{type(self).__name__}({inner}\n)"


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
