"""`fit`: the training loop, which can be stopped at any moment and go on as if nothing had happened."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from .. import random
from ..checkpoint import CheckpointError
from ..nn import Module
from ..nn import functional as F
from ..optim.swa_utils import AveragedModel
from ..tensor import Tensor
from ..utils.data import DataLoader
from .checkpoints import CheckpointManager
from .diverged import DivergedError, diverged
from .early_stopping import EarlyStopping
from .graph import GraphedStep
from .interrupt import Interrupted, InterruptGuard
from .report import History, Row, figures, progress_bar, show
from .step import Loss, Mix, RunningMean, drawing_nothing, mean_over, train_step

STEPS_PER_ROW = 10  # the loss is read from the device, and checked, this often
SECONDS_BETWEEN_CHECKPOINTS = 10.0
LARGEST_SHARE_OF_SAVING = 0.01  # of the time; a slow disk gets fewer checkpoints


def fit(
    model: Module,
    loader: DataLoader,
    optimizer: Any,
    epochs: int,
    *,
    scheduler: Any = None,
    loss_fn: Loss = F.cross_entropy,
    valid_loader: Any = None,
    early_stopping: EarlyStopping | None = None,
    ema: AveragedModel | None = None,
    max_grad_norm: float | None = None,
    mix: Mix | None = None,
    before_epoch: Callable[[int], object] | None = None,
    measure: Callable[[], dict[str, float]] | None = None,
    accuracy: bool = True,
    graph: bool = False,
    history: History | None = None,
    checkpoints: CheckpointManager | None = None,
    resume: dict[str, Any] | None = None,
    settings: dict[str, Any] | None = None,
    verbose: bool = True,
) -> History:
    """Train `model` on the batches (inputs, classes) of `loader` for `epochs` epochs; returns what happened.

    - `scheduler.step()` is called after each batch. `valid_loader` is evaluated after each epoch.
    - `early_stopping` watches the validation loss; at the end the model has the best weights.
    - `ema` takes in the weights after each batch. Then it is `ema.module` that is validated and early-stopped.
    - `max_grad_norm` clips the gradients to this norm. `mix` makes something else of each training batch, for instance
      transforms.MixUp(num_classes=10); it should draw from the default generator, whose state is saved.
    - `before_epoch(epoch)`, from 0, is for what changes from epoch to epoch, like gradual unfreezing:
      `lambda epoch: finetune.unfreeze_last(model, epoch + 1)`. A resumed run calls it again for the current epoch.
    - `measure()` is called after each epoch for figures of another kind: they go onto the epoch's line, and into the
      history as a row of the part "measure".
    - `accuracy=False` is for losses that are not about classes: none is counted, and it is None in the history.
    - `graph=True` gives a GPU each step as one CUDA graph, for small models: see GraphedStep.
    - `checkpoints` get everything that the run depends on, every 10 seconds (less often where saving takes more than
      1 % of the time) and after each epoch; the best is that of the lowest validation loss (training loss without
      `valid_loader`).
    - `resume` is the state in a checkpoint: the run goes on with the next batch, bit for bit as if it had not stopped.
      `settings` is kept in the checkpoint and must be the same when it resumes.
    - Unless `verbose` is False, there is a bar on stderr where that is a terminal, and a line per epoch on stdout.

    Raises DivergedError when the loss becomes NaN or infinite, CheckpointError when `resume` is of another run.
    Ctrl-C raises KeyboardInterrupt when the step is done and saved (`checkpoints.newest`); pressed twice, at once.
    """
    if early_stopping is not None and valid_loader is None:
        raise ValueError("fit: early_stopping needs a valid_loader")
    if len(loader) == 0:
        raise ValueError("fit: the loader has no batches")
    if max_grad_norm is not None and not max_grad_norm > 0:
        raise ValueError(f"fit: expected max_grad_norm > 0, got {max_grad_norm}")
    history = history or History()
    by_launch = functools.partial(train_step, model, optimizer, loss_fn=loss_fn, max_grad_norm=max_grad_norm)
    run = _Run(
        model=model, loader=loader, optimizer=optimizer, scheduler=scheduler, loss_fn=loss_fn, ema=ema, mix=mix,
        valid_loader=valid_loader, early_stopping=early_stopping, measure=measure, accuracy=accuracy, history=history,
        checkpoints=checkpoints, settings=settings or {}, verbose=verbose,
        train_step=GraphedStep(model, optimizer, loss_fn, max_grad_norm) if graph else by_launch,
    )  # fmt: skip
    if resume is not None:
        run.load_state_dict(resume)
    with InterruptGuard() as guard:
        try:
            while run.at.epoch < epochs and not (early_stopping and early_stopping.should_stop):
                if before_epoch is not None:
                    before_epoch(run.at.epoch)
                run.train_epoch(epochs, guard)
                run.end_epoch(epochs, guard)
        except Interrupted:
            run.save()
            raise
    if early_stopping is not None:
        early_stopping.restore_best(run.judged)
    return history


@dataclass
class _Position:
    """Where a run is."""

    epoch: int = 0  # epochs that are finished
    batch: int = 0  # batches of the current epoch that are done
    step: int = 0  # batches that are done in all
    best_loss: float = math.inf  # of an epoch
    seconds: float = 0.0  # since the run began, without the time between stopping and resuming
    row_began: float = 0.0  # in these seconds
    epoch_began: float = 0.0


@dataclass
class _Run:
    """A run: everything that its future depends on, and how an epoch goes."""

    model: Module
    loader: DataLoader
    optimizer: Any
    scheduler: Any
    loss_fn: Loss
    valid_loader: Any
    early_stopping: EarlyStopping | None
    ema: AveragedModel | None
    train_step: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    mix: Mix | None
    measure: Callable[[], dict[str, float]] | None
    accuracy: bool
    history: History
    checkpoints: CheckpointManager | None
    settings: dict[str, Any]
    verbose: bool

    def __post_init__(self) -> None:
        self.at = _Position()
        self.in_row, self.in_epoch = RunningMean(), RunningMean()
        self.began = self.next_save = time.perf_counter()

    @property
    def judged(self) -> Module:
        """The model that is validated."""
        return self.model if self.ema is None else self.ema.module

    def _parts(self) -> dict[str, Any]:
        names = ("model", "optimizer", "scheduler", "loader", "early_stopping", "ema")
        return {name: part for name in names if (part := getattr(self, name)) is not None}

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs."""
        return {
            **{name: part.state_dict() for name, part in self._parts().items()},
            "random": random.get_rng_state(),
            "position": asdict(self.at),
            "sums": [self.in_row.sums, self.in_epoch.sums],
            "history": self.history.rows,
            "settings": self.settings,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was called."""
        parts = self._parts()
        if not isinstance(state, dict) or not state.keys() >= {*parts, "position", "settings"}:
            raise CheckpointError(
                "this is not the state of such a training run; if it is a file of weights, "
                "use model.load_state_dict(load(path)) and train without resume"
            )
        for name in sorted(self.settings.keys() | state["settings"].keys()):
            then, now = state["settings"].get(name), self.settings.get(name)
            if then != now:
                raise CheckpointError(f"the run to resume had {name}={then}, this one has {now}: make them agree")
        for name, part in parts.items():
            part.load_state_dict(state[name])
        random.set_rng_state(state["random"])
        self.at = _Position(**state["position"])
        self.in_row, self.in_epoch = (RunningMean(sums) for sums in state["sums"])
        self.began = time.perf_counter() - self.at.seconds
        for row in state["history"]:
            self.history.add(row)

    def train_epoch(self, epochs: int, guard: InterruptGuard) -> None:
        """Train on what is left of the epoch: nothing, if the run was stopped during validation."""
        at, batches = self.at, len(self.loader)
        if at.batch == batches:
            return
        self.model.train()
        with progress_bar(at.epoch + 1, epochs, at.batch, batches, self.verbose) as bar:
            for inputs, targets in self.loader:
                if self.mix is not None:
                    inputs, targets = self.mix(inputs, targets)
                loss, outputs = self.train_step(inputs, targets)
                if self.scheduler is not None:
                    self.scheduler.step()
                if self.ema is not None:
                    self.ema.update_parameters(self.model)
                self.in_row.add(loss, outputs if self.accuracy else None, targets)
                at.batch += 1
                at.step += 1
                bar.update()
                if at.batch % STEPS_PER_ROW == 0 or at.batch == batches:
                    show(bar, self.end_row())
                if at.batch == batches:
                    continue  # so that the loader, too, notices the end of the epoch before anything is saved
                if at.batch % STEPS_PER_ROW == 0 and time.perf_counter() >= self.next_save:
                    self.save()
                guard.check()

    def end_row(self) -> Row:
        """Add what happened since the last row to the history."""
        self.check_losses()
        row = self.row("train", self.in_row, self.at.row_began)
        self.history.add(row)
        self.in_epoch.take(self.in_row)
        self.at.row_began = row["seconds"]
        return row

    def end_epoch(self, epochs: int, guard: InterruptGuard) -> None:
        """Validate, save, and print how the epoch went."""
        at, row = self.at, self.row("train", self.in_epoch, self.at.epoch_began)
        text = f"epoch {at.epoch + 1}/{epochs}: {figures(row)}, {row['seconds'] - at.epoch_began:.0f} s"
        if self.valid_loader is not None:
            with drawing_nothing():
                mean = mean_over(self.judged, guard.watch(self.valid_loader), self.loss_fn, self.accuracy)
            row = self.row("valid", mean, row["seconds"])
            self.history.add(row)
            text += f"; validation: {figures(row)}"
            if self.early_stopping is not None:
                self.early_stopping.step(mean.loss, self.judged)
        if self.measure is not None:
            with drawing_nothing():
                text += f"; {self.add_measure(self.measure())}"
        is_best = row["loss"] < at.best_loss
        at.epoch, at.batch, at.best_loss = at.epoch + 1, 0, min(row["loss"], at.best_loss)
        at.row_began = at.epoch_began = time.perf_counter() - self.began
        self.in_epoch = RunningMean()
        self.save(is_best)
        if self.verbose:
            print(text, flush=True)

    def add_measure(self, found: dict[str, float]) -> str:
        """Add figures to the history; returns them in words."""
        seconds = time.perf_counter() - self.began
        at = {"epoch": self.at.epoch + 1, "step": self.at.step}
        self.history.add({"part": "measure", **at, **found, "seconds": seconds})
        return ", ".join(f"{name} {value:.4f}" for name, value in found.items())

    def row(self, part: str, mean: RunningMean, began: float) -> Row:
        """A row of the history about `mean`, which has been counted since the second `began`."""
        seconds = time.perf_counter() - self.began
        return {
            "part": part,
            "epoch": self.at.epoch + 1,
            "step": self.at.step,
            "loss": mean.loss,
            "accuracy": mean.accuracy if self.accuracy else None,
            "images_per_second": mean.images / (seconds - began),
            "seconds": seconds,
        }

    def save(self, is_best: bool = False) -> None:
        """Write a checkpoint, if there is a place for it and the weights are good."""
        began = time.perf_counter()
        self.check_losses()
        if not all(p.xp.isfinite(p.array).all() for p in self.model.parameters()):
            raise self.diverged("the weights became NaN or infinite", self.at.step)
        if self.checkpoints is None:
            return
        self.at.seconds = began - self.began
        self.checkpoints.save(self.state_dict(), self.at.step, is_best)
        now = time.perf_counter()
        self.next_save = now + max(SECONDS_BETWEEN_CHECKPOINTS, (now - began) / LARGEST_SHARE_OF_SAVING)

    def check_losses(self) -> None:
        """Read the losses that were not read yet; raise if one is NaN or infinite."""
        losses = self.in_row.read()
        for step, loss in enumerate(losses, self.at.step - len(losses) + 1):
            if not math.isfinite(loss):
                raise self.diverged(f"the loss became {loss}", step)

    def diverged(self, what: str, step: int) -> DivergedError:
        at, newest = self.at, self.checkpoints.newest if self.checkpoints else None
        batch, lr = at.batch - at.step + step, self.optimizer.param_groups[0]["lr"]
        return diverged(what, step, at.epoch + 1, batch, lr, newest)
