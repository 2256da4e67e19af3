"""Linear layer."""

from __future__ import annotations

from typing import Any

from .. import creation
from ..tensor import Tensor
from . import functional as F
from . import init
from .module import Module
from .parameter import Parameter


class Linear(Module):
    """y = x wᵀ + b for x (*, in_features): (*, out_features).

    weight (out_features, in_features) and bias (out_features,) start uniform in ±1/sqrt(in_features).
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Linear.html

    >>> from tinygrad_mnist import nn, ones
    >>> nn.Linear(3, 2)(ones(4, 3)).shape
    Size([4, 2])
    """

    bias: Parameter | None

    def __init__(self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None):
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter(creation.empty(out_features, in_features, device=device, dtype=dtype))
        b = Parameter(creation.empty(out_features, device=device, dtype=dtype)) if bias else None
        self.register_parameter("bias", b)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        init.default_(self.weight, self.bias)

    def forward(self, input: Tensor, then: str | None = None) -> Tensor:
        """x wᵀ + b, and what is to follow: see F.linear."""
        return F.linear(input, self.weight, self.bias, then=then)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
