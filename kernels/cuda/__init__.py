"""The kernels for CuPy arrays: the same names, arguments and results as `tinygrad_mnist.kernels`.

Each runs CUDA C from the .cu file beside its NumPy twin. Importing this imports CuPy, so only `backend` does it, when
a CUDA device is first asked for.
"""

from .conv import col2im, conv2d, conv2d_input_grad, conv2d_weight_grad, im2col

__all__ = ["col2im", "conv2d", "conv2d_input_grad", "conv2d_weight_grad", "im2col"]
