"""Schedules made of schedules: one after the other, or all at once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from ..optimizer import Optimizer
from .base import LRScheduler
from .plateau import ReduceLROnPlateau


class _Combined(LRScheduler):
    """What both share: the schedules inside, and their state."""

    def _take(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None) -> None:
        name = type(self).__name__
        if not schedulers:
            raise ValueError(f"{name} expects at least one scheduler, but got no scheduler")
        self.optimizer = optimizer or schedulers[0].optimizer
        for i, scheduler in enumerate(schedulers):
            if not isinstance(scheduler, LRScheduler):
                raise TypeError(f"{name}: expected schedulers, got {type(scheduler).__name__} at index {i}")
            if isinstance(scheduler, ReduceLROnPlateau):
                raise ValueError(f"{name} does not support ReduceLROnPlateau (at index {i}), whose step needs a metric")
            if scheduler.optimizer is not self.optimizer:
                raise ValueError(
                    f"{name} expects all schedulers to belong to the same optimizer, but that at index {i} has another"
                )
        self._schedulers = list(schedulers)

    def _undo_begin(self) -> None:
        for scheduler in self._schedulers:
            scheduler._undo_begin()

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer, the schedules inside as their own state dicts."""
        return {**super().state_dict(), "_schedulers": [s.state_dict() for s in self._schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a `state_dict()`."""
        for scheduler, state in zip(self._schedulers, state_dict["_schedulers"], strict=True):
            scheduler.load_state_dict(state)
        super().load_state_dict({key: value for key, value in state_dict.items() if key != "_schedulers"})


class SequentialLR(_Combined):
    """One schedule after the other: the next begins, from the initial learning rate, at each of the `milestones`."""

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int], last_epoch: int = -1
    ):
        self._take(schedulers, optimizer)
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(
                "SequentialLR expects one scheduler more than milestones, "
                f"but got {len(schedulers)} schedulers and {len(milestones)} milestones"
            )
        self._milestones = list(milestones)
        self.last_epoch = last_epoch + 1
        self._undo_begin()
        self._begin()

    def _active(self) -> LRScheduler:
        return self._schedulers[bisect_right(self._milestones, self.last_epoch)]

    def _begin(self) -> None:
        self._set([group["initial_lr"] for group in self.optimizer.param_groups])
        self._active()._begin()
        self._last_lr = self._active().get_last_lr()

    def _restart(self) -> None:
        self.last_epoch = 0
        self._begin()

    def step(self) -> None:
        """Go on to the next epoch."""
        self.last_epoch += 1
        if self.last_epoch in self._milestones:
            self._active()._restart()
        else:
            self._active().step()
        self._last_lr = self._active().get_last_lr()


class ChainedScheduler(_Combined):
    """All schedules at once: each changes the learning rate that the one before it has set."""

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None):
        self._take(schedulers, optimizer)
        self._last_lr = self._lrs()

    def _begin(self) -> None:
        for scheduler in self._schedulers:
            scheduler._begin()
        self._last_lr = self._lrs()

    def _restart(self) -> None:
        self._set([group["initial_lr"] for group in self.optimizer.param_groups])
        self._begin()

    def step(self) -> None:
        """Go on to the next epoch."""
        for scheduler in self._schedulers:
            scheduler.step()
        self._last_lr = self._lrs()
