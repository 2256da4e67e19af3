"""ResNets with the same weights give PyTorch's outputs, gradients and batch-norm statistics."""

import copy
import os
from pathlib import Path

import cuda_on_cpu
import numpy as np
import pytest
import torch
from torch import nn

import tinygrad_mnist as tg
from tinygrad_mnist import models

pytestmark = pytest.mark.usefixtures("default_device")


class Block(nn.Module):
    def __init__(self, c: int, o: int, stride: int, option_a: bool = False):
        super().__init__()
        self.conv1 = nn.Conv2d(c, o, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(o)
        self.conv2 = nn.Conv2d(o, o, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(o)
        self.grow = (o - c) // 2 if option_a else 0
        if (stride > 1 or c != o) and not option_a:
            self.downsample = nn.Sequential(nn.Conv2d(c, o, 1, stride, bias=False), nn.BatchNorm2d(o))

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        if hasattr(self, "downsample"):
            x = self.downsample(x)
        elif self.grow:
            x = nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.grow, self.grow))
        return torch.relu(x + y)


class ResNet(nn.Module):
    def __init__(self, layers, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        c = 64
        for i, (o, n) in enumerate(zip((64, 128, 256, 512), layers, strict=True), 1):
            blocks = [Block(c, o, 1 if i == 1 else 2), *(Block(o, o, 1) for _ in range(n - 1))]
            setattr(self, f"layer{i}", nn.Sequential(*blocks))
            c = o
        self.fc = nn.Linear(512, classes)

    def forward(self, x):
        x = nn.functional.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))


class CifarResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        c = 16
        for i, o in enumerate((16, 32, 64), 1):
            blocks = [Block(c, o, 1 if i == 1 else 2, option_a=True), *(Block(o, o, 1) for _ in range(2))]
            setattr(self, f"layer{i}", nn.Sequential(*blocks))
            c = o
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(torch.relu(self.bn1(self.conv1(x))))))
        return self.linear(nn.functional.avg_pool2d(x, x.shape[3]).flatten(1))


def close(ours, theirs, tolerance: float) -> None:
    ours, theirs = (np.asarray(a.numpy(force=True), np.float64) for a in (ours, theirs))
    assert ours.shape == theirs.shape
    error = abs(ours - theirs).max() / max(abs(theirs).max(), 1)
    assert error <= tolerance


def check_step(ours, theirs, x: np.ndarray, tolerance: float = 1e-9) -> None:
    """Outputs, input gradients, parameter gradients and running statistics of one training step agree.

    In float64: in float32 a ReLU whose input is almost 0 may be open in one library and shut in the other.
    """
    ours, theirs = ours.double(), theirs.double()
    ours.load_state_dict({k: v.numpy(force=True) for k, v in theirs.state_dict().items()})
    a, b = tg.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    target = np.arange(len(x)) % 5
    y, expected = ours(a), theirs(b)
    close(y, expected, tolerance)
    tg.nn.functional.cross_entropy(y, tg.tensor(target)).backward()
    nn.functional.cross_entropy(expected, torch.tensor(target)).backward()
    close(a.grad, b.grad, tolerance)
    parameters = dict(theirs.named_parameters())
    for name, p in ours.named_parameters():
        close(p.grad, parameters[name].grad, tolerance)
    buffers = dict(theirs.named_buffers())
    for name, value in ours.named_buffers():
        close(value, buffers[name], tolerance)


@pytest.mark.parametrize(("make", "layers", "count"), [
    (models.resnet18, (2, 2, 2, 2), 11_689_512),
    (models.resnet34, (3, 4, 6, 3), 21_797_672),
])  # fmt: skip
def test_resnet(make, layers, count: int, rng, device: str) -> None:
    if device == "cuda" and cuda_on_cpu.COUNTERS is not None:
        pytest.skip("takes minutes on the CUDA-on-CPU device; ResNet-20, of the same layers, runs there")
    theirs = ResNet(layers, 1000)
    ours = make()
    assert sum(p.numel() for p in ours.parameters()) == count
    # torchvision's order differs from the oracle's in nothing but where the downsampling stands
    assert {k: tuple(v.shape) for k, v in ours.state_dict().items()} == {
        k: tuple(v.shape) for k, v in theirs.state_dict().items()
    }
    x = rng.normal(size=(3, 3, 33, 40))
    check_step(ours, theirs, x)
    ours, theirs = ours.float().eval(), theirs.float().eval()
    close(ours(tg.tensor(x).float()), theirs(torch.tensor(x).float()), 1e-4)


