"""A deep-learning framework written from scratch on NumPy and CuPy, with PyTorch's names."""

from .tensor import Tensor

__all__ = ["Tensor"]
