"""examples/pretrain.py, run as people run it: every method, stopped and resumed, and given nonsense."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
from PIL import Image

from tinygrad_mnist import checkpoint, datasets, models
from tinygrad_mnist.datasets.idx import write_idx

SCRIPT = Path(__file__).parents[2] / "examples" / "pretrain.py"
ENV = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"}
METHODS = {"rotation": "strided_cnn", "simclr": "strided_cnn", "mae": "vit_tiny", "dcgan": "strided_cnn",
           "supervised": "strided_cnn"}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the first 360 training images of MNIST: 330 for pretraining, 30 to score on."""
    folder = tmp_path_factory.mktemp("mnist")
    mnist = datasets.MNIST()
    write_idx(folder / "train-images-idx3-ubyte", mnist.data.numpy()[:360])
    write_idx(folder / "train-labels-idx1-ubyte", mnist.targets.numpy()[:360].astype(np.uint8))
    return folder


def start(folder: Path, *flags: Any) -> subprocess.Popen:
    """Start the example in `folder`, with Ctrl-C working as in a terminal."""
    return subprocess.Popen(
        [sys.executable, SCRIPT, *flags],
        cwd=folder,
        env=ENV,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def run(folder: Path, *flags: Any) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    with start(folder, *flags) as process:
        out, err = process.communicate(timeout=300)
    return process.returncode, out, err


@pytest.mark.parametrize(("method", "model"), METHODS.items())
def test_each_method(method: str, model: str, data: Path, tmp_path: Path) -> None:
    flags = ["--method", method, "--data-dir", data, "--epochs", 2, "--batch-size", 30, "--json", "h.jsonl"]
    code, out, err = run(tmp_path, *map(str, flags))
    assert (code, err) == (0, "")
    first, second, last = out.splitlines()
    for line, epoch in ((first, 1), (second, 2)):
        assert line.startswith(f"epoch {epoch}/2: loss ")
        assert ("accuracy" in line) == (method in ("rotation", "supervised"))
    assert last == f"the encoder, a {model} without its head, is in {method}.safetensors"
    path = tmp_path / f"{method}.safetensors"

    rows = [json.loads(line) for line in (tmp_path / "h.jsonl").read_text().splitlines()]
    measures = [row for row in rows if row["part"] == "measure"]
    assert [row["epoch"] for row in measures] == [1, 2]
    assert second.endswith(f"; probe {measures[1]['probe']:.4f}, knn {measures[1]['knn']:.4f}")
    assert all(0 <= row[name] <= 1 for row in measures for name in ("probe", "knn"))

    metadata = checkpoint.load_metadata(path)
    assert (metadata["model"], metadata["method"]) == (model, method)
    network = getattr(models, model)(num_classes=7, weights=path)
    head = "heads." if model == "vit_tiny" else "fc."
    weights = safetensors.torch.load_file(path)
    own = network.state_dict()
    assert weights.keys() == {name for name in own if not name.startswith(head)}
    assert all(np.array_equal(w.numpy(), own[name].numpy()) for name, w in weights.items())
    if method == "dcgan":
        with Image.open(tmp_path / "dcgan.png") as image:
            assert image.size == (280, 280)
            assert np.asarray(image.convert("L")).std() > 1
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        ["h.jsonl", path.name, f"{method}.checkpoints", *(["dcgan.png"] if method == "dcgan" else [])]
    )


@pytest.mark.parametrize("method", ["simclr", "mae", "dcgan"])
def test_a_stopped_run_goes_on_bit_for_bit(method: str, data: Path, tmp_path: Path) -> None:
    flags = ["--method", method, "--data-dir", str(data), "--epochs", "2", "--batch-size", "30"]
    (tmp_path / "whole").mkdir()
    assert run(tmp_path / "whole", *flags)[0] == 0
    with start(tmp_path, *flags) as process:
        folder = tmp_path / f"{method}.checkpoints"
        while not list(folder.glob("step-*")):
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "Stopped; everything is in" in err
    assert err.rstrip().endswith("--resume")
    assert not (tmp_path / f"{method}.safetensors").exists()
    assert run(tmp_path, *flags, "--resume")[0] == 0
    whole, resumed = (
        safetensors.torch.load_file(place / f"{method}.safetensors") for place in (tmp_path / "whole", tmp_path)
    )
    assert all(whole[name].numpy().tobytes() == w.numpy().tobytes() for name, w in resumed.items())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "the following arguments are required: --method"),
        (["--method", "jigsaw"], "invalid choice: 'jigsaw'"),
        (["--method", "mae", "--limit-train", "331"], "argument --limit-train: expected at most 330 images, got 331"),
        (["--method", "mae", "--batch-size", "331"], "expected at most 330, the images there are"),
        (["--method", "mae", "--resume"], "there is no checkpoint in mae.checkpoints; start without --resume"),
        (["--method", "mae", "--resume", "nothing"], "No such file or directory: 'nothing'"),
        (["--method", "mae", "--data-dir", "."], "argument --data-dir: "),
        (["--method", "mae", "--save", "nowhere/x"], "argument --save: there is no folder 'nowhere'"),
    ],
)
def test_nonsense(flags: list[str], message: str, data: Path, tmp_path: Path) -> None:
    given = flags if "--data-dir" in flags else [*flags, "--data-dir", str(data)]
    (tmp_path / "train-images-idx3-ubyte").write_bytes(b"damaged")
    code, out, err = run(tmp_path, *given)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.glob("*.safetensors"))


def test_another_method_s_checkpoint(data: Path, tmp_path: Path) -> None:
    flags = ["--data-dir", str(data), "--epochs", "1", "--batch-size", "30", "--limit-train", "30", "--save", "w"]
    assert run(tmp_path, "--method", "simclr", *flags)[0] == 0
    code, _, err = run(tmp_path, "--method", "mae", *flags, "--resume")
    assert code == 2
    assert "this one has" in err


def test_without_matplotlib_the_gan_says_so_before_it_trains(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "matplotlib.py").write_text("raise ImportError('gone')")
    monkeypatch.setitem(ENV, "PYTHONPATH", str(tmp_path))
    code, out, err = run(tmp_path, "--method", "dcgan", "--data-dir", str(data))
    assert (code, out) == (2, "")
    assert "--method dcgan needs matplotlib: pip install 'tinygrad_mnist[plot]'" in err
    assert not (tmp_path / "dcgan.checkpoints").exists()
