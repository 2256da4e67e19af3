"""Transforms made of other functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


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
