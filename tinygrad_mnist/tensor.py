"""The Tensor that people hold: a thin surface over `ops`, with PyTorch's names."""

from __future__ import annotations

from typing import Any

from . import autograd, ops
from .autograd import Variable


class Tensor(Variable):
    """An n-dimensional array that remembers how it was computed."""

    def backward(
        self, gradient: Tensor | None = None, retain_graph: bool | None = None, create_graph: bool = False, inputs: Any = None
    ) -> None:
        """Add d(self)/d(leaf) to `.grad` of every leaf that this was computed from. See `autograd.backward`."""
        autograd.backward(self, gradient, retain_graph, create_graph, inputs)

    def __mul__(self, other: Any) -> Tensor:
        return ops.mul(self, other)

    __rmul__ = __mul__

    def __add__(self, other: Any) -> Tensor:
        return ops.add(self, other)

    __radd__ = __add__


Variable.kind = Tensor
