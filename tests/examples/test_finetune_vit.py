"""examples/finetune_vit.py with the tiny transformer, and the large one's data."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

import tinygrad_mnist as tg
from tinygrad_mnist import models, optim
from tinygrad_mnist.models.weights import load_weights

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def tiny(digits: Path) -> list[object]:
    """Flags that make it quick: 6 batches in an epoch."""
    flags = ["--data-dir", digits, "--limit-train", 54, "--limit-test", 10, "--batch-size", 8]
    return [*flags, "--epochs", 2, "--save", "w.safetensors"]


def test_from_weights_stopped_and_resumed(
    run: Run, tiny: list, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tg.save(models.vit_tiny().state_dict(), tmp_path / "vit.safetensors")
    flags = [*tiny, "--weights", "vit.safetensors"]
    code, out, err = run("finetune_vit.py", *flags, "--save", "whole.safetensors")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1].endswith("% (10 images), weights in whole.safetensors")
    step, count = optim.AdamW.step, iter(range(1, 1000))

    def press(self: optim.AdamW) -> None:
        step(self)
        if next(count) == 8:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(optim.AdamW, "step", press)
        assert run("finetune_vit.py", *flags)[::2] == (130, "\nStopped; the same command with --resume goes on\n")
    assert run("finetune_vit.py", *flags, "--resume")[0] == 0
    whole, parts = (tg.load(tmp_path / name) for name in ("whole.safetensors", "w.safetensors"))
    assert all(whole[name].numpy().tobytes() == parts[name].numpy().tobytes() for name in whole)
    assert tg.checkpoint.load_metadata(tmp_path / "w.safetensors")["model"] == "vit_tiny"


def test_the_large_one_sees_large_colour_images(run: Run, tiny: list, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one narrow block in the place of twelve wide ones."""
    shapes = []

    def narrow(weights: str | None) -> models.VisionTransformer:
        model = models.VisionTransformer(224, 56, 1, 1, 8, 8)
        model.register_forward_pre_hook(lambda _, args: shapes.append(tuple(args[0].shape[1:])))
        return load_weights(model, weights, "vit_b_16")

    monkeypatch.setattr(models, "vit_b_16", narrow)
    flags = ["--model", "vit_b_16", "--epochs", 1, "--limit-train", 20, "--limit-test", 2]
    assert run("finetune_vit.py", *tiny, *flags)[0] == 0
    assert set(shapes) == {(3, 224, 224)}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--weights", "cnn.safetensors"], "Error(s) in loading state_dict for VisionTransformer"),
        (["--model", "vit_huge"], "argument --model: invalid choice: 'vit_huge'"),
        (["--layer-decay", 2], "argument --layer-decay: expected a number from 0.01 to 1, got '2'"),
        (["--limit-train", 3], "argument --limit-train: expected at least 20"),
        (["--resume"], "there is no checkpoint in w.checkpoints"),
    ],
)
def test_bad_input(run: Run, tiny: list, tmp_path: Path, flags: list, message: str) -> None:
    tg.save(models.cnn().state_dict(), tmp_path / "cnn.safetensors")
    code, _, err = run("finetune_vit.py", *tiny, *flags)
    assert code == 2
    assert message in err
    assert "Traceback" not in err
