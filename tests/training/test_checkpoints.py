"""CheckpointManager: what it keeps, and what it does with damaged files."""

import os
from pathlib import Path

import numpy as np
import pytest

from tinygrad_mnist.checkpoint import CheckpointError, load, save
from tinygrad_mnist.training import CheckpointManager


def names(folder: Path) -> list[str]:
    return sorted(path.name.removeprefix("step-000000").removesuffix(".safetensors") for path in folder.iterdir())


@pytest.fixture
def manager(tmp_path: Path) -> CheckpointManager:
    return CheckpointManager(tmp_path / "run")


def test_keeps_the_last_two_and_the_best(manager: CheckpointManager) -> None:
    assert manager.latest() is None
    assert manager.newest is None
    for step in range(100, 600, 100):
        path = manager.save({"step": step}, step, best=step == 200)
        assert manager.newest == path
    assert names(manager.folder) == ["400", "500", "best"]
    assert load(manager.folder / "best.safetensors") == {"step": 200}
    assert manager.latest() == {"step": 500}


def test_saving_a_step_again_replaces_it(manager: CheckpointManager) -> None:
    for step, state in [(100, "a"), (200, "b"), (200, "c")]:
        manager.save(state, step)
    assert names(manager.folder) == ["100", "200"]
    assert manager.latest() == "c"


def test_tensors_come_back(manager: CheckpointManager) -> None:
    manager.save({"w": np.arange(3.0)}, 100)
    assert manager.latest()["w"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("content", [b"", b"garbage", "half"])
def test_damaged_newest_falls_back_and_tells(manager: CheckpointManager, content: bytes | str) -> None:
    manager.save({"step": 100}, 100)
    path = manager.save({"step": 200}, 200)
    path.write_bytes(path.read_bytes()[:-20] if isinstance(content, str) else content)
    with pytest.warns(UserWarning, match=r"000200\.safetensors.*going on from .*000100\.safetensors"):
        assert manager.latest() == {"step": 100}
    assert manager.newest == manager.folder / "step-000000100.safetensors"
    manager.save({"step": 150}, 150)
    assert names(manager.folder) == ["100", "150"]


def test_all_damaged(manager: CheckpointManager) -> None:
    for step in (100, 200):
        manager.save({}, step).write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"no checkpoint is whole: .*000200.* is empty.*000100.* is empty"):
        manager.latest()


def test_a_new_run_replaces_an_earlier_one_only_when_it_has_saved(manager: CheckpointManager) -> None:
    for step in (800, 900):
        manager.save({}, step)
    fresh = CheckpointManager(manager.folder)
    assert names(manager.folder) == ["800", "900"]
    fresh.save({"new": True}, 100)
    assert names(manager.folder) == ["100"]


def test_a_resumed_run_keeps_what_it_came_from(manager: CheckpointManager) -> None:
    for step in (100, 200):
        manager.save({}, step)
    resumed = CheckpointManager(manager.folder)
    resumed.latest()
    resumed.save({}, 300)
    assert names(manager.folder) == ["200", "300"]


def test_keep_one(tmp_path: Path) -> None:
    manager = CheckpointManager(tmp_path, keep=1)
    for step in (100, 200):
        manager.save({}, step)
    assert names(tmp_path) == ["200"]
    with pytest.raises(ValueError, match="keep >= 1, got 0"):
        CheckpointManager(tmp_path, keep=0)


def test_files_of_others_stay(manager: CheckpointManager) -> None:
    (manager.folder / "notes.txt").write_text("mine")
    save({}, manager.folder / "mine.safetensors")
    for step in (100, 200, 300):
        manager.save({}, step)
    assert names(manager.folder) == ["200", "300", "mine", "notes.txt"]


def test_stale_temporaries_are_removed_at_the_start(tmp_path: Path) -> None:
    (tmp_path / ".checkpoint-1.tmp").write_bytes(b"half")
    CheckpointManager(tmp_path)
    assert not any(tmp_path.iterdir())


def test_bad_folders_show_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError):
        CheckpointManager(tmp_path / "missing" / "run")
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError):
        CheckpointManager(tmp_path / "file")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    with pytest.raises(PermissionError, match="cannot write checkpoints into this folder"):
        CheckpointManager(tmp_path)


def test_what_to_resume_from(manager: CheckpointManager, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no checkpoint in .*run; start without --resume"):
        manager.state()
    manager.save({"step": 100}, 100)
    save({"step": 7}, tmp_path / "other")
    assert manager.state() == manager.state("") == {"step": 100}
    assert manager.state(tmp_path / "other") == {"step": 7}
