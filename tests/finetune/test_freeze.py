"""freeze and unfreeze: which parameters train, what batch-norm layers do, and what a step then computes."""

import copy

import numpy as np
import pytest
import torch
from tinygrad_mnist.kernels import conv_direct, conv_taps
from torch_oracle import close

import tinygrad_mnist as tg
from tinygrad_mnist import finetune, models, nn, optim
from tinygrad_mnist.autograd import tape
from tinygrad_mnist.nn import functional as F
from tinygrad_mnist.training import train_step

pytestmark = pytest.mark.usefixtures("default_device")


def trainable(model: nn.Module) -> list[str]:
    return [name for name, p in model.named_parameters() if p.requires_grad]


@pytest.mark.parametrize(
    ("patterns", "left"),
    [
        ((), []),
        (("conv1", "fc?"), ["conv2.weight", "conv2.bias"]),
        (("*.weight",), ["conv1.bias", "conv2.bias", "fc1.bias", "fc2.bias"]),
        (("conv[12].*", "fc1.bias"), ["fc1.weight", "fc2.weight", "fc2.bias"]),
    ],
)
def test_patterns(patterns: tuple[str, ...], left: list[str]) -> None:
    model = models.cnn()
    every = trainable(model)
    assert finetune.freeze(model, *patterns) == [name for name in every if name not in left]
    assert trainable(model) == left
    assert finetune.unfreeze(model, *patterns) == [name for name in every if name not in left]
    assert trainable(model) == every


def test_a_module_stands_for_everything_in_it() -> None:
    model = models.resnet20()
    frozen = finetune.freeze(model, "layer1", "layer2.0")
    assert frozen == [n for n, _ in model.named_parameters() if n.startswith(("layer1.", "layer2.0."))]


def test_a_pattern_that_matches_nothing_names_close_ones() -> None:
    model = models.resnet20()
    with pytest.raises(ValueError, match=r"no parameter of .*Net matches 'layr1\.\*'; close names are .*'layer1'"):
        finetune.freeze(model, "conv1", "layr1.*")
    with pytest.raises(ValueError, match=r"matches 'zzzzzz'; its parts are \['conv1', 'bn1', 'layer1'"):
        finetune.unfreeze(model, "zzzzzz")
    with pytest.raises(ValueError, match=r"matches 'layer1\.0\.relu'; close names are \['layer1\.0\.relu'"):
        finetune.freeze(model, "layer1.0.relu")
    assert len(trainable(model)) == len([*model.parameters()])  # a bad pattern changes nothing


def test_frozen_gradients_are_forgotten(device: str) -> None:
    model = models.lenet5().to(device)
    model(tg.ones(2, 1, 28, 28, device=device)).sum().backward()
    finetune.freeze(model, "conv*")
    assert [name for name, p in model.named_parameters() if p.grad is None] == [
        "conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias",
    ]  # fmt: skip


def test_frozen_batch_norm_stays_in_eval_mode(rng: np.random.Generator, device: str) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5), nn.BatchNorm2d(2)).to(device)
    x = tg.tensor(rng.normal(size=(4, 1, 6, 6)).astype("f4"), device=device)
    finetune.freeze(model, "0", "1")
    assert [m.training for m in model] == [True, False, True, True]
    model.eval()
    model.train()
    assert [m.training for m in model] == [True, False, True, True]
    model(x)
    assert [model[i].num_batches_tracked.item() for i in (1, 3)] == [0, 1]
    close(model[1].running_mean, [0.0, 0.0])
    assert [m.training for m in copy.deepcopy(model).train()] == [True, False, True, True]
    finetune.unfreeze(model, "1.weight")
    assert [m.training for m in model] == [True, True, True, True]
    finetune.freeze(model.eval(), "1")
    finetune.unfreeze(model)
    assert [m.training for m in model] == [False] * 4
    assert all(m.training for m in model.train())


def test_batch_norm_may_go_on_and_half_frozen_does() -> None:
    model = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2, affine=False))
    finetune.freeze(model, "*.weight")
    assert [m.training for m in model] == [True, True]
    finetune.freeze(model, "0.bias")
    assert [m.training for m in model] == [False, True]
    assert finetune.freeze(model, "1") == []
    assert [m.training for m in model] == [False, False]
    finetune.freeze(model, eval_batch_norm=False)
    assert [m.training for m in model] == [True, True]
    assert trainable(model) == []
    finetune.freeze(model[0])  # the layer itself
    assert not model[0].training


