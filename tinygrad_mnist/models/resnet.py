"""ResNets: torchvision's ResNet-18 and -34, and the ResNet-20 of the CIFAR experiments.

Source: He et al., "Deep residual learning for image recognition", https://arxiv.org/abs/1512.03385
"""

from __future__ import annotations

import operator
from typing import Any

from .. import nn
from ..nn import functional as F
from ..nn.in_turn import Plus, in_turn
from ..tensor import Tensor
from .weights import load_weights

RELU = nn.ReLU()


def _conv3x3(in_planes: int, planes: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_planes, planes, 3, stride, padding=1, bias=False)


class BasicBlock(nn.Module):
    """relu(x + bn(conv(relu(bn(conv(x)))))), with x through `downsample` where the shapes differ."""

    def __init__(self, in_planes: int, planes: int, stride: int = 1, downsample: nn.Module | None = None):
        super().__init__()
        self.conv1 = _conv3x3(in_planes, planes, stride)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU()
        self.conv2 = _conv3x3(planes, planes)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        conv1, bn1, relu, conv2, bn2 = _parts(self._modules)  # several times as fast as by their attributes
        return in_turn([conv1, bn1, relu, conv2, bn2, Plus(shortcut), relu], x)


_parts = operator.itemgetter("conv1", "bn1", "relu", "conv2", "bn2")


def _channels_last(model: nn.Module) -> None:
    """Lay out convolutions' weights (O, C, KH, KW) as O, KH, KW, C in memory.

    The CPU's kernels for many weights and few pixels read them so; others would be copied at each use.
    """
    for m in model.modules():
        if isinstance(m, nn.Conv2d):
            m.weight.data = m.weight.data.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


class ResNet(nn.Module):
    """Images (N, 3, H, W) -> logits (N, num_classes); `layers` says how many blocks each of the four stages has.

    Parameter names, shapes and initial distributions are torchvision's. On the CPU, convolutions' weights lie
    channels-last in memory, as after PyTorch's `model.to(memory_format=torch.channels_last)`: `weight.view(...)` of
    one is a copy.
    """

    def __init__(self, layers: tuple[int, int, int, int], num_classes: int = 1000, zero_init_residual: bool = False):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _stage(64, 64, layers[0], 1)
        self.layer2 = _stage(64, 128, layers[1], 2)
        self.layer3 = _stage(128, 256, layers[2], 2)
        self.layer4 = _stage(256, 512, layers[3], 2)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(512, num_classes)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(m, BasicBlock) and zero_init_residual and m.bn2.weight is not None:
                nn.init.zeros_(m.bn2.weight)
        _channels_last(self)

    def forward(self, x: Tensor) -> Tensor:
        x = in_turn([self.conv1, self.bn1, RELU, self.maxpool], x)  # (N, 64, H / 4, W / 4)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))  # (N, 512, H / 32, W / 32)
        return self.fc(self.avgpool(x).flatten(1))


def _stage(in_planes: int, planes: int, blocks: int, stride: int) -> nn.Sequential:
    downsample = None
    if stride != 1 or in_planes != planes:
        conv = nn.Conv2d(in_planes, planes, 1, stride, bias=False)
        downsample = nn.Sequential(conv, nn.BatchNorm2d(planes))
    first = BasicBlock(in_planes, planes, stride, downsample)
    return nn.Sequential(first, *(BasicBlock(planes, planes) for _ in range(blocks - 1)))


def resnet18(*, weights: Any = None, progress: bool = True, **kwargs: Any) -> ResNet:
    """ResNet-18, 11,689,512 parameters. `weights`: a file, an address or "IMAGENET1K_V1" (see `load_weights`)."""
    return load_weights(ResNet((2, 2, 2, 2), **kwargs), weights, "resnet18", progress)


def resnet34(*, weights: Any = None, progress: bool = True, **kwargs: Any) -> ResNet:
    """ResNet-34, 21,797,672 parameters. `weights`: a file, an address or "IMAGENET1K_V1" (see `load_weights`)."""
    return load_weights(ResNet((3, 4, 6, 3), **kwargs), weights, "resnet34", progress)


class _PaddedShortcut(nn.Module):
    """Every second pixel, and zeros for the channels that are new: a shortcut without parameters (option A)."""

    def __init__(self, planes: int):
        super().__init__()
        self.planes = planes

    def forward(self, x: Tensor) -> Tensor:
        more = (self.planes - x.shape[1]) // 2
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, more, more))


class CifarResNet(nn.Module):
    """The CIFAR network of section 4.2: images (N, 3, 32, 32) -> logits (N, num_classes), with 6 n + 2 layers."""

    def __init__(self, blocks: int, num_classes: int = 10):
        super().__init__()
        self.conv1 = _conv3x3(3, 16)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _cifar_stage(16, 16, blocks)
        self.layer2 = _cifar_stage(16, 32, blocks)
        self.layer3 = _cifar_stage(32, 64, blocks)
        self.linear = nn.Linear(64, num_classes)
        for m in self.modules():
            if isinstance(m, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(m.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = in_turn([self.conv1, self.bn1, RELU], x)
        x = self.layer3(self.layer2(self.layer1(x)))  # (N, 64, 8, 8)
        return self.linear(x.mean((2, 3)))


def _cifar_stage(in_planes: int, planes: int, blocks: int) -> nn.Sequential:
    grows = in_planes != planes
    first = BasicBlock(in_planes, planes, 2 if grows else 1, _PaddedShortcut(planes) if grows else None)
    return nn.Sequential(first, *(BasicBlock(planes, planes) for _ in range(blocks - 1)))


def resnet20(*, weights: Any = None, progress: bool = True, **kwargs: Any) -> CifarResNet:
    """ResNet-20 for CIFAR, 269,722 parameters, shortcuts of option A. `weights`: a file or an address."""
    return load_weights(CifarResNet(3, **kwargs), weights, "resnet20", progress)
