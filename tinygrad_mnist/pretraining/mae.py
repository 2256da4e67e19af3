"""Masked autoencoder: a vision transformer sees a quarter of the patches and paints the others.

Source: He et al., "Masked autoencoders are scalable vision learners", https://arxiv.org/abs/2111.06377
"""

from __future__ import annotations

from typing import Any

from .. import nn
from ..creation import zeros
from ..models.vit import EncoderBlock, VisionTransformer
from ..ops import cat
from ..random import rand
from ..tensor import Tensor


def patches_of(x: Tensor, size: int) -> Tensor:
    """Images (N, C, H, W) as their patches, row by row: (N, L, size size C)."""
    N, C, H, W = x.shape
    x = x.reshape(N, C, H // size, size, W // size, size)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(N, H // size * (W // size), size * size * C)


def rows(x: Tensor, index: Tensor) -> Tensor:
    """Of each sequence of x (N, L, D) the tokens at `index` (N, K): (N, K, D)."""
    return x.gather(1, index.reshape(*index.shape, 1).expand(-1, -1, x.shape[2]))


class MaskedAutoencoder(nn.Module):
    """`vit` as the encoder, and a small decoder: images (N, C, H, W) -> their losses (N,).

    The loss is the mean squared error of the pixels in the patches that the encoder did not see, each patch
    normalised to mean 0 and variance 1. `mask_ratio` of the patches are hidden, drawn from the default generator.
    The pretrained part is `vit`; its head takes no part.
    """

    def __init__(
        self, vit: VisionTransformer, mask_ratio: float = 0.75, width: int = 64, depth: int = 1, num_heads: int = 4
    ):
        super().__init__()
        tokens, hidden, pixels = vit.encoder.pos_embedding.shape[1], vit.hidden_dim, vit.patch_size**2
        self.vit = vit
        self.hidden = round(mask_ratio * (tokens - 1))  # patches
        if not 0 < self.hidden < tokens - 1:
            raise ValueError(
                f"MaskedAutoencoder: mask_ratio={mask_ratio} hides {self.hidden} of {tokens - 1} patches; some must be "
                "hidden, and some must be seen"
            )
        self.embed = nn.Linear(hidden, width)
        self.mask_token = nn.Parameter(zeros(1, 1, width))
        self.pos_embedding = nn.Parameter(zeros(1, tokens, width))
        for parameter in (self.mask_token, self.pos_embedding):
            nn.init.normal_(parameter, std=0.02)
        self.blocks = nn.Sequential(*(EncoderBlock(num_heads, width, 2 * width, 0.0, 0.0) for _ in range(depth)))
        self.ln = nn.LayerNorm(width)
        self.paint = nn.Linear(width, pixels * vit.conv_proj.in_channels)

    def forward(self, x: Tensor) -> Tensor:
        L = self.pos_embedding.shape[1] - 1
        order: Any = rand(x.shape[0], L, device=x.device).argsort(1)  # of the patches: first the seen ones
        seen, unseen = order[:, : L - self.hidden], order[:, L - self.hidden :]
        painted = rows(self.decode(self.encode(x, seen), order), unseen)
        return ((painted - rows(self.wanted(x), unseen)) ** 2).mean((1, 2))

    def encode(self, x: Tensor, seen: Tensor) -> Tensor:
        """What the encoder makes of the patches at `seen` (N, K) and its class token: (N, 1 + K, hidden_dim)."""
        encoder = self.vit.encoder
        patches = rows(self.vit.patch_tokens(x) + encoder.pos_embedding[:, 1:], seen)
        token = (self.vit.class_token + encoder.pos_embedding[:, :1]).expand(x.shape[0], -1, -1)
        return encoder.ln(encoder.layers(encoder.dropout(cat([token, patches], 1))))

    def decode(self, encoded: Tensor, order: Tensor) -> Tensor:
        """The pixels of all patches, (N, L, pixels), from the encoded ones, which come first in `order` (N, L)."""
        x = self.embed(encoded)
        x = cat([x, self.mask_token.expand(x.shape[0], self.hidden, -1)], 1)  # in that order
        x = cat([x[:, :1], rows(x[:, 1:], order.argsort(1))], 1)  # in the image's
        return self.paint(self.ln(self.blocks(x + self.pos_embedding)))[:, 1:]

    def wanted(self, x: Tensor) -> Tensor:
        """The pixels of all patches, each patch normalised: (N, L, pixels)."""
        patches = patches_of(x, self.vit.patch_size)
        variance = patches.var(2, correction=0, keepdim=True)
        return (patches - patches.mean(2, keepdim=True)) / (variance + 1e-6).sqrt()
