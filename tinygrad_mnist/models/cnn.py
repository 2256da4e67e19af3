"""A small CNN for MNIST, 1-32-64-128-10: the network of PyTorch's MNIST example."""

from __future__ import annotations

from typing import Any

from .. import nn
from ..tensor import Tensor
from .weights import load_weights


class CNN(nn.Module):
    """Two 3x3 convolutions, a 2x2 max-pooling, two linear layers: (N, in_channels, 28, 28) -> logits (N, num_classes).

    1,199,882 parameters by default; in training mode `dropout1` acts on the pooled images and `dropout2` on the
    hidden layer (the source has 0.25 and 0.5, for 14 epochs; a run of 2 is better without). Names and shapes are those
    of the source, so that weights move between the two; its final log_softmax is left to the loss.
    Source: https://github.com/pytorch/examples/blob/main/mnist/main.py
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 1, dropout1: float = 0.0, dropout2: float = 0.0):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.dropout1 = nn.Dropout(dropout1)
        self.dropout2 = nn.Dropout(dropout2)
        self.fc1 = nn.Linear(64 * 12 * 12, 128)
        self.fc2 = nn.Linear(128, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x, then="relu")  # (N, 32, 26, 26)
        x = self.conv2(x, then="relu_pool")  # (N, 64, 24, 24), pooled to (N, 64, 12, 12)
        x = self.dropout1(x)
        x = self.fc1(x.flatten(1), then="relu")  # (N, 128)
        return self.fc2(self.dropout2(x))


def cnn(
    num_classes: int = 10,
    in_channels: int = 1,
    dropout1: float = 0.0,
    dropout2: float = 0.0,
    *,
    weights: Any = None,
    progress: bool = True,
) -> CNN:
    """A `CNN`. `weights`: a file or an address.

    >>> from tinygrad_mnist import models, ones
    >>> models.cnn()(ones(2, 1, 28, 28)).shape
    Size([2, 10])
    """
    return load_weights(CNN(num_classes, in_channels, dropout1, dropout2), weights, "cnn", progress)
