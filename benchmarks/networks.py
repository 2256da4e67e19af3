"""The networks that both libraries train, from one definition each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


def cnn(nn: Any, channels: int = 32, image: int = 28) -> Any:
    """1-32-64-128-10, as PyTorch's MNIST example has it, without dropout; or with other channels and images."""
    return nn.Sequential(
        nn.Conv2d(1, channels, 3), nn.ReLU(), nn.Conv2d(channels, 2 * channels, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(2 * channels * (image // 2 - 2) ** 2, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip


def lenet(nn: Any) -> Any:
    """20 and 50 channels, 5x5 kernels."""
    return nn.Sequential(
        nn.Conv2d(1, 20, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10),
    )  # fmt: skip


def batch_norm_cnn(nn: Any) -> Any:
    """Convolutions without bias, each followed by batch normalisation."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(3136, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip


def resnet18(nn: Any) -> Any:
    """ResNet-18 with 10 classes. Ours is the one in `models`; PyTorch's is written as torchvision has it."""
    if nn.__name__ == "tinygrad_mnist.nn":
        from tinygrad_mnist.models import resnet18

        return resnet18(num_classes=10)

    class Block(nn.Module):
        def __init__(self, C: int, O: int, stride: int):
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(C, O, 3, stride, 1, bias=False), nn.BatchNorm2d(O)
            self.conv2, self.bn2 = nn.Conv2d(O, O, 3, 1, 1, bias=False), nn.BatchNorm2d(O)
            self.relu = nn.ReLU(inplace=True)
            if C != O:
                self.downsample = nn.Sequential(nn.Conv2d(C, O, 1, stride, bias=False), nn.BatchNorm2d(O))

        def forward(self, x: Any) -> Any:
            y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
            return self.relu(y + (self.downsample(x) if hasattr(self, "downsample") else x))

    class ResNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
            self.relu, self.maxpool = nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
            self.layer1 = nn.Sequential(Block(64, 64, 1), Block(64, 64, 1))
            self.layer2 = nn.Sequential(Block(64, 128, 2), Block(128, 128, 1))
            self.layer3 = nn.Sequential(Block(128, 256, 2), Block(256, 256, 1))
            self.layer4 = nn.Sequential(Block(256, 512, 2), Block(512, 512, 1))
            self.fc = nn.Linear(512, 10)

        def forward(self, x: Any) -> Any:
            x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
            x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
            return self.fc(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))

    return ResNet()


@dataclass
class Network:
    """A network by its definition, what it takes, and how near its gradients must be to those in float64."""

    build: Callable[[Any], Any]  # from torch.nn or tinygrad_mnist.nn
    image: tuple[int, int, int] = (1, 28, 28)
    tolerance: float = 1e-5


NETWORKS = {
    "cnn": Network(cnn),
    "lenet": Network(lenet),
    "batch_norm_cnn": Network(batch_norm_cnn),
    "resnet18": Network(resnet18, (3, 64, 64), 2e-5),  # 20 layers deep: PyTorch's own float32 is off by 5e-6
}
