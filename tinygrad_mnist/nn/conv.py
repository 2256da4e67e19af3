"""Convolution layers."""

from __future__ import annotations

from typing import Any

from .. import creation
from ..tensor import Tensor
from . import functional as F
from . import init
from .functional.check import Pair, pair
from .module import Module
from .norm import Folded
from .parameter import Parameter

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _Conv(Module):
    """Arguments, weights and text that Conv2d and ConvTranspose2d have in common."""

    bias: Parameter | None
    transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair,
        padding: int | Pair | str,
        output_padding: int | Pair,
        dilation: int | Pair,
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any,
        dtype: Any,
    ):
        super().__init__()
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"groups must be positive and divide both channel counts, got groups={groups}, "
                f"in_channels={in_channels}, out_channels={out_channels}"
            )
        if padding_mode not in _PADDING_MODES:
            raise ValueError(f"padding_mode must be one of {_PADDING_MODES}, got {padding_mode!r}")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = pair(kernel_size, "kernel_size", 1)
        self.stride = pair(stride, "stride", 1)
        self.dilation = pair(dilation, "dilation", 1)
        self.output_padding = pair(output_padding, "output_padding")
        self.padding_mode = padding_mode
        if isinstance(padding, str):
            if padding not in ("valid", "same"):
                raise ValueError(f"padding: expected 'valid', 'same', an int or two ints, got {padding!r}")
            if padding == "same" and self.stride != (1, 1):
                raise ValueError(f"padding='same' needs stride 1, got {self.stride}")
            self.padding: Pair | str = padding
        else:
            self.padding = pair(padding, "padding")
        first, second = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        shape = first, second // groups, *self.kernel_size
        self.weight = Parameter(creation.empty(shape, device=device, dtype=dtype))
        b = Parameter(creation.empty(out_channels, device=device, dtype=dtype)) if bias else None
        self.register_parameter("bias", b)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew: both uniform in ±1/sqrt(fan_in)."""
        init.default_(self.weight, self.bias)

    def extra_repr(self) -> str:
        shown = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"]
        usual = {"padding": (0, 0), "dilation": (1, 1), "output_padding": (0, 0), "groups": 1}
        shown += [f"{name}={value}" for name, default in usual.items() if (value := getattr(self, name)) != default]
        if self.bias is None:
            shown.append("bias=False")
        if self.padding_mode != "zeros":
            shown.append(f"padding_mode={self.padding_mode}")
        return ", ".join(shown)


class Conv2d(_Conv):
    """Cross-correlation of images (N, in_channels, H, W) with out_channels kernels. Formula: F.conv2d.

    weight (out_channels, in_channels / groups, *kernel_size), bias (out_channels,).
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Conv2d.html

    >>> from tinygrad_mnist import nn, ones
    >>> nn.Conv2d(1, 8, 3, padding=1)(ones(2, 1, 28, 28)).shape
    Size([2, 8, 28, 28])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair | str = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, 0,
            dilation, groups, bias, padding_mode, device, dtype,
        )  # fmt: skip

    def forward(
        self, input: Tensor, then: str | None = None, folded: Folded | None = None, plus: Tensor | None = None
    ) -> Tensor:
        """The images after convolution, plus `plus`, and after `then`: see F.conv2d.

        `folded` are weight and bias that do what comes right after the convolution as well, or its own and what that
        is: see BatchNorm2d.fold_into.
        """
        weight, bias, norm = (self.weight, self.bias, None) if folded is None else folded
        padding: int | tuple[int, int] | str = self.padding
        if self.padding_mode != "zeros":
            input, padding = F.pad(input, self._around(), mode=self.padding_mode), 0
        geometry = self.stride, padding, self.dilation, self.groups
        return F.conv2d(input, weight, bias, *geometry, then=then, norm=norm, plus=plus)

    def _around(self) -> tuple[int, int, int, int]:
        """(left, right, top, bottom) padding in pixels."""
        if self.padding == "valid":
            return 0, 0, 0, 0
        if isinstance(self.padding, str):
            height, width = (d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True))
            return width // 2, width - width // 2, height // 2, height - height // 2
        top, left = self.padding
        return left, left, top, top


class ConvTranspose2d(_Conv):
    """The adjoint of Conv2d in its input, used to enlarge images (N, in_channels, H, W). Formula: F.conv_transpose2d.

    weight (in_channels, out_channels / groups, *kernel_size), bias (out_channels,).
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ConvTranspose2d.html

    >>> from tinygrad_mnist import nn, ones
    >>> nn.ConvTranspose2d(8, 1, 4, stride=2, padding=1)(ones(2, 8, 7, 7)).shape
    Size([2, 1, 14, 14])
    """

    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        output_padding: int | Pair = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | Pair = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ):
        if padding_mode != "zeros":
            raise ValueError(f"ConvTranspose2d knows only padding_mode='zeros', got {padding_mode!r}")
        if isinstance(padding, str):
            raise TypeError(f"ConvTranspose2d: expected padding as an int or two ints, got {padding!r}")
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, output_padding,
            dilation, groups, bias, padding_mode, device, dtype,
        )  # fmt: skip

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        """The enlarged images; `output_size` (H, W) chooses among the sizes that a stride leaves open."""
        extra = self.output_padding if output_size is None else self._output_padding(input, tuple(output_size)[-2:])
        assert not isinstance(self.padding, str)
        return F.conv_transpose2d(
            input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation
        )

    def _output_padding(self, input: Tensor, wanted: tuple[int, ...]) -> Pair:
        """What to add to the smallest output to get `wanted`."""
        assert not isinstance(self.padding, str)
        sizes = zip(input.shape[-2:], self.stride, self.padding, self.dilation, self.kernel_size, strict=True)
        smallest = [(n - 1) * s - 2 * p + d * (k - 1) + 1 for n, s, p, d, k in sizes]
        largest = [s + step - 1 for s, step in zip(smallest, self.stride, strict=True)]
        if len(wanted) != 2 or any(not lo <= w <= hi for w, lo, hi in zip(wanted, smallest, largest, strict=True)):
            raise ValueError(
                f"requested an output size of {wanted}, but valid sizes range from {smallest} to {largest} "
                f"(for an input of {tuple(input.shape[-2:])})"
            )
        return wanted[0] - smallest[0], wanted[1] - smallest[1]
