"""fit: what it computes, what it says, and that a stopped run goes on bit for bit."""

import io
import itertools
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_mnist as tg
from tinygrad_mnist import finetune, nn, optim, transforms
from tinygrad_mnist.checkpoint import CheckpointError
from tinygrad_mnist.training import CheckpointManager, DivergedError, EarlyStopping, History, evaluate, fit
from tinygrad_mnist.training.interrupt import Interrupted
from tinygrad_mnist.utils.data import DataLoader, TensorDataset

pytestmark = pytest.mark.usefixtures("default_device")

TIMES = ("images_per_second", "seconds")


class Job:
    """A small model with dropout, a shuffled loader of 33 batches, an optimizer with state, a schedule."""

    def __init__(self, folder: Path, lr: float = 0.05, epochs: int = 2, noise: float = 0.0):
        tg.manual_seed(1)
        rng = np.random.default_rng(0)
        x = rng.normal(size=(130, 6)).astype(np.float32)
        y = (x[:, :3].argmax(1) + (rng.random(130) < noise)) % 3
        self.set = TensorDataset(tg.tensor(x), tg.tensor(y))
        self.model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))
        self.loader = DataLoader(self.set, batch_size=4, shuffle=True)
        self.optimizer = optim.SGD(self.model.parameters(), lr=lr, momentum=0.9)
        self.scheduler = optim.lr_scheduler.OneCycleLR(self.optimizer, max_lr=lr, total_steps=epochs * 33)
        self.history = History(folder / "history.jsonl")
        self.checkpoints = CheckpointManager(folder / "checkpoints")
        self.epochs = epochs

    def fit(self, **arguments: Any) -> History:
        given = {"scheduler": self.scheduler, "history": self.history, "checkpoints": self.checkpoints, **arguments}
        return fit(self.model, self.loader, self.optimizer, self.epochs, **given)

    def result(self) -> tuple[list[dict], list[bytes]]:
        rows = [{key: value for key, value in row.items() if key not in TIMES} for row in self.history.rows]
        return rows, [w.numpy(force=True).tobytes() for w in self.model.state_dict().values()]


@pytest.fixture
def reference(tmp_path: Path) -> Job:
    """An uninterrupted run with validation."""
    (tmp_path / "reference").mkdir()
    job = Job(tmp_path / "reference")
    job.fit(valid_loader=DataLoader(job.set, 50))
    return job


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


class Press:
    """A batch source that presses Ctrl-C when it is asked for batch `at` for the first time."""

    def __init__(self, batches: Any, at: int):
        self.batches, self.at = batches, at

    def __iter__(self) -> Iterator[Any]:
        for i, batch in enumerate(self.batches):
            if i == self.at:
                os.kill(os.getpid(), signal.SIGINT)
            yield batch


def stop_after(job: Job, step: int) -> None:
    """Let a job press Ctrl-C during step number `step`."""
    count = iter(range(1, 1000))

    def press(model: nn.Module, *_: Any) -> None:
        if model.training and next(count) == step:
            os.kill(os.getpid(), signal.SIGINT)

    job.model.register_forward_hook(press)


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


def test_it_trains_in_training_mode(tmp_path: Path) -> None:
    modes = []
    job = Job(tmp_path, epochs=1)
    job.model.eval()
    job.model.register_forward_hook(lambda model, *_: modes.append(model.training))
    job.fit(valid_loader=[job.set.tensors])
    assert modes == [True] * 33 + [False]


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


def test_it_runs_outside_the_main_thread(tmp_path: Path) -> None:
    job = Job(tmp_path)
    thread = threading.Thread(target=job.fit)
    thread.start()
    thread.join()
    assert job.history.rows[-1]["step"] == 66


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


def test_resuming_a_finished_run_changes_nothing(reference: Job, tmp_path: Path) -> None:
    again = Job(tmp_path / "reference")
    again.fit(valid_loader=DataLoader(again.set, 50), resume=again.checkpoints.latest())
    assert again.result() == reference.result()


# ------------------------------------------------------------------------------------ what fine-tuning adds to the loop


class Everything(Job):
    """A pretrained network with batch norm, a frozen part, and all that `fit` can do at once."""

    def __init__(self, folder: Path):
        super().__init__(folder, epochs=3)
        self.model = nn.Sequential(
            nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(),
            nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(),
            nn.Linear(8, 3),
        )  # fmt: skip
        groups = finetune.param_groups(self.model, lr=0.1, weight_decay=0.01, layer_decay=0.5)
        self.optimizer = optim.SGD(groups, lr=0.1, momentum=0.9)
        warm_up = optim.lr_scheduler.LinearLR(self.optimizer, 0.1, total_iters=10)
        cosine = optim.lr_scheduler.CosineAnnealingLR(self.optimizer, 89)
        self.scheduler = optim.lr_scheduler.SequentialLR(self.optimizer, [warm_up, cosine], [10])
        self.ema = optim.swa_utils.AveragedModel(self.model, multi_avg_fn=optim.swa_utils.get_ema_multi_avg_fn(0.9))
        self.valid = DataLoader(self.set, 50)

    def fit(self, **arguments: Any) -> History:
        return super().fit(
            valid_loader=self.valid,
            loss_fn=nn.CrossEntropyLoss(label_smoothing=0.1),
            early_stopping=EarlyStopping(2),
            ema=self.ema,
            max_grad_norm=0.5,
            mix=mixup,
            before_epoch=lambda epoch: finetune.unfreeze_last(self.model, epoch + 1),
            **arguments,
        )

    def result(self) -> tuple[list[dict], list[bytes]]:
        rows, weights = super().result()
        return rows, [*weights, *(w.numpy(force=True).tobytes() for w in self.ema.state_dict().values())]


