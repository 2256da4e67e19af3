"""Rotation prediction: who can tell by how much an image was turned has learnt what is in it.

Source: Gidaris et al., "Unsupervised representation learning by predicting image rotations",
https://arxiv.org/abs/1803.07728
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..creation import tensor
from ..ops import cat
from ..tensor import Tensor
from ..utils.data import Dataset


class Rotations(Dataset[tuple[Tensor, Tensor]]):
    """Images turned by 0, 90, 180 and 270 degrees counter-clockwise: (4 n, C, H, H) of a batch of n images.

    Its targets (4 n,) are the quarter turns, classes 0 to 3. `images` (N, C, H, H) may lie on any device; `transform`
    takes the whole batch before it is turned.

    >>> from tinygrad_mnist import tensor
    >>> inputs, targets = Rotations(tensor([[[[1, 2], [3, 4]]]]), lambda x: x).fetch_batch([0])
    >>> inputs[1, 0].tolist(), targets
    ([[2, 4], [1, 3]], tensor([0, 1, 2, 3]))
    """

    def __init__(self, images: Tensor, transform: Callable[[Tensor], Tensor]):
        if images.ndim != 4 or images.shape[2] != images.shape[3]:
            raise ValueError(f"Rotations: expected square images (N, C, H, H), got {tuple(images.shape)}")
        self.images = images
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        inputs, targets = self.fetch_batch([index])
        return inputs, targets

    def fetch_batch(self, indices: Sequence[int]) -> list[Any]:
        x: Any = self.images[list(indices)]
        x = self.transform(x)
        turned = [x, x.transpose(2, 3).flip(2), x.flip(2, 3), x.transpose(2, 3).flip(3)]
        return [cat(turned), tensor([turns for turns in range(4) for _ in indices])]
