"""examples/finetune.py: what it says and leaves, that its draws repeat, and wrong weights of every kind."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import tinygrad_mnist as tg
from tinygrad_mnist import models, training

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights without a head, as pretraining leaves them."""
    path = tmp_path_factory.mktemp("weights") / "encoder.safetensors"
    state = {name: w for name, w in models.strided_cnn().state_dict().items() if not name.startswith("fc.")}
    tg.save(state, path, metadata={"model": "strided_cnn"})
    return path


@pytest.fixture
def tiny(digits: Path) -> list[object]:
    """Flags that make it quick."""
    return ["--data-dir", digits, "--steps", 3, "--batch-size", 4, "--draws", 2]


@pytest.mark.parametrize("mode", ["probe", "head", "full", "discriminative"])
def test_each_mode_against_scratch(run: Run, encoder: Path, tiny: list, tmp_path: Path, mode: str) -> None:
    flags = ["--weights", encoder, *tiny, "--mode", mode, "--labels-per-class", 2, "all", "--save", "out.safetensors"]
    code, out, err = run("finetune.py", *flags)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    runs = [(count, draw, m) for count in (2, "all") for draw in (1, 2) for m in ("scratch", mode)]
    assert [line.rpartition(": ")[0] for line in lines[:8]] == [
        f"{count} labels per class, draw {draw}, {m}" for count, draw, m in runs
    ]
    assert lines[8:10] == ["", "accuracy on the test images, mean ± sd over 2 draws of the labels, %"]
    assert lines[10].split() == ["labels", "per", "class", "scratch", mode]
    got = {run: float(line.split()[-2]) for run, line in zip(runs, lines, strict=False)}
    for count, line in zip((2, "all"), lines[11:], strict=True):
        shown = [float(word) for word in line.split()[1:] if word != "±"]
        for m, mean, sd in zip(("scratch", mode), shown[::2], shown[1::2], strict=True):
            two = [got[count, draw, m] for draw in (1, 2)]
            assert mean == pytest.approx(np.mean(two), abs=0.0051)
            assert sd == pytest.approx(np.std(two, ddof=1), abs=0.0051)

    saved = models.strided_cnn(weights=tmp_path / "out.safetensors")
    before = models.strided_cnn(weights=encoder)
    same = np.array_equal(saved.block1[0].weight.detach().numpy(), before.block1[0].weight.detach().numpy())
    assert same == (mode in ("probe", "head"))
    assert tg.checkpoint.load_metadata(tmp_path / "out.safetensors")["model"] == "strided_cnn"


def test_plot_and_runs_that_are_kept(run: Run, encoder: Path, tiny: list, tmp_path: Path) -> None:
    flags = ["--weights", encoder, *tiny, "--mode", "probe", "--labels-per-class", 1, 2, "--json", "r.jsonl"]
    code, out, _ = run("finetune.py", *flags)
    assert code == 0
    rows = (tmp_path / "r.jsonl").read_text().splitlines()
    assert len(rows) == 8
    (tmp_path / "r.jsonl").write_text("".join(f"{row}\n" for row in rows[:5]))  # as if stopped after five
    code, again, _ = run("finetune.py", *flags, "--plot", "p.png")
    assert code == 0
    assert again.splitlines() == [*out.splitlines()[5:8], *out.splitlines()[8:]]  # the same numbers
    assert (tmp_path / "r.jsonl").read_text().splitlines() == rows
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "p.png").stat().st_size > 5000
    _, other, _ = run("finetune.py", *flags, "--seed", 7)
    assert other.splitlines()[-2:] != out.splitlines()[-2:]


@pytest.mark.parametrize("how", ["pseudo-labels", "fixmatch"])
def test_unlabelled_images_and_some_classes(how: str, run: Run, encoder: Path, tiny: list, tmp_path: Path) -> None:
    flags = ["--weights", encoder, *tiny, "--labels-per-class", 2, "--classes", 5, 7, 8, "--validation"]
    more = ["--unlabelled", how, "--unlabelled-steps", 2, "--threshold", 0]
    more += ["--json", "r.jsonl", "--save", "out.safetensors"]
    code, out, err = run("finetune.py", *flags, *more)
    assert (code, err) == (0, "")
    assert "accuracy on the held-out training images" in out
    modes = ["scratch", "discriminative", "discriminative + unlabelled"] * 2
    assert [json.loads(row)["mode"] for row in (tmp_path / "r.jsonl").read_text().splitlines()] == modes
    assert tg.load(tmp_path / "out.safetensors")["fc.weight"].shape == (3, 256)


