"""LeNet-5, as it is taught today."""

from __future__ import annotations

from typing import Any

from .. import nn
from ..tensor import Tensor
from .weights import load_weights


class LeNet5(nn.Module):
    """Two 5x5 convolutions with max-pooling, three linear layers: (N, in_channels, 28, 28) -> logits (N, num_classes).

    61,706 parameters by default. The first convolution pads by 2, since the original saw 32x32 images; ReLU and
    max-pooling stand for its scaled tanh and trainable subsampling, full connections for its partial ones.
    Source: LeCun et al., "Gradient-based learning applied to document recognition", 1998,
    http://yann.lecun.com/exdb/publis/pdf/lecun-98.pdf
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x, then="relu_pool")  # (N, 6, 14, 14)
        x = self.conv2(x, then="relu_pool")  # (N, 16, 5, 5)
        x = self.fc1(x.flatten(1), then="relu")  # (N, 120)
        x = self.fc2(x, then="relu")  # (N, 84)
        return self.fc3(x)


def lenet5(num_classes: int = 10, in_channels: int = 1, *, weights: Any = None, progress: bool = True) -> LeNet5:
    """A `LeNet5`. `weights`: a file or an address.

    >>> from tinygrad_mnist import models, ones
    >>> models.lenet5()(ones(2, 1, 28, 28)).shape
    Size([2, 10])
    """
    return load_weights(LeNet5(num_classes, in_channels), weights, "lenet5", progress)
