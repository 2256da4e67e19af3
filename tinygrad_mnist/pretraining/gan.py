"""DCGAN: a generator draws images, a discriminator tells them from real ones, and each learns from the other.

Source: Radford et al., "Unsupervised representation learning with deep convolutional generative adversarial
networks", https://arxiv.org/abs/1511.06434
"""

from __future__ import annotations

from .. import nn
from ..nn import functional as F
from ..random import randn
from ..tensor import Tensor


class Generator(nn.Module):
    """Random numbers (N, noise) -> images (N, 1, 28, 28), normalised as the real ones: (pixel - mean) / std."""

    def __init__(self, noise: int = 64, mean: float = 0.1307, std: float = 0.3081):
        super().__init__()
        self.noise = noise
        self.mean = mean
        self.std = std
        self.layers = nn.Sequential(
            nn.Linear(noise, 128 * 7 * 7, bias=False),
            nn.BatchNorm1d(128 * 7 * 7),
            nn.ReLU(),
            nn.Unflatten(1, (128, 7, 7)),
            nn.ConvTranspose2d(128, 64, 4, stride=2, padding=1, bias=False),  # (N, 64, 14, 14)
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.ConvTranspose2d(64, 1, 4, stride=2, padding=1),  # (N, 1, 28, 28)
            nn.Sigmoid(),
        )
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, z: Tensor) -> Tensor:
        return (self.layers(z) - self.mean) / self.std

    def draw(self, count: int) -> Tensor:
        """`count` images from random numbers of the default generator."""
        like = next(self.parameters())
        return self(randn(count, self.noise, device=like.device, dtype=like.dtype))


class GAN(nn.Module):
    """Real images (N, C, H, W) -> the losses (N,) of the discriminator and of the generator, added.

    The discriminator gives one logit an image, and its loss is that of telling N real images from N drawn ones; the
    generator's is that of a drawn image taken for a drawn one. The gradients are as if each loss was alone: the
    drawn images are constants for the discriminator, and its weights are constants for the generator. So one
    optimizer steps both.
    """

    def __init__(self, discriminator: nn.Module, generator: Generator):
        super().__init__()
        self.discriminator = discriminator
        self.generator = generator

    def forward(self, x: Tensor) -> Tensor:
        drawn = self.generator.draw(x.shape[0])
        telling = F.softplus(-self.discriminator(x)) + F.softplus(self.discriminator(drawn.detach()))
        weights = [parameter for parameter in self.discriminator.parameters() if parameter.requires_grad]
        try:
            for weight in weights:
                weight.requires_grad = False
            fooling = F.softplus(-self.discriminator(drawn))
        finally:
            for weight in weights:
                weight.requires_grad = True
        return (telling + fooling).flatten()
