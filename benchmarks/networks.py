"""The networks that both libraries train, from one definition each, and a pair of them with the same weights."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import tinygrad_mnist as tg
from tinygrad_mnist import nn, optim

from . import pytorch
from .timing import Work, assert_close


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
    if nn is not torch.nn:
        from tinygrad_mnist.models import resnet18

        return resnet18(num_classes=10)

    class Block(torch.nn.Module):
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

    class ResNet(torch.nn.Module):
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
            return self.fc(torch.flatten(torch.nn.functional.adaptive_avg_pool2d(x, 1), 1))

    return ResNet()


@dataclass
class Network:
    """A network and what an image costs: multiplications and additions of convolutions and linear layers."""

    build: Callable[[Any], Any]  # from torch.nn or tinygrad_mnist.nn
    image: tuple[int, int, int] = (1, 28, 28)
    tolerance: float = 1e-5  # of gradients: relative error against float64

    def flops(self) -> tuple[float, float]:
        """Of the forward pass; of forward, weight gradients and input gradients but the first layer's. An image."""
        layers: list[float] = []

        def count(module: Any, inputs: Any, output: Any) -> None:
            outputs_of_a_channel = output[0, 0].numel()
            layers.append(2.0 * module.weight.numel() * outputs_of_a_channel)

        network = self.build(torch.nn).eval()
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
                module.register_forward_hook(count)
        with torch.no_grad():
            network(torch.zeros(1, *self.image))
        return sum(layers), 3 * sum(layers) - layers[0]


NETWORKS = {
    "cnn": Network(cnn),
    "lenet": Network(lenet),
    "batch_norm_cnn": Network(batch_norm_cnn),
    "resnet18": Network(resnet18, (3, 64, 64), 2e-5),  # 20 layers deep: PyTorch's own float32 is off by 5e-6
}


class Pair:
    """The same network twice, with the same weights, and a batch for it."""

    def __init__(self, network: Network, batch: int):
        torch.manual_seed(0)
        self.theirs = network.build(torch.nn)
        self.ours = network.build(nn)
        self.ours.load_state_dict({k: tg.tensor(v.numpy().copy()) for k, v in self.theirs.state_dict().items()})
        rng = np.random.default_rng(0)
        self.x = rng.standard_normal((batch, *network.image)).astype(np.float32)
        self.t = rng.integers(0, 10, batch)
        self.tolerance = network.tolerance

    def our_step(self) -> Work:
        """One SGD step with momentum."""
        optimizer = optim.SGD(self.ours.parameters(), lr=0.01, momentum=0.9)
        x, t = tg.tensor(self.x), tg.tensor(self.t)

        def step() -> None:
            optimizer.zero_grad()
            nn.functional.cross_entropy(self.ours(x), t).backward()
            optimizer.step()

        return step

    def their_step(self, way: str) -> Work:
        """The same in one of the ways to use PyTorch."""
        network, x = pytorch.prepare(way, copy.deepcopy(self.theirs), torch.tensor(self.x))
        optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
        t = torch.tensor(self.t)

        def step() -> None:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(x), t).backward()
            optimizer.step()

        return step

    def our_logits(self) -> Work:
        """Logits in eval mode and without gradients, from arrays to an array."""
        network = self.ours.eval()

        def logits() -> np.ndarray:
            with tg.no_grad():
                return network(tg.from_numpy(self.x)).numpy()

        return logits

    def their_logits(self, way: str) -> Work:
        """The same in one of the ways to use PyTorch."""
        network, x = pytorch.prepare(way, copy.deepcopy(self.theirs).eval(), torch.tensor(self.x))

        def logits() -> np.ndarray:
            with torch.inference_mode():
                return network(x).numpy()

        return logits

    def check_step(self) -> None:
        """The loss of the batch, and the loss and every gradient of 16 images, against the same in float64.

        Only 16, because rounding now and then decides which of two nearly equal pixels pooling takes, and then a
        gradient goes another way: of 512 images, PyTorch's own float32 gradients are up to 0.4 % from its float64.
        """
        exact = copy.deepcopy(self.theirs).double()
        few = np.random.default_rng(1).standard_normal((16, *self.x.shape[1:])).astype(np.float32)
        for x, t in [(self.x, self.t), (few, np.arange(16) % 10)]:
            our_loss = nn.functional.cross_entropy(self.ours(tg.tensor(x)), tg.tensor(t))
            their_loss = torch.nn.functional.cross_entropy(exact(torch.tensor(x).double()), torch.tensor(t))
            assert_close(our_loss.detach().numpy(), their_loss.detach().numpy(), "loss", self.tolerance)
        our_loss.backward()
        their_loss.backward()
        gradients = {name: p.grad for name, p in exact.named_parameters()}
        for name, p in self.ours.named_parameters():
            assert_close(p.grad.numpy(), gradients[name].numpy(), f"gradient of {name}", self.tolerance)
