"""Every differentiable op: its value and its gradients, written together.

Read in this order: `elementwise`, `reduce`, `shape`, then `conv` and `pool`.
"""

from .conv import conv2d, conv2d_input_grad, conv2d_weight_grad
from .elementwise import add, broadcast, cast, div, exp, log, mul, neg, promote, sub
from .pool import (
    adaptive_avg_pool2d,
    adaptive_avg_pool2d_input_grad,
    adaptive_max_pool2d,
    adaptive_max_pool2d_with_indices,
    avg_pool2d,
    avg_pool2d_input_grad,
    max_pool2d,
    max_pool2d_at,
    max_pool2d_input_grad,
    max_pool2d_with_indices,
    max_unpool2d,
)
from .reduce import sum, sum_to
from .shape import expand, permute, reshape

__all__ = [
    "adaptive_avg_pool2d", "adaptive_avg_pool2d_input_grad", "adaptive_max_pool2d",
    "adaptive_max_pool2d_with_indices", "add", "avg_pool2d", "avg_pool2d_input_grad", "broadcast", "cast",
    "conv2d", "conv2d_input_grad", "conv2d_weight_grad", "div", "exp", "expand", "log", "max_pool2d",
    "max_pool2d_at", "max_pool2d_input_grad", "max_pool2d_with_indices", "max_unpool2d", "mul", "neg",
    "permute", "promote", "reshape", "sub", "sum", "sum_to",
]  # fmt: skip
