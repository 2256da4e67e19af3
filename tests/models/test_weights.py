"""Weights of models from files, addresses and names."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from https_mirror import Mirror

import tinygrad_mnist as tg
from tinygrad_mnist import models
from tinygrad_mnist.models import weights

pytestmark = pytest.mark.usefixtures("default_device")


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    return {name: torch.tensor(value.numpy(force=True)) for name, value in models.lenet5().state_dict().items()}


def same(model: tg.nn.Module, state: dict) -> None:
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(force=True), state[name].numpy(force=True), name)


@pytest.mark.parametrize("make", [models.cnn, models.lenet5, models.resnet20, models.strided_cnn, models.vit_tiny])
def test_every_small_network_takes_weights(tmp_path: Path, make) -> None:
    saved = make().state_dict()
    tg.save(saved, tmp_path / "weights.safetensors")
    same(make(weights=tmp_path / "weights.safetensors"), saved)


def load(path: Path | str, name: str = "lenet5") -> tg.nn.Module:
    return weights.load_weights(models.lenet5(), path, name, progress=False)


@pytest.mark.parametrize("wrap", [
    lambda s: s,
    lambda s: {"state_dict": s, "epoch": 3},
    lambda s: {"model": s},
    lambda s: {"state_dict": {f"module.{k}": v for k, v in s.items()}},
], ids=["plain", "state_dict", "model", "data-parallel"])  # fmt: skip
def test_from_a_file(tmp_path: Path, state: dict, wrap) -> None:
    torch.save(wrap(state), tmp_path / "weights.pth")
    same(load(tmp_path / "weights.pth"), state)


def test_none_changes_nothing() -> None:
    model = models.lenet5()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    same(weights.load_weights(model, None, "lenet5"), before)


def test_old_names_of_the_vision_transformer() -> None:
    old = {"encoder.layers.encoder_layer_0.mlp.linear_1.weight": np.ones(1), "a.mlp.linear_2.bias": np.zeros(1)}
    assert list(weights.state_dict_of(old, "file")) == ["encoder.layers.encoder_layer_0.mlp.0.weight", "a.mlp.3.bias"]


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {"state_dict": {"a": 1.0}}, torch.zeros(2)])
def test_files_without_a_state_dict(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=r"weights\.pth holds no state dict"):
        load(tmp_path / "weights.pth")


def test_weights_of_another_network_are_listed(tmp_path: Path) -> None:
    tg.save(models.cnn().state_dict(), tmp_path / "cnn.safetensors")
    with pytest.raises(RuntimeError, match=r"(?s)missing +fc3\.weight.*mis-shaped +conv1\.weight"):
        load(tmp_path / "cnn.safetensors")


def test_download(tmp_path: Path, state: dict, mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    torch.save(state, tmp_path / "weights.pth")
    body = (tmp_path / "weights.pth").read_bytes()
    name = f"lenet5-{hashlib.sha256(body).hexdigest()[:8]}.pth"
    url = mirror.serve(f"/{name}", body)
    monkeypatch.setitem(weights.PRETRAINED, ("lenet5", "MNIST_V1"), url)
    for _ in range(2):
        same(load(url), state)
        same(load("MNIST_V1"), state)
    assert (tmp_path / "cache/tinygrad_mnist/checkpoints" / name).read_bytes() == body
    assert len(mirror.requests) == 1
    wrong = mirror.serve("/lenet5-00000000.pth", body)
    with pytest.raises(RuntimeError, match=r"could not download lenet5-00000000\.pth"):
        load(wrong)


def test_unknown_names_and_missing_files() -> None:
    with pytest.raises(ValueError, match=r"there is no such file; .* or 'IMAGENET1K_V1'"):
        models.resnet18(weights="IMAGENET")
    with pytest.raises(ValueError, match=r"expected a path, an https:// address$"):
        load("nothing.pth")
    with pytest.raises(ValueError, match="expected an https:// address"):
        load("http://localhost/weights.pth")
