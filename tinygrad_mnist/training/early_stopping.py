"""Stop when validation no longer improves, and go back to the best weights."""

from __future__ import annotations

import math
from typing import Any

from ..nn import Module


class EarlyStopping:
    """Says when the validation loss has not improved for `patience` epochs; remembers the best weights.

    An improvement is a loss lower than the best by more than `min_delta`.

    >>> from tinygrad_mnist import nn
    >>> stopping, model = EarlyStopping(patience=2), nn.Linear(1, 1)
    >>> [stopping.step(loss, model) for loss in (0.5, 0.3, 0.4, 0.3)]
    [False, False, False, True]
    """

    def __init__(self, patience: int, min_delta: float = 0.0):
        if patience < 1:
            raise ValueError(f"EarlyStopping: expected patience >= 1, got {patience}")
        if not min_delta >= 0:
            raise ValueError(f"EarlyStopping: expected min_delta >= 0, got {min_delta}")
        self.patience = patience
        self.min_delta = min_delta
        self.best_loss = math.inf
        self.best_weights: dict[str, Any] | None = None
        self.epochs_without_improvement = 0

    def step(self, loss: float, model: Module) -> bool:
        """Take note of an epoch's validation loss; True when it is time to stop. A NaN is no improvement."""
        if loss < self.best_loss - self.min_delta:
            self.best_loss = loss
            self.best_weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
            self.epochs_without_improvement = 0
        else:
            self.epochs_without_improvement += 1
        return self.should_stop

    @property
    def should_stop(self) -> bool:
        """Whether patience is at an end."""
        return self.epochs_without_improvement >= self.patience

    def restore_best(self, model: Module) -> None:
        """Give `model` the weights of the best epoch."""
        if self.best_weights is not None:
            model.load_state_dict(self.best_weights)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must hold."""
        return {
            "best_loss": self.best_loss,
            "best_weights": self.best_weights,
            "epochs_without_improvement": self.epochs_without_improvement,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from `state_dict()`."""
        self.best_loss = state_dict["best_loss"]
        self.best_weights = state_dict["best_weights"]
        self.epochs_without_improvement = state_dict["epochs_without_improvement"]
