"""SimCLR: two random views of an image should be closer to each other than to all other images of the batch.

Source: Chen et al., "A simple framework for contrastive learning of visual representations",
https://arxiv.org/abs/2002.05709
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .. import nn
from ..creation import arange, wrap
from ..nn import functional as F
from ..ops import cat
from ..tensor import Tensor
from ..utils.data import Dataset


class Views(Dataset[tuple[Tensor, Tensor]]):
    """Random views of images: a batch of n images is (count n, C, H, W) of what `transform` makes of them.

    Its targets (count n,) are those of the images in `targets` (N,), or else say which image each is a view of.
    `images` (N, C, H, W) may lie on any device; there the views are made. `transform` takes a whole batch and draws
    from the default generator.

    >>> from tinygrad_mnist import rand
    >>> inputs, targets = Views(rand(5, 1, 4, 4), lambda x: x + rand(x.shape)).fetch_batch([3, 1])
    >>> inputs.shape, targets
    (Size([4, 1, 4, 4]), tensor([3, 1, 3, 1]))
    """

    def __init__(
        self, images: Tensor, transform: Callable[[Tensor], Tensor], count: int = 2, targets: Tensor | None = None
    ):
        if targets is not None and targets.shape != (len(images),):
            raise ValueError(f"Views: expected a target for each of {len(images)} images, got {tuple(targets.shape)}")
        self.images = images
        self.targets = arange(len(images), device=images.device) if targets is None else targets
        self.transform = transform
        self.count = count

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        inputs, targets = self.fetch_batch([index])
        return inputs, targets

    def fetch_batch(self, indices: Sequence[int]) -> list[Any]:
        rows = list(indices)
        x: Any = self.images[rows]
        targets: Any = self.targets[rows]
        return [cat([self.transform(x) for _ in range(self.count)]), cat([targets] * self.count)]


def projection_head(in_features: int, out_features: int) -> nn.Sequential:
    """SimCLR's head: a hidden layer, so that the features before it need not forget what the loss has no use for."""
    return nn.Sequential(
        nn.Linear(in_features, in_features, bias=False),
        nn.BatchNorm1d(in_features),
        nn.ReLU(),
        nn.Linear(in_features, out_features),
    )


def nt_xent(z: Tensor, targets: Tensor, temperature: float = 0.5) -> Tensor:
    """Normalised, temperature-scaled cross-entropy: the mean over rows i and their positives j of

        -log( exp(cos(z_i, z_j) / temperature) / sum over k != i of exp(cos(z_i, z_k) / temperature) )

    for z (N, D); the positives of a row are the other rows with the same number in `targets` (N,). With two views an
    image that is SimCLR's loss; with classes as targets it is the supervised one of https://arxiv.org/abs/2004.11362.
    A row without a positive is only a negative of others; if no row has one, the loss is 0.

    >>> from tinygrad_mnist import tensor
    >>> z = tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    >>> nt_xent(z, tensor([0, 1, 0, 1]), temperature=1.0)  # log(e + 1 + 1) - 1
    tensor(0.5514)
    """
    if z.ndim != 2 or targets.shape != (z.shape[0],):
        raise ValueError(
            f"nt_xent: expected z (N, D) and targets (N,), got {tuple(z.shape)} and {tuple(targets.shape)}"
        )
    if not temperature > 0:
        raise ValueError(f"nt_xent: expected temperature > 0, got {temperature}")
    xp, ids = z.xp, targets.array
    itself = xp.eye(len(ids), dtype=bool)
    positive = (ids[:, None] == ids) & ~itself  # (N, N)
    count = positive.sum(1, keepdims=True)
    weight = positive / (xp.maximum(count, 1) * xp.maximum((count > 0).sum(), 1))
    z = F.normalize(z, dim=1)
    similarity = z @ z.T / temperature - wrap((itself * 1e9).astype(z.dtype))  # whose exp is 0 on the diagonal
    return -(F.log_softmax(similarity, 1) * wrap(weight.astype(z.dtype))).sum()
