"""Normalisation layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from .. import creation, ops
from ..autograd import is_grad_enabled
from ..kernels.kept import LARGEST, constant, kept
from ..tensor import Tensor
from . import functional as F
from . import init
from .module import Module
from .parameter import Parameter

Folded = tuple[Tensor, Tensor | None, ops.KnownNorm | None]  # weight, bias and norm: see F.conv2d

WEIGHTS = 3  # for each number of an image: to see that more of them are unchanged takes longer than normalising


class _Norm(Module):
    """What all normalisations have in common: a weight and a bias, each or none."""

    weight: Parameter | None
    bias: Parameter | None

    def _make_parameters(self, shape: tuple[int, ...], affine: bool, bias: bool, device: Any, dtype: Any) -> None:
        for name, wanted in (("weight", affine), ("bias", affine and bias)):
            made = Parameter(creation.empty(shape, device=device, dtype=dtype)) if wanted else None
            self.register_parameter(name, made)

    def reset_parameters(self) -> None:
        """Weight 1, bias 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)


class _BatchNorm(_Norm):
    """What BatchNorm1d and BatchNorm2d have in common."""

    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None
    # Files from before PyTorch 0.4.1 do not have it.
    optional_buffers = ("num_batches_tracked",)
    _axes: ClassVar[dict[int, str]]

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ):
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self._make_parameters((num_features,), affine, bias, device, dtype)
        for name in ("running_mean", "running_var"):
            made = creation.empty(num_features, device=device, dtype=dtype) if track_running_stats else None
            self.register_buffer(name, made)
        count = creation.tensor(0, device=device) if track_running_stats else None
        self.register_buffer("num_batches_tracked", count)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Running mean 0, variance 1, no batches."""
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            init.zeros_(self.running_mean)
            init.ones_(self.running_var)
            init.zeros_(self.num_batches_tracked)

    def reset_parameters(self) -> None:
        """Weight 1, bias 0, and no batches seen."""
        self.reset_running_stats()
        super().reset_parameters()

    def forward(self, input: Tensor, then: str | None = None) -> Tensor:
        """The normalised input, after `then` (see F.batch_norm); in training the running statistics move."""
        if input.ndim not in self._axes:
            raise ValueError(f"expected {' or '.join(self._axes.values())}, got {input.ndim}-d {tuple(input.shape)}")
        if input.shape[1] != self.num_features:
            shape = tuple(input.shape)
            raise RuntimeError(f"expected {self.num_features} channels, got {shape[1]} (input {shape})")
        use_batch = self.training or self.running_mean is None
        moves = self.training and self.num_batches_tracked is not None
        y = F.batch_norm(
            input,
            self.running_mean if moves or not use_batch else None,
            self.running_var if moves or not use_batch else None,
            self.weight,
            self.bias,
            use_batch,
            self._momentum() if moves else 0.0,
            self.eps,
            then=then,
        )
        if moves:
            assert self.num_batches_tracked is not None
            count = self.num_batches_tracked.array
            count += 1
        return y

    def fold_into(self, weight: Tensor, bias: Tensor | None, images: Tensor) -> Folded | None:
        """weight (O, C, KH, KW) and bias (O,) of the convolution that does the given one and then this, and None.

        They may be kept for the next call, and are not to be written to. If the weights are so many that a pass over
        the images is less: the given ones, and this as a norm by known statistics. None if mean and variance are those
        of the batch.
        """
        mean, var = self.running_mean, self.running_var
        if self.training or mean is None or var is None:
            return None

        known = ops.KnownNorm(mean, var, self.weight, self.bias, self.eps)
        if weight.array.nbytes > LARGEST or weight.array.size > WEIGHTS * images.array.size:
            return weight, bias, known

        def fold() -> tuple[Any, Any, None]:
            scale, shift = ops.scale_and_shift(known)
            shift = shift if bias is None else bias * scale + shift
            return weight * scale.reshape(-1, 1, 1, 1), shift, None

        def fold_for_good() -> tuple[Any, Any, None]:
            folded = fold()
            for t in folded[:2]:
                constant(t.array)
            return folded

        if is_grad_enabled() or weight.is_cuda:
            return fold()
        others = [None if t is None else t.array for t in (bias, mean, var, self.weight, self.bias)]
        return kept(fold_for_good, self.eps, weight.array, *others)

    def _momentum(self) -> float:
        """By how much this batch moves the running statistics; with momentum None they are plain averages."""
        if self.momentum is not None:
            return self.momentum
        assert self.num_batches_tracked is not None
        return 1 / (self.num_batches_tracked.item() + 1)

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of (N, C) or (N, C, L). Formula: F.batch_norm."""

    _axes: ClassVar[dict[int, str]] = {2: "2-d (N, C)", 3: "3-d (N, C, L)"}


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of images (N, C, H, W). Formula: F.batch_norm.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html

    >>> from tinygrad_mnist import nn, ones
    >>> nn.BatchNorm2d(3)(ones(2, 3, 4, 4)).abs().max().item()
    0.0
    """

    _axes: ClassVar[dict[int, str]] = {4: "4-d (N, C, H, W)"}


class LayerNorm(_Norm):
    """Normalisation of each sample over its last axes, which are `normalized_shape`. Formula: F.layer_norm."""

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.normalized_shape, self.eps, self.elementwise_affine = shape, eps, elementwise_affine
        self._make_parameters(shape, elementwise_affine, bias, device, dtype)
        self.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        """The normalised input."""
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )


class GroupNorm(_Norm):
    """Normalisation of each sample over groups of channels. Formula: F.group_norm."""

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ):
        super().__init__()
        if num_channels % num_groups:
            raise ValueError(f"num_channels must be divisible by num_groups, got {num_channels} and {num_groups}")
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        self._make_parameters((num_channels,), affine, bias, device, dtype)
        self.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        """The normalised input."""
        if input.ndim < 2 or input.shape[1] != self.num_channels:
            raise RuntimeError(f"expected input (N, {self.num_channels}, ...), got {tuple(input.shape)}")
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )
