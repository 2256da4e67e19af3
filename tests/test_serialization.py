"""tg.save and tg.load, as PyTorch scripts use them."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_mnist as tg
from tinygrad_mnist import nn, optim

pytestmark = pytest.mark.usefixtures("default_device")


def test_state_dict_of_a_model(tmp_path: Path, device: str) -> None:
    model, other = (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).to(device) for _ in range(2))
    tg.save(model.state_dict(), tmp_path / "model.pt")
    loaded = tg.load(tmp_path / "model.pt", map_location=device, weights_only=True)
    assert list(loaded) == list(model.state_dict())
    assert all(type(value) is tg.Tensor and value.device.type == tg.device(device).type for value in loaded.values())
    other.load_state_dict(loaded)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[name].numpy(force=True), value.numpy(force=True), strict=True)


def test_training_state(tmp_path: Path) -> None:
    model = nn.Linear(2, 2)
    optimizer = optim.Adam(model.parameters())
    model(tg.ones(1, 2)).sum().backward()
    optimizer.step()
    state = {"epoch": 3, "model": model.state_dict(), "optimizer": optimizer.state_dict(), "rng": tg.get_rng_state()}
    tg.save(state, tmp_path / "run.pt")
    drawn = tg.rand(3).tolist()
    loaded = tg.load(tmp_path / "run.pt")
    other = optim.Adam(nn.Linear(2, 2).parameters())
    other.load_state_dict(loaded["optimizer"])
    assert str(other.state_dict()) == str(optimizer.state_dict())
    tg.set_rng_state(loaded["rng"])
    assert tg.rand(3).tolist() == drawn
    assert loaded["epoch"] == 3


@pytest.mark.parametrize("obj", [tg.tensor(2.5), tg.zeros(0, 2), tg.tensor([True])])
def test_single_tensor(obj: tg.Tensor) -> None:
    file = io.BytesIO()
    tg.save(obj, file)
    file.seek(0)
    found = tg.load(file)
    np.testing.assert_array_equal(found.numpy(force=True), obj.numpy(force=True), strict=True)


@pytest.mark.parametrize("obj", [(1, [2.5, None]), {"a": (True, "x"), 3: []}, [()]])
def test_containers_keep_their_types(obj: Any) -> None:
    file = io.BytesIO()
    tg.save(obj, file)
    file.seek(0)
    assert tg.load(file) == obj


def test_parameters_are_saved_without_history() -> None:
    weight = nn.Parameter(tg.ones(2))
    file = io.BytesIO()
    tg.save({"leaf": weight, "result": weight * 2}, file)
    file.seek(0)
    found = tg.load(file)
    assert found["result"].tolist() == [2, 2]
    assert not found["leaf"].requires_grad
    found["leaf"] += 1  # loaded memory may be changed
    assert weight.tolist() == [1, 1]
