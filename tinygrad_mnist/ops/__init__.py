"""Every differentiable op: its value and its gradients, written together.

Read in this order: `elementwise`, `reduce`, `shape`, then `conv`.
"""

from .conv import conv2d, conv2d_input_grad, conv2d_weight_grad
from .elementwise import add, broadcast, cast, div, exp, log, mul, neg, promote, sub
from .reduce import sum, sum_to
from .shape import expand, permute, reshape

__all__ = [
    "add", "broadcast", "cast", "conv2d", "conv2d_input_grad", "conv2d_weight_grad", "div", "exp", "expand", "log",
    "mul", "neg", "permute", "promote", "reshape", "sub", "sum", "sum_to",
]  # fmt: skip
