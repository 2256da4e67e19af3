"""StridedCNN against the same network built of torch.nn, and files that have its encoder alone."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn as tnn

import tinygrad_mnist as tg
from tinygrad_mnist import models, nn
from tinygrad_mnist.nn import functional as F


def torch_block(in_channels: int, channels: int, size: int) -> tnn.Sequential:
    conv = tnn.Conv2d(in_channels, channels, size, stride=2, padding=size // 2, bias=False)
    return tnn.Sequential(conv, tnn.BatchNorm2d(channels), tnn.ReLU())


class TorchStridedCNN(tnn.Module):
    def __init__(self, num_classes: int, in_channels: int):
        super().__init__()
        self.block1 = torch_block(in_channels, 32, 5)
        self.block2 = torch_block(32, 64, 3)
        self.block3 = torch_block(64, 128, 3)
        self.hidden = tnn.Sequential(tnn.Linear(2048, 256, bias=False), tnn.BatchNorm1d(256), tnn.ReLU())
        self.fc = tnn.Linear(256, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.hidden(self.block3(self.block2(self.block1(x))).flatten(1)))


@pytest.mark.parametrize(("num_classes", "in_channels"), [(10, 1), (4, 3)])
def test_it_is_what_torch_makes_of_it(
    num_classes: int, in_channels: int, device: str, rng: np.random.Generator
) -> None:
    theirs = TorchStridedCNN(num_classes, in_channels).double()
    ours = models.strided_cnn(num_classes=num_classes, in_channels=in_channels).to(device).double()
    ours.load_state_dict({name: w.numpy() for name, w in theirs.state_dict().items()})
    images, labels = rng.normal(size=(5, in_channels, 28, 28)), rng.integers(0, 4, 5)
    x = tg.tensor(images, device=device, requires_grad=True)
    their_x = torch.tensor(images, requires_grad=True)
    F.cross_entropy(ours(x), tg.tensor(labels, device=device)).backward()
    tnn.functional.cross_entropy(theirs(their_x), torch.tensor(labels)).backward()
    np.testing.assert_allclose(x.grad.cpu().numpy(), their_x.grad.numpy(), rtol=1e-8, atol=1e-12)
    for (name, w), their_w in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(w.grad.cpu().numpy(), their_w.grad.numpy(), rtol=1e-8, atol=1e-12, err_msg=name)
    for name, w in theirs.state_dict().items():  # with the running statistics of one step
        np.testing.assert_allclose(ours.state_dict()[name].cpu().numpy(), w.numpy(), rtol=1e-10, err_msg=name)


def test_sizes() -> None:
    model = models.strided_cnn()
    assert sum(p.numel() for p in model.parameters()) == 620_778
    model.fc = nn.Identity()
    assert model(tg.zeros(2, 1, 28, 28)).shape == (2, 256)


@pytest.mark.parametrize(("make", "head"), [(models.strided_cnn, "fc."), (models.vit_tiny, "heads.")])
def test_weights_of_an_encoder_leave_the_head(make: type, head: str, tmp_path: Path) -> None:
    whole = make().state_dict()
    encoder = {name: w for name, w in whole.items() if not name.startswith(head)}
    tg.save(encoder, tmp_path / "encoder.safetensors", metadata={"model": make.__name__})
    assert load_file(tmp_path / "encoder.safetensors").keys() == encoder.keys()
    tg.manual_seed(1)
    fresh = make(num_classes=3).state_dict()
    tg.manual_seed(1)
    loaded = make(num_classes=3, weights=tmp_path / "encoder.safetensors").state_dict()
    for name, w in loaded.items():
        assert w.tolist() == (encoder[name] if name in encoder else fresh[name]).tolist(), name


def test_half_a_head_or_half_an_encoder_is_refused(tmp_path: Path) -> None:
    state = models.strided_cnn().state_dict()
    for gone in ("fc.bias", "hidden.0.weight"):
        tg.save({name: w for name, w in state.items() if name != gone}, tmp_path / "w.safetensors")
        with pytest.raises(RuntimeError, match=f"missing +{gone}"):
            models.strided_cnn(weights=tmp_path / "w.safetensors")
