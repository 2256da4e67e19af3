"""fit: a run that is stopped, wherever that may be, goes on bit for bit."""

import io
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_job import Job, measured, stop_after

import tinygrad_mnist as tg
from tinygrad_mnist.checkpoint import CheckpointError
from tinygrad_mnist.training import EarlyStopping, fit
from tinygrad_mnist.training.interrupt import Interrupted
from tinygrad_mnist.utils.data import DataLoader

pytestmark = pytest.mark.usefixtures("default_device")


class Press:
    """A batch source that presses Ctrl-C when it is asked for batch `at` for the first time."""

    def __init__(self, batches: Any, at: int):
        self.batches, self.at = batches, at

    def __iter__(self) -> Iterator[Any]:
        for i, batch in enumerate(self.batches):
            if i == self.at:
                os.kill(os.getpid(), signal.SIGINT)
            yield batch


@pytest.mark.parametrize("step", [1, 7, 10, 32, 33, 34, 50, 65, 66])
def test_interrupted_and_resumed_is_the_same(reference: Job, tmp_path: Path, step: int) -> None:
    stopped = Job(tmp_path)
    stop_after(stopped, step)
    with pytest.raises(Interrupted):
        stopped.fit(valid_loader=DataLoader(stopped.set, 50))
    resumed = Job(tmp_path)
    state = resumed.checkpoints.latest()
    assert resumed.checkpoints.newest == stopped.checkpoints.newest
    assert state["position"]["step"] == step
    tg.rand(3)  # other draws in between do not matter
    resumed.fit(valid_loader=DataLoader(resumed.set, 50), resume=state)
    assert resumed.result() == reference.result()
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == 10


@pytest.mark.parametrize("batch", [0, 2])
def test_interrupted_in_validation_and_resumed_is_the_same(reference: Job, tmp_path: Path, batch: int) -> None:
    stopped = Job(tmp_path)
    with pytest.raises(Interrupted):
        stopped.fit(valid_loader=Press(DataLoader(stopped.set, 50), batch))
    resumed = Job(tmp_path)
    resumed.fit(valid_loader=DataLoader(resumed.set, 50), resume=resumed.checkpoints.latest())
    assert resumed.result() == reference.result()


