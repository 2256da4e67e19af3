"""fit: runs that cannot go on, and what they leave."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_job import Job

import tinygrad_mnist as tg
from tinygrad_mnist import nn
from tinygrad_mnist.training import CheckpointManager, DivergedError

pytestmark = pytest.mark.usefixtures("default_device")


class BadAfter:
    """A loss that becomes `value` at call `at`."""

    def __init__(self, at: int, value: float):
        self.calls, self.at, self.value = 0, at, value

    def __call__(self, outputs: tg.Tensor, targets: tg.Tensor) -> tg.Tensor:
        self.calls += 1
        return nn.functional.cross_entropy(outputs, targets) * (self.value if self.calls >= self.at else 1.0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(("at", "epoch", "batch"), [(1, 1, 1), (17, 1, 17), (40, 2, 7)])
def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path, value: float, at: int, epoch: int, batch: int) -> None:
    job = Job(tmp_path)
    text = rf"the loss became {value} at step {at} \(epoch {epoch}, batch {batch}\)\. Try a lower"
    with pytest.raises(DivergedError, match=text) as error:
        job.fit(loss_fn=BadAfter(at, value))
    newest = job.checkpoints.newest
    assert (f"The last good checkpoint is {newest}" if newest else "No checkpoint was saved") in str(error.value)
    assert (newest is None) == (at == 1)
    if newest is not None:
        assert all(w.isfinite().all() for w in tg.load(newest)["model"].values())


def test_weights_that_are_no_numbers_are_not_saved(tmp_path: Path) -> None:
    job = Job(tmp_path)
    step, count = job.optimizer.step, iter(range(1, 100))

    def spoil() -> None:
        step()
        if next(count) == 10:  # the loss of this batch was still good
            job.model[0].bias.detach().fill_(np.inf)

    job.optimizer.step = spoil
    with pytest.raises(DivergedError, match="the weights became NaN or infinite at step 10"):
        job.fit()
    assert job.checkpoints.newest is None


def test_a_huge_learning_rate(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match="Try a lower learning rate"):
        Job(tmp_path, lr=1e20).fit(checkpoints=None)


def test_a_disk_that_fills_up_keeps_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job, save = Job(tmp_path), CheckpointManager.save

    def full(self: CheckpointManager, *arguments: Any) -> Path:
        if self.newest:
            monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        return save(self, *arguments)

    monkeypatch.setattr(CheckpointManager, "save", full)
    with pytest.raises(OSError, match="could not save, and left what was there: No space left"):
        job.fit()
    assert [p.name for p in job.checkpoints.folder.iterdir()] == ["step-000000010.safetensors"]
    assert job.checkpoints.latest()["position"]["step"] == 10
