"""The CNN and LeNet-5 against the same networks built of torch.nn, with the same weights."""

import numpy as np
import pytest
import torch
from torch import nn as tnn
from torch.nn import functional as tF

import tinygrad_mnist as tg
from tinygrad_mnist import models, nn
from tinygrad_mnist.nn import functional as F

pytestmark = pytest.mark.usefixtures("default_device")


class TorchCNN(tnn.Module):
    def __init__(self, num_classes: int = 10, in_channels: int = 1):
        super().__init__()
        self.conv1 = tnn.Conv2d(in_channels, 32, 3)
        self.conv2 = tnn.Conv2d(32, 64, 3)
        self.fc1 = tnn.Linear(9216, 128)
        self.fc2 = tnn.Linear(128, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = tF.max_pool2d(tF.relu(self.conv2(tF.relu(self.conv1(x)))), 2)
        return self.fc2(tF.relu(self.fc1(x.flatten(1))))


class TorchLeNet5(tnn.Module):
    def __init__(self, num_classes: int = 10, in_channels: int = 1):
        super().__init__()
        self.conv1 = tnn.Conv2d(in_channels, 6, 5, padding=2)
        self.conv2 = tnn.Conv2d(6, 16, 5)
        self.fc1 = tnn.Linear(400, 120)
        self.fc2 = tnn.Linear(120, 84)
        self.fc3 = tnn.Linear(84, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = tF.max_pool2d(tF.relu(self.conv1(x)), 2)
        x = tF.max_pool2d(tF.relu(self.conv2(x)), 2)
        return self.fc3(tF.relu(self.fc2(tF.relu(self.fc1(x.flatten(1))))))


PAIRS = [(models.cnn, models.CNN, TorchCNN), (models.lenet5, models.LeNet5, TorchLeNet5)]


@pytest.mark.parametrize("arguments", [{}, {"num_classes": 4, "in_channels": 3}])
@pytest.mark.parametrize(("make", "kind", "torch_kind"), PAIRS)
def test_outputs_and_gradients(
    make: type, kind: type, torch_kind: type, arguments: dict[str, int], device: str, rng: np.random.Generator
) -> None:
    ours, theirs = make(**arguments).to(device).double().eval(), torch_kind(**arguments).double()
    assert type(ours) is kind
    shapes = {name: tuple(w.shape) for name, w in ours.state_dict().items()}
    assert shapes == {name: tuple(w.shape) for name, w in theirs.state_dict().items()}
    ours.load_state_dict({name: w.numpy(force=True) for name, w in theirs.state_dict().items()})
    images, labels = rng.normal(size=(3, arguments.get("in_channels", 1), 28, 28)), rng.integers(0, 4, 3)
    x = tg.tensor(images, device=device, requires_grad=True)
    their_x = torch.tensor(images, requires_grad=True)
    y, their_y = ours(x), theirs(their_x)
    np.testing.assert_allclose(y.numpy(force=True), their_y.numpy(force=True), rtol=1e-10, atol=1e-12)
    F.cross_entropy(y, tg.tensor(labels, device=device)).backward()
    tF.cross_entropy(their_y, torch.tensor(labels)).backward()
    np.testing.assert_allclose(x.grad.numpy(force=True), their_x.grad.numpy(force=True), rtol=1e-9, atol=1e-12)
    for (name, w), their_w in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        expected = their_w.grad.numpy()
        np.testing.assert_allclose(w.grad.numpy(force=True), expected, rtol=1e-9, atol=1e-12, err_msg=name)


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def test_sizes() -> None:
    assert parameters(models.cnn()) == 1_199_882
    assert parameters(models.lenet5()) == 61_706


def test_dropout_acts_in_training_only() -> None:
    x = tg.rand(2, 1, 28, 28)
    for rates in [(0.5, 0.0), (0.0, 0.5)]:
        model = models.cnn(10, 1, *rates)
        assert not model(x).allclose(model(x))
        model.eval()
        assert model(x).tolist() == model(x).tolist()
    plain = models.cnn()
    assert plain(x).tolist() == plain(x).tolist()


def test_three_channels_name_the_layer() -> None:
    with pytest.raises(RuntimeError, match=r"conv1.*expected 1 channels?, got 3"):
        models.cnn()(tg.ones(1, 3, 28, 28))