def test_from_scratch_alone(run: Run, tiny: list) -> None:
    code, out, _ = run("finetune.py", "--mode", "scratch", "--model", "lenet5", *tiny, "--labels-per-class", 1)
    assert code == 0
    assert out.splitlines()[-2].split() == ["labels", "per", "class", "scratch"]
    flags = ["--mode", "scratch", "--model", "lenet5", "--labels-per-class", 1]
    _, out, _ = run("finetune.py", *flags, *tiny, "--draws", 1)
    assert "±" not in out.splitlines()[-1]


def test_colour_weights_and_torchs_format(run: Run, tiny: list, tmp_path: Path) -> None:
    state = {f"module.{name}": torch.tensor(w.numpy()) for name, w in models.resnet20().state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "resnet20.th")
    flags = ["--weights", "resnet20.th", "--model", "resnet20", "--labels-per-class", 1, *tiny, "--steps", 1]
    assert run("finetune.py", *flags)[0] == 0


def test_stopped(run: Run, encoder: Path, tiny: list, monkeypatch: pytest.MonkeyPatch) -> None:
    def press(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "fit", press)
    flags = ["--weights", encoder, *tiny, "--labels-per-class", 1]
    assert run("finetune.py", *flags) == (130, "", "\nStopped; --json would keep the runs\n")
    message = "\nStopped; the same command goes on after the last finished run\n"
    assert run("finetune.py", *flags, "--json", "r.jsonl") == (130, "", message)


@pytest.fixture
def bad_weights(tmp_path: Path, encoder: Path) -> None:
    """Files that are no weights of a strided_cnn."""
    tg.save(models.cnn().state_dict(), tmp_path / "cnn.safetensors", metadata={"model": "strided_cnn"})
    tg.save(models.cnn().state_dict(), tmp_path / "nameless.safetensors")
    tg.save(models.cnn().state_dict(), tmp_path / "odd.safetensors", metadata={"model": "CNN"})
    torch.save({name: torch.tensor(w.numpy()) for name, w in models.cnn().state_dict().items()}, tmp_path / "whole.pth")
    whole = (tmp_path / "whole.pth").read_bytes()
    (tmp_path / "half.pth").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "hostile.pth").write_bytes(b"\x80\x02cposix\nsystem\nX\x04\x00\x00\x00exit\x85R.")
    (tmp_path / "lying.safetensors").write_bytes((2**40).to_bytes(8, "little") + encoder.read_bytes()[8:])
    colour = models.StridedCNN(in_channels=3)
    tg.save(colour.state_dict(), tmp_path / "colour.safetensors", metadata={"model": "strided_cnn"})


@pytest.mark.usefixtures("bad_weights")
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--weights", "cnn.safetensors"], "No name fits: this is the state_dict of another architecture"),
        (["--weights", "nameless.safetensors"], "does not say which network it is of; say it: --model cnn"),
        (["--weights", "odd.safetensors"], "'CNN' is none of cnn, lenet5, resnet18"),
        (["--weights", "half.pth", "--model", "cnn"], "half.pth"),
        (["--weights", "hostile.pth", "--model", "cnn"], "posix"),
        (["--weights", "lying.safetensors"], "announces a header of 1,099,511,627,776 bytes"),
        (["--weights", "colour.safetensors"], "adapt_first_conv(model, 1), or keep the 3"),
        (["--weights", "missing.pth", "--model", "cnn"], "there is no such file"),
        (["--weights", "missing.safetensors"], "No such file"),
        (["--weights", "https://localhost:1/x-00000000.pth", "--model", "cnn"], "could not download x-00000000.pth"),
        ([], "argument --weights: needed"),
        (["--labels-per-class", 12], "12 asked for, but a class has only 6 images"),
        (["--labels-per-class", 0], "expected a whole number of at least 1, got '0'"),
        (["--classes", 3, 3], "at least two different ones, got [3, 3]"),
        (["--plot", "p.png"], "needs matplotlib: pip install 'tinygrad_mnist[plot]'"),
        (["--save", "nowhere/w.pth"], "there is no folder 'nowhere'"),
        (["--lr", "nan"], "argument --lr: expected a number"),
    ],
)
def test_bad_input(
    run: Run, encoder: Path, tiny: list, flags: list, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    weights = [] if "--weights" in flags or not flags else ["--weights", encoder]
    code, out, err = run("finetune.py", *tiny, *weights, "--labels-per-class", 1, *flags)
    assert (code, out) == (2, "")  # before anything was trained
    assert message in err
    assert "Traceback" not in err
