"""Activations: functions of one number, and softmax. `inplace=True` overwrites the input."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ... import ops
from ...inplace import in_place
from ...tensor import Tensor
from .check import check_dtype


def relu(input: Tensor, inplace: bool = False, *, plus: Tensor | None = None) -> Tensor:
    """max(x, 0); max(x + plus, 0) in one pass over memory, with `plus` of the shape and dtype of x (PyTorch has no such
    argument)."""
    if plus is None:
        return _apply(ops.relu, inplace, input)
    if plus.shape != input.shape or plus.dtype != input.dtype:
        raise RuntimeError(
            f"relu: expected plus to be like the input, {tuple(input.shape)} {input.dtype}, "
            f"got {tuple(plus.shape)} {plus.dtype}; use relu(input + plus)"
        )
    return _apply(ops.add_relu, inplace, input, plus)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x, 0), 6)"""
    return hardtanh(input, 0.0, 6.0, inplace)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """x between min_val and max_val, which it never passes; no gradient at the bounds."""
    return _apply(_hardtanh, inplace, input, min_val, max_val)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where x > 0, else negative_slope · x"""
    return _apply(ops.leaky_relu, inplace, input, negative_slope)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where x > 0, else alpha · (eˣ - 1)"""
    return _apply(ops.elu, inplace, input, alpha)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x · Φ(x), with Φ the normal distribution function; 'tanh' approximates it."""
    return ops.gelu(input, approximate)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x · sigmoid(x)"""
    return _apply(ops.silu, inplace, input)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x · relu6(x + 3) / 6"""
    return _apply(_hardswish, inplace, input)


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + e⁻ˣ)"""
    return input.sigmoid()


def tanh(input: Tensor) -> Tensor:
    """(eˣ - e⁻ˣ) / (eˣ + e⁻ˣ)"""
    return input.tanh()


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + e^(beta x)) / beta; x itself where beta x > threshold."""
    return ops.softplus(input, beta, threshold)


def logsigmoid(input: Tensor) -> Tensor:
    """log(sigmoid(x)), exact far from 0 too."""
    return ops.neg(ops.softplus(ops.neg(input), threshold=math.inf))


def softmax(input: Tensor, dim: int | None = None, dtype: object = None) -> Tensor:
    """e^x over its sum along `dim`.

    >>> from tinygrad_mnist import tensor
    >>> softmax(tensor([0.0, 0.0]), dim=0)
    tensor([0.5000, 0.5000])
    """
    return _cast(input, dtype).softmax(_dim(input, dim))


def log_softmax(input: Tensor, dim: int | None = None, dtype: object = None) -> Tensor:
    """log(softmax(x)), computed without overflow."""
    return _cast(input, dtype).log_softmax(_dim(input, dim))


def _cast(input: Tensor, dtype: object) -> Tensor:
    if dtype is not None:
        return input.to(dtype)
    check_dtype(input)
    return input


def _dim(input: Tensor, dim: int | None) -> int:
    if dim is None:
        raise TypeError(f"say along which dim of input {tuple(input.shape)}: dim=1 for logits (N, C)")
    return dim


def _apply(fn: Callable[..., Any], inplace: bool, input: Tensor, *args: Any) -> Tensor:
    return (in_place(fn) if inplace else fn)(input, *args)


def _hardtanh(x: Tensor, low: float, high: float) -> Any:
    return ops.where((x > low) & (x < high), x, ops.clamp(x.detach(), low, high))


def _hardswish(x: Tensor) -> Any:
    return x * relu6(x + 3) / 6