def mixup(inputs: tg.Tensor, targets: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
    images, probabilities = transforms.MixUp(num_classes=3)(inputs.reshape(-1, 6, 1, 1), targets)
    return images.reshape(-1, 6), probabilities


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Everything:
    job = Everything(tmp_path_factory.mktemp("everything"))
    job.fit()
    return job


@pytest.mark.parametrize("device", ["cpu"], indirect=True)  # where the one run that these compare with was made
def test_all_of_it_is_what_a_written_out_loop_does(everything: Everything, tmp_path: Path) -> None:
    plain, loss_fn = Everything(tmp_path), nn.CrossEntropyLoss(label_smoothing=0.1)
    model, ema, losses = plain.model, plain.ema, []
    batches = [plain.set[i : i + 50] for i in (0, 50, 100)]
    for epoch in range(3):
        model.train()
        for i in (6, 3, 0):  # the linear layers, the head first, each with the batch norm after it
            for p in [*model[i].parameters(), *(model[i + 1].parameters() if i < 6 else [])]:
                p.requires_grad = i >= 6 - 3 * epoch
            if i < 6:
                model[i + 1].train(i >= 6 - 3 * epoch)
        for x, y in plain.loader:
            x, y = mixup(x, y)
            plain.optimizer.zero_grad()
            loss_fn(model(x), y).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            plain.optimizer.step()
            plain.scheduler.step()
            ema.update_parameters(model)
        ema.eval()
        losses.append(sum(loss_fn(ema(x), y).item() * len(x) for x, y in batches) / 130)
        ema.train()
    assert min(losses) == losses[-1]  # so early stopping restored the last weights, which are compared here
    assert plain.result()[1] == everything.result()[1]
    valid = [row["loss"] for row in everything.history.rows if row["part"] == "valid"]
    assert valid == pytest.approx(losses, rel=1e-12)


@pytest.mark.parametrize("device", ["cpu"], indirect=True)  # where the one run that these compare with was made
@pytest.mark.parametrize("step", [1, 33, 34, 60, 66, 99])
def test_all_of_it_goes_on_bit_for_bit(everything: Everything, tmp_path: Path, step: int) -> None:
    stopped = Everything(tmp_path)
    stop_after(stopped, step)
    with pytest.raises(Interrupted):
        stopped.fit()
    resumed = Everything(tmp_path)
    state = resumed.checkpoints.latest()
    assert state["position"]["step"] == step
    resumed.fit(resume=state)
    assert resumed.result() == everything.result()
    assert any(w.tobytes() != v.tobytes() for w, v in zip(*(
        [t.numpy(force=True) for t in m.state_dict().values()] for m in (resumed.model, resumed.ema.module)
    ), strict=True))  # fmt: skip


def test_the_average_is_what_early_stopping_judges_and_restores(tmp_path: Path) -> None:
    job = Job(tmp_path, epochs=50, lr=0.5, noise=0.5)
    ema = optim.swa_utils.AveragedModel(job.model, multi_avg_fn=optim.swa_utils.get_ema_multi_avg_fn(0.9))
    stopping = EarlyStopping(patience=2)
    job.fit(valid_loader=[job.set.tensors], early_stopping=stopping, ema=ema)
    valid = [row["loss"] for row in job.history.rows if row["part"] == "valid"]
    assert len(valid) < 50
    assert evaluate(ema.module, [job.set.tensors])[0] == min(valid) == valid[-3]
    assert evaluate(job.model, [job.set.tensors])[0] != valid[-3]


def test_a_run_without_an_average_is_not_resumed_with_one(tmp_path: Path) -> None:
    Job(tmp_path).fit()
    job = Job(tmp_path)
    with pytest.raises(CheckpointError, match="not the state of such a training run"):
        job.fit(ema=optim.swa_utils.AveragedModel(job.model), resume=job.checkpoints.latest())


def test_quiet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = Job(tmp_path)
    job.fit(verbose=False)
    assert capsys.readouterr() == ("", "")
    assert len(job.history.rows) == 8


def measured(job: Job) -> Callable[[], dict[str, float]]:
    """Figures that need random numbers, and are other ones when they are measured at another time."""
    return lambda: {"norm": float((job.model[0].weight ** 2).sum()), "drawn": float(tg.rand(1))}


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


def test_a_loss_that_is_not_about_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = Job(tmp_path)
    job.fit(loss_fn=lambda outputs, _: (outputs**2).mean(), valid_loader=[job.set.tensors], accuracy=False)
    assert {row["accuracy"] for row in job.history.rows} == {None}
    assert all(row["loss"] > 0 for row in job.history.rows)
    assert "accuracy" not in capsys.readouterr().out


# ------------------------------------------------------------------------------------------------------ what goes wrong


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


def test_bad_arguments(tmp_path: Path) -> None:
    job = Job(tmp_path)
    with pytest.raises(ValueError, match="early_stopping needs a valid_loader"):
        job.fit(early_stopping=EarlyStopping(1))
    with pytest.raises(ValueError, match="expected max_grad_norm > 0, got nan"):
        job.fit(max_grad_norm=np.nan)
    job.loader = DataLoader(TensorDataset(tg.zeros(0, 6), tg.zeros(0, dtype=tg.int64)))
    with pytest.raises(ValueError, match="the loader has no batches"):
        job.fit()


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
