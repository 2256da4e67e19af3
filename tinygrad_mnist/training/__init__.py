"""Training: `fit` is the only loop of the library, made of `train_step` and `evaluate`."""

from .checkpoints import CheckpointManager
from .diverged import DivergedError
from .early_stopping import EarlyStopping
from .fit import fit
from .graph import GraphedStep, GraphError
from .report import History
from .step import evaluate, train_step

__all__ = [
    "CheckpointManager", "DivergedError", "EarlyStopping", "GraphError", "GraphedStep", "History", "evaluate", "fit",
    "train_step",
]  # fmt: skip
