"""Schedules that follow a curve: cosines, and the one-cycle policy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ..optimizer import Optimizer
from .base import LRScheduler


def _cosine(start: float, end: float, done: float) -> float:
    """From start to end along half a cosine, as `done` goes from 0 to 1."""
    return end + (start - end) / 2 * (1 + math.cos(math.pi * done))


def _linear(start: float, end: float, done: float) -> float:
    """From start to end on a line, as `done` goes from 0 to 1."""
    return start + (end - start) * done


class CosineAnnealingLR(LRScheduler):
    """Down to `eta_min` over `T_max` epochs along half a cosine (and, if it goes on, up again).

    Source: https://arxiv.org/abs/1608.03983
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1):
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        # Relative to the present rate, so that it combines with other schedules.
        if self._is_initial:
            return self._lrs()
        before, now = (1 + math.cos(math.pi * t / self.T_max) for t in (self.last_epoch - 1, self.last_epoch))
        if before == 0:  # the lowest point, where a ratio says nothing
            return [
                lr + (base - self.eta_min) * now / 2 for lr, base in zip(self._lrs(), self.base_lrs, strict=True)
            ]
        return [self.eta_min + (lr - self.eta_min) * now / before for lr in self._lrs()]

    def _first_lr(self) -> list[float]:
        return list(self.base_lrs)


class CosineAnnealingWarmRestarts(LRScheduler):
    """Down to `eta_min` along half a cosine in T_0 epochs, then anew, each time in T_mult times as many.

    `step(epoch)` also takes fractions of an epoch.

    Source: https://arxiv.org/abs/1608.03983
    """

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ):
        if not isinstance(T_0, int) or T_0 <= 0:
            raise ValueError(f"Expected positive integer T_0, but got {T_0}")
        if not isinstance(T_mult, int) or T_mult < 1:
            raise ValueError(f"Expected integer T_mult >= 1, but got {T_mult}")
        self.T_0 = T_0
        self.T_i = T_0  # epochs from the last restart to the next
        self.T_mult = T_mult
        self.eta_min = eta_min
        self.T_cur: float = last_epoch  # epochs since the last restart
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [_cosine(lr, self.eta_min, self.T_cur / self.T_i) for lr in self.base_lrs]

    def step(self, epoch: float | None = None) -> None:
        """Go on to the next epoch, or to `epoch`."""
        if epoch is None and self.last_epoch >= 0:
            epoch = self.last_epoch + 1
            self.T_cur += 1
            if self.T_cur >= self.T_i:
                self.T_cur %= self.T_i
                self.T_i *= self.T_mult
        else:
            epoch = epoch or 0
            self._find(epoch)
        self.last_epoch = math.floor(epoch)
        self._set(self.get_lr())

    def _find(self, epoch: float) -> None:
        """Set T_i and T_cur for an epoch."""
        if epoch < 0:
            raise ValueError(f"Expected non-negative epoch, but got {epoch}")
        self.T_i, self.T_cur = self.T_0, epoch
        while self.T_cur >= self.T_i:
            self.T_cur -= self.T_i
            self.T_i *= self.T_mult

    def _restart(self) -> None:
        self.step(0)


class OneCycleLR(LRScheduler):
    """One cycle: up from max_lr / div_factor to max_lr, then down to the start over final_div_factor. Step each batch.

    The first `pct_start` of `total_steps` (or of epochs · steps_per_epoch) goes up. `three_phase` goes down as slowly
    as up, and then lower in the steps that are left. With `cycle_momentum`, momentum (or beta1) moves between
    max_momentum and base_momentum the other way.

    Source: https://arxiv.org/abs/1708.07120
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.85,
        max_momentum: float | Sequence[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ):
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
        self.total_steps = _total_steps(total_steps, epochs, steps_per_epoch)
        if not isinstance(pct_start, float) or not 0 <= pct_start <= 1:
            raise ValueError(f"Expected float between 0 and 1 pct_start, but got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        self.anneal_strategy = anneal_strategy
        self.cycle_momentum = cycle_momentum
        self.use_beta1 = "betas" in optimizer.defaults
        if cycle_momentum and not self.use_beta1 and "momentum" not in optimizer.defaults:
            raise ValueError("optimizer must support momentum or beta1 with `cycle_momentum` option enabled")
        # Each phase: its last step, and which options of a group the rate and the momentum go from and to.
        up: list[Any] = [pct_start * self.total_steps - 1, "initial_lr", "max_lr", "max_momentum", "base_momentum"]
        if three_phase:
            self.phases = [
                up,
                [2 * pct_start * self.total_steps - 2, "max_lr", "initial_lr", "base_momentum", "max_momentum"],
                [self.total_steps - 1, "initial_lr", "min_lr", "max_momentum", "max_momentum"],
            ]
        else:
            self.phases = [up, [self.total_steps - 1, "max_lr", "min_lr", "base_momentum", "max_momentum"]]
        if last_epoch == -1:
            lows = per_group("base_momentum", optimizer, base_momentum)
            highs = per_group("max_momentum", optimizer, max_momentum)
            tops = per_group("max_lr", optimizer, max_lr)
            for group, top, low, high in zip(optimizer.param_groups, tops, lows, highs, strict=True):
                group["max_lr"] = top
                group["initial_lr"] = top / div_factor
                group["min_lr"] = group["initial_lr"] / final_div_factor
                if cycle_momentum:
                    group["base_momentum"], group["max_momentum"] = low, high
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """The learning rates at this step. Sets the momentum too."""
        if self.last_epoch > self.total_steps:
            raise ValueError(
                f"Tried to step {self.last_epoch} times. The specified number of total steps is {self.total_steps}"
            )
        start = 0.0
        for phase in self.phases[:-1]:
            if self.last_epoch <= phase[0]:
                break
            start = phase[0]
        else:
            phase = self.phases[-1]
        end, lr_from, lr_to, momentum_from, momentum_to = phase
        done = (self.last_epoch - start) / (end - start)
        curve: Callable[[float, float, float], float] = _cosine if self.anneal_strategy == "cos" else _linear
        for group in self.optimizer.param_groups if self.cycle_momentum else []:
            momentum = curve(group[momentum_from], group[momentum_to], done)
            if self.use_beta1:
                group["betas"] = (momentum, *group["betas"][1:])
            else:
                group["momentum"] = momentum
        return [curve(group[lr_from], group[lr_to], done) for group in self.optimizer.param_groups]


def _total_steps(total_steps: int | None, epochs: int | None, steps_per_epoch: int | None) -> int:
    if total_steps is None and (epochs is None or steps_per_epoch is None):
        raise ValueError("You must define either total_steps OR (epochs AND steps_per_epoch)")
    given: dict[str, Any] = {"epochs": epochs, "steps_per_epoch": steps_per_epoch}
    if total_steps is not None:
        given = {"total_steps": total_steps}
    for name, value in given.items():
        if not isinstance(value, int) or value <= 0:
            raise ValueError(f"Expected positive integer {name}, but got {value}")
    return math.prod(given.values())


def per_group(name: str, optimizer: Optimizer, value: Any) -> list[float]:
    """One value for each parameter group, from a number or a sequence."""
    n = len(optimizer.param_groups)
    if not isinstance(value, list | tuple):
        return [value] * n
    if len(value) != n:
        raise ValueError(f"{name} must have the same length as optimizer.param_groups: expected {n}, got {len(value)}")
    return list(value)
