"""Whole training steps and inference: the same network, weights, batch and optimizer for both."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

import tinygrad_mnist as tg
from tinygrad_mnist import nn, optim

from .timing import Case, assert_close


def cnn(nn: Any) -> Any:
    """1-32-64-128-10, as PyTorch's MNIST example has it, without dropout. 72 MFLOP a training image."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(), nn.Linear(128, 10),
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


# Multiplications and additions that one image needs: forward, weight gradients, input gradients but the first.
NETWORKS: dict[str, tuple[Callable[[Any], Any], float, float]] = {
    "cnn": (cnn, 24.0e6, 71.2e6),
    "lenet": (lenet, 4.59e6, 13.2e6),
    "batch_norm_cnn": (batch_norm_cnn, 8.48e6, 25.0e6),
}


class Pair:
    """The same network twice, with the same weights, and a batch for it."""

    def __init__(self, network: Callable[[Any], Any], batch: int):
        torch.manual_seed(0)
        self.theirs = network(torch.nn)
        self.ours = network(nn)
        self.ours.load_state_dict({k: tg.tensor(v.numpy().copy()) for k, v in self.theirs.state_dict().items()})
        rng = np.random.default_rng(0)
        self.x = rng.standard_normal((batch, 1, 28, 28)).astype(np.float32)
        self.t = rng.integers(0, 10, batch)

    def our_step(self, lr: float = 0.01) -> Callable[[], Any]:
        x, t = tg.tensor(self.x), tg.tensor(self.t)
        optimizer = optim.SGD(self.ours.parameters(), lr=lr, momentum=0.9)

        def step() -> Any:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(self.ours(x), t)
            loss.backward()
            optimizer.step()
            return loss.detach()

        return step

    def their_step(self, network: Any, x: torch.Tensor, lr: float = 0.01) -> Callable[[], Any]:
        t = torch.tensor(self.t)
        optimizer = torch.optim.SGD(network.parameters(), lr=lr, momentum=0.9)

        def step() -> Any:
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(network(x), t)
            loss.backward()
            optimizer.step()
            return loss.detach()

        return step

    def check_step(self) -> None:
        """The loss of the batch, and every gradient of its first 16 images, against the same step in float64.

        Only 16, because rounding now and then decides which of two nearly equal pixels pooling takes, and then a
        gradient goes another way: of 512 images, PyTorch's own float32 gradients are up to 0.4 % from its float64.
        """
        exact = copy.deepcopy(self.theirs).double()
        whole = self.their_step(exact, torch.tensor(self.x, dtype=torch.float64), lr=0.0)
        assert_close(self.our_step(lr=0.0)().numpy(), whole().numpy(), "loss")
        few = copy.copy(self)
        few.x, few.t = self.x[:16], self.t[:16]
        few.our_step(lr=0.0)()
        few.their_step(exact, torch.tensor(few.x, dtype=torch.float64), lr=0.0)()
        for (name, p), e in zip(self.ours.named_parameters(), exact.parameters(), strict=True):
            assert p.grad is not None
            assert e.grad is not None
            assert_close(p.grad.numpy(), e.grad.numpy(), name)


def training(batches: list[int]) -> Iterator[Case]:
    """One SGD step with momentum, against eager PyTorch in both memory formats."""
    for name, (network, _, flops) in NETWORKS.items():
        for batch in batches:
            pair = Pair(network, batch)
            last = network(torch.nn).to(memory_format=torch.channels_last)
            x = torch.tensor(pair.x)
            theirs = {
                "nchw": pair.their_step(pair.theirs, x),
                "channels_last": pair.their_step(last, x.to(memory_format=torch.channels_last)),
            }
            yield Case(
                f"training step, {name}, batch {batch}", pair.our_step(), theirs, pair.check_step,
                flops=batch * flops, images=batch,
            )  # fmt: skip


def inference(batches: list[int]) -> Iterator[Case]:
    """Logits of a batch, in eval mode and without gradients."""
    for name, (network, flops, _) in NETWORKS.items():
        for batch in batches:
            yield _inference(name, Pair(network, batch), batch, flops)


def _inference(name: str, pair: Pair, batch: int, flops: float) -> Case:
    ours, theirs = pair.ours.eval(), pair.theirs.eval()
    x, tx = tg.tensor(pair.x), torch.tensor(pair.x)

    def our_logits() -> Any:
        with tg.no_grad():
            return ours(x).numpy()

    def their_logits() -> Any:
        with torch.inference_mode():
            return theirs(tx).numpy()

    def check() -> None:
        assert_close(our_logits(), their_logits(), "logits")

    return Case(
        f"inference, {name}, batch {batch}", our_logits, {"nchw": their_logits}, check,
        flops=batch * flops, images=batch,
    )  # fmt: skip
