"""The same network in both libraries, with the same weights, and its floor."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch

import tinygrad_mnist as tg
from tinygrad_mnist import nn, optim

from . import pytorch
from .networks import Network
from .timing import Work, assert_close

# Too small to learn the batch by heart: of what is known for certain the gradients are denormal numbers after some
# hundred steps, and processors take a hundred times as long for those.
LR = 1e-6


def flops(network: Network) -> tuple[float, float]:
    """Multiplications and additions of convolutions and linear layers that an image costs: of the forward pass; of
    forward pass, weight gradients, and input gradients of all layers but the first."""
    layers: list[float] = []

    def count(module: Any, inputs: Any, output: Any) -> None:
        layers.append(2.0 * module.weight.numel() * output[0, 0].numel())

    twin = network.build(torch.nn).eval()
    for module in twin.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            module.register_forward_hook(count)
    with torch.no_grad():
        twin(torch.zeros(1, *network.image))
    return sum(layers), 3 * sum(layers) - layers[0]


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
        self.their_networks: dict[str, Any] = {}  # way to use PyTorch -> what its step trains

    def our_step(self) -> Work:
        """One SGD step with momentum."""
        optimizer = optim.SGD(self.ours.parameters(), lr=LR, momentum=0.9)
        x, t = tg.tensor(self.x), tg.tensor(self.t)

        def step() -> None:
            optimizer.zero_grad()
            nn.functional.cross_entropy(self.ours(x), t).backward()
            optimizer.step()

        return step

    def their_step(self, way: str) -> Work:
        """The same in one of the ways to use PyTorch."""
        self.their_networks[way] = copy.deepcopy(self.theirs)
        network, x = pytorch.prepare(way, self.their_networks[way], torch.tensor(self.x))
        optimizer = torch.optim.SGD(network.parameters(), lr=LR, momentum=0.9)
        t = torch.tensor(self.t)

        def step() -> None:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(x), t).backward()
            optimizer.step()

        return step

    def our_logits(self) -> Work:
        """Logits in eval mode and without gradients, from a tensor to an array."""
        network, x = self.ours.eval(), tg.tensor(self.x)

        def logits() -> np.ndarray:
            with tg.no_grad():
                return network(x).numpy()

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

    def check_their_step(self, way: str, step: Work) -> None:
        """Roughly every gradient of the whole batch (see above), by its norm: does this way compute all of them?"""
        step()
        self.ours.zero_grad()
        nn.functional.cross_entropy(self.ours(tg.tensor(self.x)), tg.tensor(self.t)).backward()
        gradients = {name: p.grad.numpy() for name, p in self.their_networks[way].named_parameters()}
        for name, p in self.ours.named_parameters():
            difference = np.linalg.norm(gradients[name] - p.grad.numpy()) / np.linalg.norm(p.grad.numpy())
            if not difference <= 0.05:
                raise AssertionError(f"PyTorch's {way}: gradient of {name} is off by {difference:.1%} of its norm")
