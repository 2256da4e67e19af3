"""A small training run, for tests of `fit`: see tests/training."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_mnist as tg
from tinygrad_mnist import nn, optim
from tinygrad_mnist.training import CheckpointManager, History, fit
from tinygrad_mnist.utils.data import DataLoader, TensorDataset

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


def stop_after(job: Job, step: int) -> None:
    """Let a job press Ctrl-C during step number `step`."""
    count = iter(range(1, 1000))

    def press(model: nn.Module, *_: Any) -> None:
        if model.training and next(count) == step:
            os.kill(os.getpid(), signal.SIGINT)

    job.model.register_forward_hook(press)


def measured(job: Job) -> Callable[[], dict[str, float]]:
    """Figures that need random numbers, and are other ones when they are measured at another time."""
    return lambda: {"norm": float((job.model[0].weight ** 2).sum()), "drawn": float(tg.rand(1))}
