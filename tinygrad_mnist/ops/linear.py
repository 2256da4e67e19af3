"""The linear map of a layer: matrix product and bias in one op."""

from __future__ import annotations

from typing import Any

from ..autograd import Variable, no_grad, op
from .broadcast import sum
from .matmul import matmul
from .shape import transpose


@op
def linear(x: Variable, w: Variable, b: Variable | None) -> Any:
    """x wᵀ + b for x (M, C), w (O, C), b (O,) or None: (M, O)."""
    with no_grad():
        y = matmul(x, transpose(w, 0, 1)).array
    if b is not None:
        y += b.array
    return y, lambda g: matmul(g, w), lambda g: matmul(transpose(g, 0, 1), x), lambda g: sum(g, 0)
