"""Schedules that multiply the learning rate, whatever else changes it, by a factor at each epoch."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from ..optimizer import Optimizer
from .base import LambdaBase, LRScheduler


class LambdaLR(LambdaBase):
    """lr = initial lr · lr_lambda(epoch)"""

    def get_lr(self) -> list[float]:
        return [lr * fn(self.last_epoch) for lr, fn in zip(self.base_lrs, self.lr_lambdas, strict=True)]


class MultiplicativeLR(LambdaBase):
    """lr <- lr · lr_lambda(epoch)"""

    def get_lr(self) -> list[float]:
        if self._is_initial:
            return self._lrs()
        return [lr * fn(self.last_epoch) for lr, fn in zip(self._lrs(), self.lr_lambdas, strict=True)]


class ScaledLR(LRScheduler):
    """lr <- lr · scale(epoch) / scale(epoch - 1), so that alone it gives initial lr · scale(epoch)."""

    _steps_on_resume = False  # whether resuming takes the step to the next epoch at once: PyTorch has both

    def scale(self, epoch: int) -> float:
        """The factor of the initial learning rate at `epoch`."""
        raise NotImplementedError(f"{type(self).__name__} is a ScaledLR and needs a method scale")

    def get_lr(self) -> list[float]:
        now = self.scale(self.last_epoch)
        if self.last_epoch == 0:
            factor = now
        elif self._is_initial and not self._steps_on_resume:
            factor = 1.0
        else:
            before = self.scale(self.last_epoch - 1)
            factor = 1.0 if now == before else now / before
        return [lr * factor for lr in self._lrs()]

    def _first_lr(self) -> list[float]:
        return [lr * self.scale(0) for lr in self.base_lrs]


class StepLR(ScaledLR):
    """Multiply by gamma every `step_size` epochs.

    >>> from tinygrad_mnist import zeros
    >>> from tinygrad_mnist.optim import SGD
    >>> optimizer = SGD([zeros(1)], lr=0.5)
    >>> schedule = StepLR(optimizer, step_size=2)
    >>> for epoch in range(4):
    ...     optimizer.step()
    ...     print(schedule.get_last_lr())
    ...     schedule.step()
    [0.5]
    [0.5]
    [0.05]
    [0.05]
    """

    _steps_on_resume = True

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1):
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def scale(self, epoch: int) -> float:
        return self.gamma ** (epoch // self.step_size)


class MultiStepLR(ScaledLR):
    """Multiply by gamma at each of the `milestones`."""

    _steps_on_resume = True

    def __init__(self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1):
        self.milestones = sorted(milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def scale(self, epoch: int) -> float:
        return self.gamma ** bisect_right(self.milestones, epoch)


class ConstantLR(ScaledLR):
    """Multiply by `factor` until epoch `total_iters`."""

    _steps_on_resume = True

    def __init__(self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1):
        if not 0 < factor <= 1:
            raise ValueError(f"Constant multiplicative factor expected to be between 0 and 1, got {factor}")
        self.factor = factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def scale(self, epoch: int) -> float:
        return self.factor if epoch < self.total_iters else 1.0


class LinearLR(ScaledLR):
    """A factor that goes from `start_factor` to `end_factor` in equal steps, over `total_iters` epochs."""

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ):
        if not 0 < start_factor <= 1:
            raise ValueError(
                "Starting multiplicative factor expected to be greater than 0 and less or equal to 1, "
                f"got {start_factor}"
            )
        if not 0 <= end_factor <= 1:
            raise ValueError(f"Ending multiplicative factor expected to be between 0 and 1, got {end_factor}")
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def scale(self, epoch: int) -> float:
        done = min(epoch, self.total_iters) / self.total_iters
        return self.start_factor + (self.end_factor - self.start_factor) * done


class ExponentialLR(ScaledLR):
    """Multiply by gamma every epoch."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1):
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def scale(self, epoch: int) -> float:
        return self.gamma**epoch


class PolynomialLR(ScaledLR):
    """A factor (1 - epoch / total_iters)^power, 0 from epoch `total_iters` on."""

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1):
        self.total_iters = total_iters
        self.power = power
        super().__init__(optimizer, last_epoch)

    def scale(self, epoch: int) -> float:
        return (1 - min(epoch, self.total_iters) / self.total_iters) ** self.power