def test_interrupted_during_a_save_and_resumed_is_the_same(
    reference: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def press_and_sync(descriptor: int, fsync: Callable = os.fsync) -> None:
        monkeypatch.setattr(os, "fsync", fsync)
        os.kill(os.getpid(), signal.SIGINT)
        fsync(descriptor)

    stopped = Job(tmp_path)
    monkeypatch.setattr(os, "fsync", press_and_sync)
    with pytest.raises(Interrupted):
        stopped.fit(valid_loader=DataLoader(stopped.set, 50))
    resumed = Job(tmp_path)
    resumed.fit(valid_loader=DataLoader(resumed.set, 50), resume=resumed.checkpoints.latest())
    assert resumed.result() == reference.result()


def test_interrupted_during_the_last_save(tmp_path: Path) -> None:
    job = Job(tmp_path)
    save = job.checkpoints.save

    def press_at_the_end(state: Any, step: int, best: bool) -> Path:
        if step == 66:
            os.kill(os.getpid(), signal.SIGINT)
        return save(state, step, best)

    job.checkpoints.save = press_at_the_end
    with pytest.raises(KeyboardInterrupt):
        job.fit()
    assert job.checkpoints.latest()["position"]["epoch"] == 2


def test_a_second_interrupt_acts_at_once(tmp_path: Path) -> None:
    job = Job(tmp_path)
    job.checkpoints.save = lambda *_: os.kill(os.getpid(), signal.SIGINT)  # the one after step 10, then the last one
    with pytest.raises(KeyboardInterrupt) as stop:
        job.fit()
    assert not isinstance(stop.value, Interrupted)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_interrupted_without_checkpoints(tmp_path: Path) -> None:
    job = Job(tmp_path)
    stop_after(job, 5)
    with pytest.raises(Interrupted):
        job.fit(checkpoints=None)
    assert job.history.rows == []


def test_a_loader_with_a_generator_of_its_own(tmp_path: Path) -> None:
    """Then dropout draws from the default generator alone, whose state is saved too."""

    def job() -> Job:
        made = Job(tmp_path)
        made.loader = DataLoader(made.set, batch_size=4, shuffle=True, generator=tg.Generator().manual_seed(3))
        return made

    whole, stopped = job(), job()
    tg.manual_seed(9)
    whole.fit()
    tg.manual_seed(9)
    stop_after(stopped, 45)
    with pytest.raises(Interrupted):
        stopped.fit()
    resumed = job()
    resumed.fit(resume=resumed.checkpoints.latest())
    assert resumed.result() == whole.result()


def test_every_checkpoint_of_a_run_goes_on_the_same(
    reference: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint after every row, each resumed from."""
    monkeypatch.setitem(fit.__globals__, "SECONDS_BETWEEN_CHECKPOINTS", 0)
    monkeypatch.setitem(fit.__globals__, "LARGEST_SHARE_OF_SAVING", 1e9)
    saved = []
    whole = Job(tmp_path)
    whole.checkpoints.save = lambda state, *_: saved.append(tg.checkpoint.to_bytes(state))
    whole.fit(valid_loader=DataLoader(whole.set, 50))
    assert len(saved) == 8
    assert whole.result() == reference.result()
    for content in saved:
        resumed = Job(tmp_path)
        resumed.fit(valid_loader=DataLoader(resumed.set, 50), resume=tg.load(io.BytesIO(content)))
        assert resumed.result() == reference.result()


def test_early_stopping_goes_on_when_resumed(tmp_path: Path) -> None:
    whole = Job(tmp_path, epochs=50, lr=0.5, noise=0.5)
    whole.fit(valid_loader=[whole.set.tensors], early_stopping=EarlyStopping(2))
    parts = Job(tmp_path, epochs=50, lr=0.5, noise=0.5)
    stop_after(parts, 50)
    with pytest.raises(Interrupted):
        parts.fit(valid_loader=[parts.set.tensors], early_stopping=EarlyStopping(2))
    resumed = Job(tmp_path, epochs=50, lr=0.5, noise=0.5)
    state = resumed.checkpoints.latest()
    resumed.fit(valid_loader=[resumed.set.tensors], early_stopping=EarlyStopping(2), resume=state)
    assert resumed.result() == whole.result()
    finished = Job(tmp_path, epochs=50, lr=0.5, noise=0.5)
    state = finished.checkpoints.latest()
    finished.fit(valid_loader=[finished.set.tensors], early_stopping=EarlyStopping(2), resume=state)
    assert finished.result() == whole.result()


@pytest.mark.parametrize("step", [20, 33, 40])
def test_a_measured_run_goes_on_bit_for_bit(tmp_path: Path, step: int) -> None:
    whole = Job(tmp_path)
    whole.fit(measure=measured(whole))
    stopped = Job(tmp_path)
    stop_after(stopped, step)
    with pytest.raises(Interrupted):
        stopped.fit(measure=measured(stopped))
    resumed = Job(tmp_path)
    resumed.fit(measure=measured(resumed), resume=resumed.checkpoints.latest())
    assert resumed.result() == whole.result()


def test_resuming_a_finished_run_changes_nothing(reference: Job, tmp_path: Path) -> None:
    again = Job(tmp_path / "reference")
    again.fit(valid_loader=DataLoader(again.set, 50), resume=again.checkpoints.latest())
    assert again.result() == reference.result()


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"0.weight": np.zeros(1)}, "not the state of such a training run"),
        ([1], "not the state of such a training run"),
    ],
)
def test_resume_from_something_else(tmp_path: Path, state: Any, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        Job(tmp_path).fit(resume=state)


def test_resume_with_other_settings(tmp_path: Path) -> None:
    Job(tmp_path).fit(settings={"lr": 0.1, "seed": 1})
    job = Job(tmp_path)
    with pytest.raises(CheckpointError, match=r"the run to resume had lr=0\.1, this one has 0\.2"):
        job.fit(settings={"lr": 0.2, "seed": 1}, resume=job.checkpoints.latest())
    assert job.history.rows == []
