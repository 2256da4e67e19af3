"""examples/finetune_resnet18.py: once with the real network, and the rest with a small one in its place."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tinygrad_mnist as tg
from tinygrad_mnist import models, nn, optim
from tinygrad_mnist.models.weights import load_weights

Run = Callable[..., tuple[int, str, str]]


class Small(nn.Module):
    """A convolution, a norm, and a head of ResNet-18's name."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 7, stride=4, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 1000)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return self.fc(self.bn1(self.conv1(x)).relu().mean((2, 3)))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A small network and its weights, small.safetensors."""
    monkeypatch.setattr(models, "resnet18", lambda weights: load_weights(Small(), weights, "resnet18"))
    tg.manual_seed(5)
    tg.save(Small().state_dict(), tmp_path / "small.safetensors")


@pytest.fixture
def tiny(digits: Path) -> list[object]:
    """Flags that make it quick: 27 batches in an epoch."""
    flags = ["--weights", "small.safetensors", "--data-dir", digits, "--size", 32, "--batch-size", 4]
    return [*flags, "--epochs", 3, "--save", "w.safetensors"]


def test_the_real_network(run: Run, digits: Path, tmp_path: Path) -> None:
    tg.save(models.resnet18().state_dict(), tmp_path / "r.safetensors")
    flags = ["--data-dir", digits, "--size", 32, "--limit-train", 20, "--limit-test", 5, "--batch-size", 9]
    code, out, err = run("finetune_resnet18.py", "--weights", "r.safetensors", "--epochs", 1, *flags)
    assert (code, err) == (0, "")
    first, last = out.splitlines()
    assert first.startswith("epoch 1/1: loss ")
    assert "; validation: loss " in first
    assert last.startswith("test accuracy ")
    assert last.endswith("% (5 images), weights in mnist_resnet18.safetensors")
    saved = tg.load(tmp_path / "mnist_resnet18.safetensors")
    assert saved["fc.weight"].shape == (10, 512)
    assert saved["bn1.num_batches_tracked"].item() == 2


@pytest.mark.usefixtures("small")
def test_the_head_only_leaves_the_rest_and_its_statistics(run: Run, tiny: list, tmp_path: Path) -> None:
    assert run("finetune_resnet18.py", *tiny, "--head-only")[0] == 0
    before, after = tg.load(tmp_path / "small.safetensors"), tg.load(tmp_path / "w.safetensors")
    assert [name for name in after if not np.array_equal(before[name].numpy(), after[name].numpy())] == [
        "fc.weight", "fc.bias",
    ]  # fmt: skip


@pytest.mark.usefixtures("small")
def test_stopped_and_resumed_is_the_same(
    run: Run, tiny: list, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("finetune_resnet18.py", *tiny, "--save", "whole.safetensors")[0] == 0
    step, count = optim.SGD.step, iter(range(1, 1000))

    def press(self: optim.SGD) -> None:
        step(self)
        if next(count) == 40:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(optim.SGD, "step", press)
        code, _, err = run("finetune_resnet18.py", *tiny)
    assert (code, err) == (130, "\nStopped; the same command with --resume goes on\n")
    code, out, _ = run("finetune_resnet18.py", *tiny, "--resume")
    assert code == 0
    assert out.startswith("epoch 2/3")
    whole, parts = (tg.load(tmp_path / name) for name in ("whole.safetensors", "w.safetensors"))
    assert all(whole[name].numpy().tobytes() == parts[name].numpy().tobytes() for name in whole)
    code, _, err = run("finetune_resnet18.py", *tiny, "--resume", "--lr", 0.1)
    assert code == 2
    assert "the run to resume had lr=0.001, this one has 0.1" in err


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--weights", "IMAGENET"], "expected a path, an https:// address or 'IMAGENET1K_V1'"),
        (["--resume"], "there is no checkpoint in w.checkpoints; start without --resume"),
        (["--limit-train", 19], "argument --limit-train: expected at least 20"),
        (["--size", 8], "argument --size: expected a whole number of at least 32"),
        (["--data-dir", "nowhere"], "argument --data-dir: there is no folder"),
        (["--data-dir", "."], "Dataset not found"),
    ],
)
def test_bad_input(run: Run, tiny: list, tmp_path: Path, flags: list, message: str) -> None:
    (tmp_path / "train-images-idx3-ubyte").write_bytes(b"")
    code, _, err = run("finetune_resnet18.py", *tiny, *flags)
    assert code == 2
    assert message in err
    assert "Traceback" not in err
