"""Batches whose images, and classes, are mixtures of two."""

from __future__ import annotations

import math
from typing import Any

from .. import dtypes, ops
from ..random import Generator, default_generator
from ..tensor import Tensor


class _Mix:
    """What MixUp and CutMix have in common: image i is mixed with image i - 1, in equal shares over the batch."""

    def __init__(self, *, alpha: float = 1.0, num_classes: int | None = None, generator: Generator | None = None):
        if not alpha > 0:
            raise ValueError(f"{type(self).__name__}: expected alpha > 0, got {alpha}")
        self.alpha = float(alpha)
        self.num_classes = num_classes
        self._generator = generator

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        if images.ndim != 4 or images.dtype.kind != "f":
            raise ValueError(
                f"{type(self).__name__}: expected a batch of float images (N, C, H, W), got {images.dtype} "
                f"{tuple(images.shape)}; put it after the loader, on what transforms.ToTensor() made"
            )
        y = self._probabilities(labels, images.shape[0])
        share = self.generator.beta(self.alpha, self.alpha)
        mixed, share = self._mixed(images, share)
        return mixed, y * share + y.roll(1, 0) * (1 - share)

    @property
    def generator(self) -> Generator:
        """Where the random numbers come from."""
        return self._generator or default_generator

    def _mixed(self, x: Tensor, share: float) -> tuple[Tensor, float]:
        """Images of which `share` is their own, and the share that it became."""
        raise NotImplementedError

    def _probabilities(self, labels: Tensor, N: int) -> Any:
        """The labels as (N, num_classes), if they are not that already."""
        name, C = type(self).__name__, self.num_classes
        if labels.ndim == 2 and labels.shape[0] == N and labels.dtype.kind == "f" and C in (None, labels.shape[1]):
            return labels
        if labels.shape != (N,) or labels.dtype.kind not in "iu":
            raise ValueError(
                f"{name}: expected {N} classes as integers, or probabilities ({N}, {C or 'num_classes'}), got "
                f"{labels.dtype} {tuple(labels.shape)}"
            )
        if C is None:
            raise ValueError(f"{name}: classes as integers need num_classes=..., to become probabilities")
        return ops.one_hot(labels, C).to(dtypes.get_default_dtype())

    def __repr__(self) -> str:
        return f"{type(self).__name__}(alpha={self.alpha}, num_classes={self.num_classes})"


class MixUp(_Mix):
    """share x[i] + (1 - share) x[i - 1], of images (N, C, H, W) and of their classes alike; share ~ Beta(alpha, alpha).

    Takes a shuffled batch and its labels (N,), integers below `num_classes`, or probabilities (N, num_classes), which
    it returns for F.cross_entropy. Sources: https://arxiv.org/abs/1710.09412,
    https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.v2.MixUp.html

    >>> from tinygrad_mnist import ones, tensor
    >>> x, y = ones(2, 1, 4, 4), tensor([0, 1])
    >>> mixed, probabilities = MixUp(num_classes=3)(x, y)
    >>> probabilities.shape, probabilities.sum(1)
    (Size([2, 3]), tensor([1., 1.]))
    """

    def _mixed(self, x: Tensor, share: float) -> tuple[Any, float]:
        return x * share + x.roll(1, 0) * (1 - share), share


class CutMix(_Mix):
    """Images (N, C, H, W) with a box from the image before, and its share of the area in their classes' probabilities.

    The box has 1 - share of the height times the width, share ~ Beta(alpha, alpha), less what lies outside the image
    around its random centre. Labels: as `MixUp`. Sources: https://arxiv.org/abs/1905.04899,
    https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.v2.CutMix.html
    """

    def _mixed(self, x: Tensor, share: float) -> tuple[Tensor, float]:
        H, W = x.shape[2:]
        side = math.sqrt(1 - share) / 2  # half of the box's, in terms of the image's
        (top, bottom), (left, right) = (self._range(n, int(side * n)) for n in (H, W))
        box = ..., slice(top, bottom), slice(left, right)
        out: Any = x.clone()
        out[box] = x[box].roll(1, 0)
        return out, 1 - (bottom - top) * (right - left) / (H * W)

    def _range(self, n: int, half: int) -> tuple[int, int]:
        """`half` pixels before and after a random one of n, where there are any."""
        centre = int(self.generator.integers(n, ()))
        return max(centre - half, 0), min(centre + half, n)
