"""The kernels for CuPy arrays: the same names, arguments and results as `tinygrad_mnist.kernels`.

Each runs CUDA C from the .cu file beside its NumPy twin. Importing this imports CuPy, so only `backend` does it, when
a CUDA device is first asked for.
"""

from . import conv_direct as conv_direct
from . import graph as graph
from .bias import add_bias, bias_grad, count_correct, linear
from .conv import col2im, conv2d, conv2d_input_grad, conv2d_weight_grad, im2col
from .dropout import dropout, dropout_kept
from .erf import erf
from .fault import check
from .index import check_index, scatter_sum
from .loss import (
    check_probabilities,
    class_labels,
    mean_cross_entropy,
    mean_cross_entropy_grad,
    soft_cross_entropy,
    soft_cross_entropy_grad,
    softmax_cross_entropy,
    softmax_cross_entropy_grad,
)
from .matmul import matmul
from .memory import reshape
from .norm import batch_norm, batch_norm_grad, channel_affine, layer_norm, layer_norm_grad
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
from .relu import add_relu, relu, relu_grad
from .rows import look_up_rows, take_rows
from .warp import random_affine, sample, warp

__all__ = [
    "adadelta", "adagrad", "adam", "adaptive_avg_pool2d", "adaptive_avg_pool2d_input_grad", "adaptive_max_pool2d",
    "add_bias", "add_relu", "avg_pool2d", "avg_pool2d_input_grad", "batch_norm", "batch_norm_grad", "bias_grad",
    "channel_affine", "check", "check_index", "check_probabilities", "class_labels", "col2im", "conv2d",
    "conv2d_input_grad", "conv2d_weight_grad", "count_correct", "dropout", "dropout_kept", "erf", "im2col",
    "layer_norm", "layer_norm_grad", "linear", "look_up_rows", "matmul", "max_pool2d", "max_pool2d_at",
    "max_pool2d_input_grad", "max_unpool2d", "mean_cross_entropy", "mean_cross_entropy_grad", "random_affine",
    "relu", "relu_grad", "reshape", "rmsprop", "sample", "scatter_sum", "sgd", "soft_cross_entropy",
    "soft_cross_entropy_grad", "softmax_cross_entropy", "softmax_cross_entropy_grad", "take_rows", "warp",
]  # fmt: skip
