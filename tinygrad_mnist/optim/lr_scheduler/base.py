"""LRScheduler: what all schedules share."""

from __future__ import annotations

import types
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from ..optimizer import Optimizer


class LRScheduler:
    """Sets the learning rate of every parameter group at each `step()`; subclasses write `get_lr`.

    Call `step()` after `optimizer.step()`. Making a schedule sets the learning rate of epoch 0. `last_epoch` other
    than -1 goes on after that epoch, with an optimizer whose state was loaded.

    Source: https://docs.pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate
    """

    _is_initial = False

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1):
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param 'initial_lr' is not specified in param_groups[{i}] when resuming a scheduler with "
                    f"last_epoch={last_epoch}: load the optimizer's state first, or leave last_epoch out to start anew"
                )
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._begin()

    def _begin(self) -> None:
        """Take the step to the first epoch, which needs no optimizer step before it."""
        self._step_count = 0
        self._is_initial = True
        self.step()
        self._is_initial = False

    def _undo_begin(self) -> None:
        """Forget the step of `_begin`, for a schedule whose time has not come."""
        self.last_epoch -= 1

    def _restart(self) -> None:
        """Begin at epoch 0 from the initial learning rates, for a schedule whose time has come."""
        self.last_epoch = 0
        self._set(self._first_lr())

    def get_lr(self) -> list[float]:
        """The learning rate of each group at epoch `last_epoch`, from those before it."""
        raise NotImplementedError(f"{type(self).__name__} is an LRScheduler and needs a method get_lr")

    def _first_lr(self) -> list[float]:
        """The learning rates at epoch 0."""
        return self.get_lr()

    def step(self) -> None:
        """Go on to the next epoch."""
        self._warn_of_order()
        self.last_epoch += 1
        self._set(self.get_lr())

    def _warn_of_order(self) -> None:
        overridden = type(self.optimizer).step is not Optimizer.step  # then nobody counts
        if self._step_count == 1 and not self.optimizer._has_stepped and not overridden:
            warnings.warn(
                "lr_scheduler.step() was called before optimizer.step(): the first learning rate of the schedule is "
                "skipped. Call optimizer.step() first",
                stacklevel=3,
            )
        self._step_count += 1

    def _set(self, lrs: Sequence[float]) -> None:
        for group, lr in zip(self.optimizer.param_groups, lrs, strict=True):
            group["lr"] = lr
        self._last_lr = list(lrs)

    def _lrs(self) -> list[float]:
        """The present learning rate of each group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def get_last_lr(self) -> list[float]:
        """The learning rate of each group that the last step set."""
        return self._last_lr

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer."""
        return {key: value for key, value in vars(self).items() if key != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a `state_dict()`. The learning rates themselves are in the optimizer's state."""
        vars(self).update(state_dict)


class LambdaBase(LRScheduler):
    """A schedule made of a function for each group (or one for all)."""

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ):
        n = len(optimizer.param_groups)
        self.lr_lambdas: list[Any] = list(lr_lambda) if isinstance(lr_lambda, list | tuple) else [lr_lambda] * n
        if len(self.lr_lambdas) != n:
            raise ValueError(f"Expected {n} lr_lambdas, but got {len(self.lr_lambdas)}")
        for fn in self.lr_lambdas:
            if not callable(fn):
                raise TypeError(f"lr_lambda should be a function, but got {type(fn).__name__}")
        super().__init__(optimizer, last_epoch)

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer; of the functions, the attributes of those that are objects."""
        attributes = [None if isinstance(fn, types.FunctionType) else dict(vars(fn)) for fn in self.lr_lambdas]
        return {**super().state_dict(), "lr_lambdas": attributes}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a `state_dict()`, with the functions of this schedule."""
        for fn, attributes in zip(self.lr_lambdas, state_dict["lr_lambdas"], strict=True):
            if attributes is not None:
                vars(fn).update(attributes)
        super().load_state_dict({key: value for key, value in state_dict.items() if key != "lr_lambdas"})
