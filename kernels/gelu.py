"""GELU and its gradient in one pass each, for float32 by compiled loops only; else they are made of erf and exp.

    y = x P(x);  dx = dy (P(x) + x p(x))

with P(x) = (1 + erf(x / sqrt(2))) / 2 and p(x) = e^(-x²/2) / sqrt(2 pi) of a standard normal variable.
"""

from __future__ import annotations

import numpy as np

from . import compiled
from .erf import one_pass


def usable(x: np.ndarray) -> bool:
    """Whether x is float32, and compiled kernels may be used."""
    return x.dtype == np.float32 and compiled.load("erf_compiled") is not None


def gelu(x: np.ndarray) -> np.ndarray:
    """y, with the memory layout of x."""
    return one_pass(compiled.load("erf_compiled").gelu, x)


def gelu_grad(dy: np.ndarray, x: np.ndarray) -> np.ndarray:
    """dx, with the memory layout of x."""
    return one_pass(compiled.load("erf_compiled").gelu_grad, dy, x)
