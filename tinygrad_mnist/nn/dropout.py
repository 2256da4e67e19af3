"""Dropout layers: active in training mode only."""

from __future__ import annotations

from ..random import Generator
from ..tensor import Tensor
from . import functional as F
from .functional.dropout import check_probability
from .module import Module


class _Dropout(Module):
    """Arguments and text that the dropout layers have in common."""

    def __init__(self, p: float = 0.5, inplace: bool = False, *, generator: Generator | None = None):
        super().__init__()
        self.p, self.inplace, self.generator = check_probability(p), inplace, generator

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """Zero with probability p, else x / (1 - p). See F.dropout."""

    def forward(self, input: Tensor) -> Tensor:
        """input with a random part dropped."""
        return F.dropout(input, self.p, self.training, self.inplace, generator=self.generator)


class Dropout2d(_Dropout):
    """Dropout of whole channels. See F.dropout2d."""

    def forward(self, input: Tensor) -> Tensor:
        """input with random channels dropped."""
        return F.dropout2d(input, self.p, self.training, self.inplace, generator=self.generator)