def test_a_step_with_a_frozen_backbone_is_torchs(rng: np.random.Generator) -> None:
    def net(nn):
        return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4))

    ours, theirs = net(nn).double(), net(torch.nn).double()
    ours.load_state_dict(theirs.state_dict())
    finetune.freeze(ours, "0", "1")
    theirs[0].requires_grad_(False)
    theirs[1].requires_grad_(False).eval()
    x, y = rng.normal(size=(5, 1, 6, 6)), rng.integers(0, 4, 5)
    optimizer = optim.SGD(ours.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    their_optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    for _ in range(3):
        train_step(ours, optimizer, tg.tensor(x), tg.tensor(y))
        their_optimizer.zero_grad()
        torch.nn.functional.cross_entropy(theirs(torch.tensor(x)), torch.tensor(y)).backward()
        their_optimizer.step()
    for name, value in theirs.state_dict().items():
        close(ours.state_dict()[name], value)


class Counted:
    """Kernels that write down the names of those that are called."""

    def __init__(self, kernels: object, calls: list[str]):
        self.kernels, self.calls = kernels, calls

    def __getattr__(self, name: str) -> object:
        self.calls.append(name)
        return getattr(self.kernels, name)


def gradient_calls(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], list[str]]:
    """The names of the ops whose gradient functions a training step calls, once each, and of backward's kernels."""
    images, classes = tg.rand(2, 3, 16, 16), tg.tensor([1, 0])
    ops: list[str] = []

    def watched(name, value, args, gradients, record=tape.record):
        def watch(fn):
            if fn is None:
                return None
            if tape.takes_output(fn):
                return lambda g, y: ops.append(name) or fn(g, y)
            return lambda g: ops.append(name) or fn(g)

        return record(name, value, args, [watch(fn) for fn in gradients])

    kernels: list[str] = []
    monkeypatch.setattr(conv_taps, "WEIGHTS", np.inf)  # all go by conv_direct
    real = conv_direct.conv2d_gradients

    def conv2d_gradients(*args):
        kernels.extend(name for name, wanted in zip(("dx", "dw"), args[-1], strict=True) if wanted)
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(conv_direct, "conv2d_gradients", conv2d_gradients)
        patch.setattr(tape, "record", watched)
        loss = F.cross_entropy(model(images), classes)
        own = tape.Variable.kernels
        patch.setattr(tape.Variable, "kernels", property(lambda self: Counted(own.__get__(self), kernels)))
        loss.backward()
    return ops, kernels


@pytest.mark.parametrize("device", ["cpu"], indirect=True)  # it counts the calls that the CPU's way makes
def test_a_frozen_backbone_computes_only_the_heads_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    model = models.resnet20()
    full_ops, full_kernels = gradient_calls(model, monkeypatch)
    convolutions = sum(isinstance(m, nn.Conv2d) for m in model.modules())
    assert full_ops.count("Conv2dBackward0") == 2 * convolutions - 1  # weight and input; the images want none
    assert full_kernels.count("dw") == convolutions
    assert full_kernels.count("dx") == convolutions - 1

    head_path, _ = finetune.find_head(model)
    finetune.freeze(model)
    finetune.unfreeze(model, head_path)
    model.zero_grad()
    ops, kernels = gradient_calls(model, monkeypatch)
    # The loss's own, then the head's: weight and bias, and not its input.
    assert ops == ["MeanCrossEntropyBackward0", "LinearBackward0", "LinearBackward0"]
    assert kernels == ["mean_cross_entropy_grad", "matmul", "bias_grad"]
    assert [name for name, p in model.named_parameters() if p.grad is not None] == ["linear.weight", "linear.bias"]

    finetune.unfreeze(model, "layer3.2.conv2")
    ops, kernels = gradient_calls(model, monkeypatch)
    assert ops.count("Conv2dBackward0") == 1
    assert kernels.count("dw") == 1
    assert not {"dx", "conv2d_input_grad", "conv2d_weight_grad"} & set(kernels)
