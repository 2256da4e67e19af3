"""Convolution with ReLU (and 2x2 max pooling) after it; the contract is that of kernels/conv_direct.py.

ReLU is the last thing that the convolution's own kernel does. The gradient before ReLU and pooling is computed once
for the three gradients of the convolution.
"""

from __future__ import annotations

from dataclasses import dataclass

import cupy as cp

from ..conv import Pair
from ..conv_direct import NONE, RELU, RELU_POOL
from . import conv
from .bias import bias_grad
from .pool import max_pool2d, max_pool2d_input_grad
from .relu import relu_grad

WINDOW = (2, 2), (2, 2), (0, 0), (1, 1)  # kernel, stride, padding, dilation


@dataclass
class Fused:
    """What was done after the convolution: the step, its result, and (pooling) where it took its elements."""

    step: int
    y: cp.ndarray
    index: cp.ndarray | None
    conv_shape: tuple[int, ...]  # of the convolution's own result
    unfolded: tuple[cp.ndarray, cp.ndarray] | None = None  # the last gradient at y, and that at the convolution

    def before(self, dy: cp.ndarray) -> cp.ndarray:
        """The gradient at the convolution's result."""
        if self.unfolded is None or self.unfolded[0] is not dy:
            g = relu_grad(dy, self.y)
            if self.index is not None:
                g = max_pool2d_input_grad(g, self.index, self.conv_shape, *WINDOW)
            self.unfolded = dy, g
        return self.unfolded[1]


def usable(
    x: cp.ndarray, y: cp.ndarray, w_shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> bool:
    """Whether the arrays are of a floating type that the kernels take, and not empty."""
    return all(a.dtype.char in "efd" and a.size for a in (x, y))


def conv2d(
    x: cp.ndarray,
    w: cp.ndarray,
    b: cp.ndarray | None,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
    step: int = NONE,
) -> Fused:
    """See kernels/conv_direct.py."""
    y = conv.conv2d_then(x, w, b, stride, padding, dilation, groups, relu=step in (RELU, RELU_POOL))
    shape, index = y.shape, None
    if step == RELU_POOL:
        y, index = max_pool2d(y, *WINDOW, False)
    return Fused(step, y, index, shape)


def conv2d_gradients(
    dy: cp.ndarray,
    x: cp.ndarray,
    w: cp.ndarray,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
    fused: Fused | None,
    wanted: tuple[bool, bool],
) -> tuple[cp.ndarray | None, cp.ndarray | None, cp.ndarray | None]:
    """See kernels/conv_direct.py."""
    geometry = stride, padding, dilation, groups
    dy = dy if fused is None else fused.before(dy)
    dx = conv.conv2d_input_grad(dy, w, x.shape, *geometry) if wanted[0] else None
    if not wanted[1]:
        return dx, None, None
    return dx, conv.conv2d_weight_grad(dy, x, w.shape, *geometry), bias_grad(dy)


def flat_index(pooled: Fused) -> cp.ndarray:
    """The choices of pooling as `max_pool2d` gives them."""
    assert pooled.index is not None
    return pooled.index