def test_names_are_torchvisions_in_its_order() -> None:
    names = list(models.resnet18().state_dict())
    assert names[:7] == [
        "conv1.weight", "bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var", "bn1.num_batches_tracked",
        "layer1.0.conv1.weight",
    ]  # fmt: skip
    assert [n for n in names if "downsample" in n and n.endswith("weight")] == [
        f"layer{i}.0.downsample.{j}.weight" for i in (2, 3, 4) for j in (0, 1)
    ]
    assert names[-2:] == ["fc.weight", "fc.bias"]


def test_options() -> None:
    model = models.resnet18(num_classes=7, zero_init_residual=True)
    assert model.fc.out_features == 7
    assert all((block.bn2.weight == 0).all() for block in model.layer2)
    assert (models.resnet18().layer1[0].bn2.weight == 1).all()


def test_cifar_resnet20(rng) -> None:
    ours = models.resnet20()
    assert sum(p.numel() for p in ours.parameters()) == 269_722
    check_step(ours, CifarResNet(), rng.normal(size=(3, 3, 16, 16)))


def test_resnet20_with_the_weights_of_others(rng) -> None:
    folder = os.environ.get("TINYGRAD_MNIST_CHECKPOINTS", Path(__file__).parents[3] / "shared/data/cifar_resnet20")
    path = Path(folder) / "resnet20-12fca82f.th"
    if not path.exists():
        pytest.skip(f"{path.name} is not on this machine; name its folder in TINYGRAD_MNIST_CHECKPOINTS")
    ours, theirs = models.resnet20(weights=path), CifarResNet()
    state = torch.load(path, map_location="cpu")["state_dict"]
    theirs.load_state_dict({k.removeprefix("module."): v for k, v in state.items()})
    ours.eval()
    theirs.eval()
    x = rng.normal(size=(4, 3, 32, 32)).astype(np.float32)
    close(ours(tg.tensor(x)), theirs(torch.tensor(x)), 1e-4)


@pytest.mark.parametrize("device", ["cpu"], indirect=True)  # the GPU's kernels read weights row by row
def test_weights_and_their_gradients_lie_channels_last(device):
    model = models.ResNet((1, 1, 1, 1), num_classes=2)
    model(tg.rand(2, 3, 32, 32)).sum().backward()
    again = copy.deepcopy(model)
    again.load_state_dict(models.ResNet((1, 1, 1, 1), num_classes=2).state_dict())
    for network in (model, again):
        weight = network.layer1[0].conv1.weight
        assert weight.shape == (64, 64, 3, 3)
        assert weight.array.transpose(0, 2, 3, 1).flags.c_contiguous
    weight = model.layer4[0].conv2.weight
    assert weight.grad.array.strides == weight.array.strides


def test_a_blocks_last_relu_may_be_replaced_and_listened_to(rng, device: str) -> None:
    block = models.resnet.BasicBlock(2, 2).eval()
    x = tg.tensor(rng.standard_normal((1, 2, 5, 5)), dtype=tg.float32)
    expected = block(x)
    seen: list = []
    handle = block.relu.register_forward_hook(lambda module, inputs, output: seen.append(output))
    close(block(x), expected, 1e-6)
    close(seen[-1], expected, 1e-6)
    assert len(seen) == 2
    handle.remove()
    block.relu = tg.nn.GELU()
    between = tg.nn.functional.gelu(block.bn1(block.conv1(x)))
    close(block(x), tg.nn.functional.gelu(block.bn2(block.conv2(between)) + x), 1e-6)
