"""The kernels for CuPy arrays: the same names, arguments and results as `tinygrad_mnist.kernels`.

Each runs CUDA C from the .cu file beside its NumPy twin. Importing this imports CuPy, so only `backend` does it, when
a CUDA device is first asked for.
"""

from .conv import col2im, conv2d, conv2d_input_grad, conv2d_weight_grad, im2col
from .fault import check
from .optim import adadelta, adagrad, adam, rmsprop, sgd
from .pool import (
    adaptive_avg_pool2d,
    adaptive_avg_pool2d_input_grad,
    adaptive_max_pool2d,
    avg_pool2d,
    avg_pool2d_input_grad,
    max_pool2d,
    max_pool2d_at,
    max_pool2d_input_grad,
    max_unpool2d,
)

__all__ = [
    "adadelta", "adagrad", "adam", "adaptive_avg_pool2d", "adaptive_avg_pool2d_input_grad",
    "adaptive_max_pool2d", "avg_pool2d", "avg_pool2d_input_grad", "check", "col2im", "conv2d", "conv2d_input_grad",
    "conv2d_weight_grad", "im2col", "max_pool2d", "max_pool2d_at", "max_pool2d_input_grad", "max_unpool2d",
    "rmsprop", "sgd",
]  # fmt: skip
