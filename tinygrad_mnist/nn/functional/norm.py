"""Normalisation. The formulas are in kernels/norm.py."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ... import ops
from ...tensor import Tensor
from .check import check_dtype, check_then


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    then: str | None = None,
) -> Tensor:
    """(x - mean) / sqrt(var + eps) · weight + bias in each channel of x (N, C, ...).

    In training, mean and var are the batch's, and move the running ones by `momentum` (the running variance is
    unbiased); else they are the running ones. `then` does what follows in fewer passes over memory: "relu", or
    "relu_pool" for ReLU and 2x2 max pooling of images. (PyTorch does not have it; nn.Sequential finds it by itself.)
    Source: https://arxiv.org/abs/1502.03167
    """
    shape = input.array.shape
    check_then(then, shape[2:])
    check_dtype(input, weight, bias, running_mean, running_var)
    if len(shape) < 2:
        raise ValueError(f"expected input (N, C, ...), got {shape}")
    channels = shape[1]
    for given in (running_mean, running_var, weight, bias):
        if given is not None and given.array.shape != (channels,):
            raise RuntimeError(f"expected {given.shape[0]} channels, got {channels} (input {shape})")
    if training:
        if input.array.size == channels:
            raise ValueError(
                f"expected more than 1 value per channel when training, got input size {tuple(input.shape)}; "
                "use larger batches (drop_last=True) or model.eval()"
            )
        arguments = input, weight, bias, running_mean, running_var, momentum, eps
        return ops.batch_norm(*arguments) if then is None else ops.batch_norm_relu(*arguments, then == "relu_pool")
    if running_mean is None or running_var is None:
        raise ValueError("expected running_mean and running_var when training=False")
    known = ops.KnownNorm(running_mean, running_var, weight, bias, eps)
    y = ops.channel_affine(input, *ops.scale_and_shift(known))
    y = y if then is None else ops.relu(y)
    return ops.max_pool2d(y, (2, 2), (2, 2), (0, 0), (1, 1)) if then == "relu_pool" else y


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(var + eps) · weight + bias, over the last axes, which are `normalized_shape`.

    Source: https://arxiv.org/abs/1607.06450
    """
    check_dtype(input, weight, bias)
    shape = tuple(normalized_shape)
    if not shape or tuple(input.shape[-len(shape) :]) != shape:
        raise RuntimeError(f"expected the last axes to be {shape}, got input {tuple(input.shape)}")
    for given in (weight, bias):
        if given is not None and given.shape != shape:
            raise RuntimeError(f"expected weight and bias of shape {shape}, got {tuple(given.shape)}")
    rows = input.reshape(input.array.size // max(math.prod(shape), 1), math.prod(shape))
    w, b = (None if given is None else given.reshape(-1) for given in (weight, bias))
    return ops.layer_norm(rows, w, b, eps).reshape(input.shape)


def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Each sample of x (N, C, ...) normalised over groups of C / num_groups channels.

    Source: https://arxiv.org/abs/1803.08494
    """
    check_dtype(input, weight, bias)
    if input.ndim < 2 or input.shape[1] % num_groups:
        raise RuntimeError(f"expected input (N, C, ...) with C a multiple of {num_groups}, got {tuple(input.shape)}")
    rows = input.reshape(input.shape[0] * num_groups, math.prod(input.shape[1:]) // num_groups)
    y = ops.layer_norm(rows, None, None, eps).reshape(input.shape)
    per_channel = -1, *(1,) * (input.ndim - 2)
    y = y if weight is None else y * weight.reshape(per_channel)
    return y if bias is None else y + bias.reshape(per_channel)


def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """x / max(‖x‖ₚ along dim, eps)

    >>> from tinygrad_mnist import tensor
    >>> normalize(tensor([[3.0, 4.0]]))
    tensor([[0.6000, 0.8000]])
    """
    return input / input.norm(p, dim, keepdim=True).clamp(min=eps)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x1·x2 / (max(‖x1‖, eps) max(‖x2‖, eps)) along dim"""
    return (normalize(x1, 2.0, dim, eps) * normalize(x2, 2.0, dim, eps)).sum(dim)
