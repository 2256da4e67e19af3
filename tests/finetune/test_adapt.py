"""New heads, other channels, cached features."""

import numpy as np
import pytest
import torch
from torch_oracle import close

import tinygrad_mnist as tg
from tinygrad_mnist import finetune, models, nn, optim
from tinygrad_mnist.training import evaluate, train_step
from tinygrad_mnist.utils.data import DataLoader, TensorDataset

pytestmark = pytest.mark.usefixtures("default_device")


@pytest.mark.parametrize(
    ("make", "path", "features"),
    [
        (models.cnn, "fc2", 128),
        (models.lenet5, "fc3", 84),
        (models.resnet18, "fc", 512),
        (models.resnet20, "linear", 64),
        (models.vit_tiny, "heads.head", 64),
        (lambda: nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(5, 4), nn.ReLU())), "1.0", 5),
    ],
)
def test_heads(make, path: str, features: int) -> None:
    model = make()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert finetune.find_head(model) == (path, model.get_submodule(path))
    head = finetune.replace_head(model, 7)
    assert model.get_submodule(path) is head
    assert (head.in_features, head.out_features) == (features, 7)
    keys = model.load_state_dict(before, skip_mismatched=True)
    assert keys.mismatched_keys == [f"{path}.weight", f"{path}.bias"]


def test_a_new_head_is_like_the_old_one(device: str) -> None:
    model = nn.Sequential(nn.Linear(3, 2, bias=False)).to(device, tg.float64).eval()
    finetune.freeze(model)
    head = finetune.replace_head(model, 5)
    assert (head.weight.dtype, str(head.weight.device)[: len(device)]) == (tg.float64, device)
    assert head.bias is None
    assert head.weight.requires_grad
    assert not head.training
    assert model[0] is head


def test_no_head() -> None:
    with pytest.raises(ValueError, match="Conv2d has no linear layer that could be its head"):
        finetune.find_head(nn.Conv2d(1, 1, 1))
    with pytest.raises(ValueError, match="the model is a linear layer itself"):
        finetune.replace_head(nn.Linear(2, 2), 3)


def test_labels_outside_the_head_are_named() -> None:
    model = models.lenet5()
    finetune.replace_head(model, 5)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(IndexError, match=r"7 .*out of bounds for 5 classes|is 7, but there are 5 classes"):
        train_step(model, optimizer, tg.ones(2, 1, 28, 28), tg.tensor([1, 7]))[0].item()  # a GPU says it when read


def test_a_gray_image_gives_what_three_equal_channels_gave(rng: np.random.Generator, device: str) -> None:
    theirs = torch.nn.Conv2d(3, 4, 3, stride=2, padding=1).double()
    model = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1)), nn.Conv2d(4, 1, 1))
    model.to(device, tg.float64)
    model[0][0].load_state_dict(theirs.state_dict())
    x = rng.normal(size=(2, 1, 7, 7))
    conv = finetune.adapt_first_conv(model, 1)
    assert conv is model[0][0]
    assert (conv.in_channels, tuple(conv.weight.shape)) == (1, (4, 1, 3, 3))
    expected = theirs(torch.tensor(x).expand(-1, 3, -1, -1))
    close(conv(tg.tensor(x, device=device)), expected)
    finetune.adapt_first_conv(model, 3)  # and back again, for three equal channels
    close(conv(tg.tensor(x, device=device).expand(-1, 3, -1, -1)), expected)
    assert "3, 4, kernel_size" in repr(conv)
    assert model[1].in_channels == 4


def test_adapting_keeps_what_it_can() -> None:
    conv = nn.Conv2d(3, 4, 3)
    weight = conv.weight
    assert finetune.adapt_first_conv(conv, 3).weight is weight
    finetune.freeze(conv)
    assert not finetune.adapt_first_conv(conv, 1).weight.requires_grad
    finetune.unfreeze(conv)
    assert finetune.adapt_first_conv(conv, 2).weight.requires_grad


@pytest.mark.parametrize(
    ("make", "channels", "message"),
    [
        (lambda: nn.Conv2d(3, 4, 3), 2, r"from 3 channels in 1 group\(s\) to 2"),
        (lambda: nn.Conv2d(3, 4, 3), 0, r"from 3 channels in 1 group\(s\) to 0"),
        (lambda: nn.Conv2d(1, 4, 3), -1, r"from 1 channels in 1 group\(s\) to -1"),
        (lambda: nn.Conv2d(3, 3, 3, groups=3), 1, r"from 3 channels in 3 group\(s\) to 1"),
        (lambda: nn.Linear(1, 1), 1, "Linear has no convolution"),
    ],
)
def test_what_cannot_be_adapted(make, channels: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        finetune.adapt_first_conv(make(), channels)


@pytest.fixture
def loader(rng: np.random.Generator) -> DataLoader:
    x, y = rng.normal(size=(7, 1, 28, 28)).astype("f4"), rng.integers(0, 10, 7)
    return DataLoader(TensorDataset(tg.tensor(x), tg.tensor(y)), batch_size=3)


def test_a_head_on_cached_features_is_the_whole_model(loader: DataLoader, device: str) -> None:
    model = models.cnn(dropout1=0.25, dropout2=0.5).to(device)
    model.dropout1.eval()
    modes = [m.training for m in model.modules()]
    _, head = finetune.find_head(model)
    data = finetune.cached_features(model, head, loader)
    assert [m.training for m in model.modules()] == modes
    features, targets = data.tensors
    assert tuple(features.shape) == (7, 128)
    assert not features.requires_grad
    close(targets, np.concatenate([y.numpy(force=True) for _, y in loader]))
    model.eval()
    for (inputs, _), (x, _) in zip(DataLoader(data, batch_size=3), loader, strict=True):
        close(head(inputs), model(x.to(device)), 1e-6)
    loss, accuracy = evaluate(head, DataLoader(data, batch_size=3))
    assert (loss, accuracy) == pytest.approx(evaluate(model, loader), rel=1e-5)
    assert not head._forward_pre_hooks


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(28, 28)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return self.fc(self.fc(x))


def test_features_that_cannot_be_cached(loader: DataLoader) -> None:
    model = models.cnn()
    with pytest.raises(ValueError, match="this Linear is no part of the model"):
        finetune.cached_features(model, nn.Linear(128, 10), loader)
    with pytest.raises(ValueError, match="the loader gave no images"):
        finetune.cached_features(model, model.fc2, [])
    twice = Twice()
    with pytest.raises(RuntimeError, match="call the head exactly once"):
        finetune.cached_features(twice, twice.fc, loader)
    assert twice.training
