"""A small CNN that is cheap to train: strides in place of pooling, batch normalisation, 1-32-64-128-256-10."""

from __future__ import annotations

from typing import Any

from .. import nn
from ..tensor import Tensor
from .weights import load_weights


def _block(in_channels: int, channels: int, kernel_size: int) -> nn.Sequential:
    """Half the size, other channels: a convolution with stride 2, batch normalisation, ReLU."""
    conv = nn.Conv2d(in_channels, channels, kernel_size, stride=2, padding=kernel_size // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    return nn.Sequential(conv, nn.BatchNorm2d(channels), nn.ReLU())


class StridedCNN(nn.Module):
    """Three convolutions, a hidden layer of 256 features, the head `fc`: (N, in_channels, 28, 28) -> (N, num_classes).

    620,778 parameters by default, and 2.8 million multiplications an image (`cnn` has 12 million), so that a minute
    of pretraining on a CPU sees many images. Everything before `fc` is the encoder: `model.fc = nn.Identity()` gives
    its features. It is built as Radford et al., https://arxiv.org/abs/1511.06434, advise for a discriminator, without
    the leaky ReLU.
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 1):
        super().__init__()
        self.block1 = _block(in_channels, 32, 5)
        self.block2 = _block(32, 64, 3)
        self.block3 = _block(64, 128, 3)
        self.hidden = nn.Sequential(nn.Linear(128 * 4 * 4, 256, bias=False), nn.BatchNorm1d(256), nn.ReLU())
        self.fc = nn.Linear(256, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block1(x)  # (N, 32, 14, 14)
        x = self.block2(x)  # (N, 64, 7, 7)
        x = self.block3(x)  # (N, 128, 4, 4)
        return self.fc(self.hidden(x.flatten(1)))


def strided_cnn(*, weights: Any = None, progress: bool = True, **kwargs: Any) -> StridedCNN:
    """A `StridedCNN`. `weights`: a file or an address; one of an encoder leaves the head fresh.

    >>> from tinygrad_mnist import models, ones
    >>> models.strided_cnn(num_classes=5)(ones(2, 1, 28, 28)).shape
    Size([2, 5])
    """
    return load_weights(StridedCNN(**kwargs), weights, "strided_cnn", progress, head="fc.")
