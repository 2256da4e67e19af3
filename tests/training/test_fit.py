"""fit: what it computes, writes down and prints. See test_fit_resumed.py for runs that are stopped."""

import itertools
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_job import Job, measured

import tinygrad_mnist as tg
from tinygrad_mnist import nn
from tinygrad_mnist.training import EarlyStopping, evaluate
from tinygrad_mnist.utils.data import DataLoader, TensorDataset

pytestmark = pytest.mark.usefixtures("default_device")


def test_it_learns_and_tells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = Job(tmp_path, epochs=4)
    job.fit()
    out, err = capsys.readouterr()
    assert evaluate(job.model, [job.set.tensors])[1] > 0.9
    lines = out.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("epoch 1/4: loss ")
    assert "images/s" in lines[0]
    assert err == ""  # no terminal, no bar


def test_it_does_what_a_written_out_loop_does(tmp_path: Path) -> None:
    ours, plain = Job(tmp_path), Job(tmp_path)
    tg.manual_seed(5)
    ours.fit()
    tg.manual_seed(5)
    losses = []
    for _ in range(2):
        for x, y in plain.loader:
            plain.optimizer.zero_grad()
            loss = nn.functional.cross_entropy(plain.model(x), y)
            loss.backward()
            plain.optimizer.step()
            plain.scheduler.step()
            losses.append((loss.item(), len(x)))
    assert ours.result()[1] == plain.result()[1]
    edges = [0, 10, 20, 30, 33, 43, 53, 63, 66]
    parts = [losses[start:stop] for start, stop in itertools.pairwise(edges)]
    expected = [sum(loss * n for loss, n in part) / sum(n for _, n in part) for part in parts]
    assert [row["loss"] for row in ours.history.rows] == pytest.approx(expected, rel=1e-12)


def test_rows_of_the_history(reference: Job, tmp_path: Path) -> None:
    rows = reference.history.rows
    assert [json.loads(line) for line in (tmp_path / "reference/history.jsonl").read_text().splitlines()] == rows
    assert [(r["part"], r["epoch"], r["step"]) for r in rows] == [
        ("train", 1, 10), ("train", 1, 20), ("train", 1, 30), ("train", 1, 33), ("valid", 1, 33),
        ("train", 2, 43), ("train", 2, 53), ("train", 2, 63), ("train", 2, 66), ("valid", 2, 66),
    ]  # fmt: skip
    for row in rows:
        assert list(row) == ["part", "epoch", "step", "loss", "accuracy", "images_per_second", "seconds"]
        assert 0 <= row["accuracy"] <= 1
        assert row["images_per_second"] > 0
    assert [r["seconds"] for r in rows] == sorted(r["seconds"] for r in rows)
    assert (rows[-1]["loss"], rows[-1]["accuracy"]) == evaluate(reference.model, DataLoader(reference.set, 50))


def test_it_trains_in_training_mode(tmp_path: Path) -> None:
    modes = []
    job = Job(tmp_path, epochs=1)
    job.model.eval()
    job.model.register_forward_hook(lambda model, *_: modes.append(model.training))
    job.fit(valid_loader=[job.set.tensors])
    assert modes == [True] * 33 + [False]


def test_it_runs_outside_the_main_thread(tmp_path: Path) -> None:
    job = Job(tmp_path)
    thread = threading.Thread(target=job.fit)
    thread.start()
    thread.join()
    assert job.history.rows[-1]["step"] == 66


def test_saving_takes_a_small_share_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock that only steps (1 s) and saves (2 s) move, saves come 200 s apart."""
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    job = Job(tmp_path, epochs=1)
    job.loader = DataLoader(TensorDataset(tg.zeros(500, 6), tg.zeros(500, dtype=tg.int64)))
    saved = []

    class Tick:
        def step(self) -> None:
            now[0] += 1

        def state_dict(self) -> dict:
            return {}

    def save(state: Any, step: int, best: bool) -> None:
        saved.append(step)
        now[0] += 2

    job.checkpoints.save = save
    job.epochs = 1
    job.fit(scheduler=Tick())
    assert saved == [10, 210, 410, 500]
    speeds = [row["images_per_second"] for row in job.history.rows]
    assert speeds[:3] == [1, 10 / 12, 1]  # with and without a save


def test_best_checkpoint_is_that_of_the_lowest_loss(tmp_path: Path) -> None:
    job = Job(tmp_path, epochs=3)
    losses = iter([3.0, 1.0, 2.0])
    job.checkpoints.save = lambda state, step, best: best_steps.append((step, best))
    best_steps: list = []

    def loss_fn(outputs: tg.Tensor, targets: tg.Tensor) -> tg.Tensor:
        return nn.functional.cross_entropy(outputs, targets) if outputs.requires_grad else tg.tensor(next(losses))

    job.fit(loss_fn=loss_fn, valid_loader=[job.set.tensors])
    assert [pair for pair in best_steps if pair[0] % 33 == 0] == [(33, True), (66, True), (99, False)]


def test_early_stopping_ends_and_restores(tmp_path: Path) -> None:
    job = Job(tmp_path, epochs=50, lr=0.5, noise=0.5)
    stopping = EarlyStopping(patience=2)
    job.fit(valid_loader=[job.set.tensors], early_stopping=stopping)
    valid = [row["loss"] for row in job.history.rows if row["part"] == "valid"]
    assert 3 <= len(valid) < 50
    assert min(valid) == valid[-3]
    assert evaluate(job.model, [job.set.tensors])[0] == valid[-3]


def test_quiet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = Job(tmp_path)
    job.fit(verbose=False)
    assert capsys.readouterr() == ("", "")
    assert len(job.history.rows) == 8


def test_figures_of_another_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain, job = Job(tmp_path), Job(tmp_path)
    tg.manual_seed(5)
    plain.fit()
    capsys.readouterr()
    tg.manual_seed(5)
    job.fit(measure=measured(job))
    assert job.result()[1] == plain.result()[1]  # measuring changes nothing
    rows = [row for row in job.history.rows if row["part"] == "measure"]
    assert [(row["epoch"], row["step"]) for row in rows] == [(1, 33), (2, 66)]
    assert rows[1]["norm"] == measured(job)()["norm"] != rows[0]["norm"]
    lines = capsys.readouterr().out.splitlines()
    for row, line in zip(rows, lines, strict=True):
        assert line.endswith(f" s; norm {row['norm']:.4f}, drawn {row['drawn']:.4f}")


def test_a_loss_that_is_not_about_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = Job(tmp_path)
    job.fit(loss_fn=lambda outputs, _: (outputs**2).mean(), valid_loader=[job.set.tensors], accuracy=False)
    assert {row["accuracy"] for row in job.history.rows} == {None}
    assert all(row["loss"] > 0 for row in job.history.rows)
    assert "accuracy" not in capsys.readouterr().out


def test_bad_arguments(tmp_path: Path) -> None:
    job = Job(tmp_path)
    with pytest.raises(ValueError, match="early_stopping needs a valid_loader"):
        job.fit(early_stopping=EarlyStopping(1))
    with pytest.raises(ValueError, match="expected max_grad_norm > 0, got nan"):
        job.fit(max_grad_norm=np.nan)
    job.loader = DataLoader(TensorDataset(tg.zeros(0, 6), tg.zeros(0, dtype=tg.int64)))
    with pytest.raises(ValueError, match="the loader has no batches"):
        job.fit()
