"""Losses. `reduction` is 'mean', 'sum' or 'none' (one loss per element or sample).

Options are keywords only: PyTorch still has two deprecated arguments before them.
"""

from __future__ import annotations

import warnings
from typing import Any

from ... import ops
from ...tensor import Tensor
from .check import check_dtype
from .target import check_classes, class_indices, class_last, class_weights, reject_mixed


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-log softmax(input) at the target class, for logits (N, C), (N, C, d1, ...) or (C,).

    target: class indices (N, d1, ...), or probabilities in the shape of the logits. With class weights w, the
    mean over indices divides by the sum of w[target]; over probabilities by the number of samples. Nothing to
    average (an empty batch, all targets ignored) gives NaN.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html

    >>> from tinygrad_mnist import tensor
    >>> cross_entropy(tensor([[0.0, 0.0]]), tensor([1]))
    tensor(0.6931)
    """
    check_dtype(input)
    if not 0 <= label_smoothing <= 1:
        raise RuntimeError(f"label_smoothing must be between 0 and 1, got {label_smoothing}")
    rows, C = class_last(input)  # (M, C)
    w = class_weights(weight, input, C)
    if target.dtype.kind == "f":
        return _soft_cross_entropy(input, target, rows, w, ignore_index, reduction, label_smoothing)
    if w is None and reduction == "mean":
        check_classes(input, target)
        return ops.mean_cross_entropy(rows, target, ignore_index, label_smoothing)
    labels = class_indices(input, target, C, ignore_index)
    losses = ops.softmax_cross_entropy(rows, labels, label_smoothing if w is None else 0.0)
    counted = (labels >= 0).to(input.dtype)
    row_weights = counted if w is None else counted * ops.index_select(w, 0, labels.clamp(min=0))
    if w is not None:
        losses = losses * row_weights
    if w is not None and label_smoothing:
        smooth: Any = ops.where(labels >= 0, -(rows.log_softmax(1) * w).sum(1), 0.0)
        losses = losses * (1 - label_smoothing) + smooth * (label_smoothing / C)
    return _reduce_rows(losses, row_weights, target, reduction)


def _soft_cross_entropy(
    input: Tensor,
    target: Tensor,
    rows: Tensor,
    w: Tensor | None,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
) -> Tensor:
    """cross_entropy with class probabilities."""
    if target.shape != input.shape:
        raise RuntimeError(
            f"expected class indices (integers), or probabilities in the shape of the logits {tuple(input.shape)}; got "
            f"{target.dtype} {tuple(target.shape)}. Labels become integers with y.long()"
        )
    reject_mixed(input, target)
    if ignore_index >= 0:
        raise RuntimeError("ignore_index is not supported for floating point target")
    q, C = class_last(target)
    if w is None:
        losses = ops.soft_cross_entropy(rows, q, label_smoothing)
    else:
        losses = -(rows.log_softmax(1) * (q * (1 - label_smoothing) + label_smoothing / C) * w).sum(1)
    if reduction == "none":
        return losses.reshape(input.shape[:1] + input.shape[2:]) if input.ndim > 1 else losses.reshape(())
    return _reduce(losses, reduction)


def nll_loss(
    input: Tensor, target: Tensor, weight: Tensor | None = None, *, ignore_index: int = -100, reduction: str = "mean"
) -> Tensor:
    """-input at the target class: the loss for log-probabilities. Shapes and weights: cross_entropy's."""
    check_dtype(input)
    rows, C = class_last(input)
    w = class_weights(weight, input, C)
    labels = class_indices(input, target, C, ignore_index)
    counted = (labels >= 0).to(input.dtype)
    row_weights = counted if w is None else counted * ops.index_select(w, 0, labels.clamp(min=0))
    is_target = labels.reshape(-1, 1) == labels.like(labels.xp.arange(C))  # all False where a row does not count
    losses = -ops.where(is_target, rows, 0.0).sum(1) * row_weights
    return _reduce_rows(losses, row_weights, target, reduction)


def _reduce_rows(losses: Any, row_weights: Any, target: Tensor, reduction: str) -> Tensor:
    """One loss per row in the shape of the targets, their sum, or their weighted mean."""
    if reduction == "mean":
        return losses.sum() / row_weights.sum()
    return _reduce(losses.reshape(target.shape), reduction)


def mse_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """(x - t)²"""
    d = _difference(input, target)
    return _reduce(d * d, reduction)


def l1_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """|x - t|"""
    return _reduce(_difference(input, target).abs(), reduction)


def smooth_l1_loss(input: Tensor, target: Tensor, *, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """(x - t)² / (2 beta) where |x - t| < beta, else |x - t| - beta / 2"""
    if beta < 0:
        raise RuntimeError(f"smooth_l1_loss does not support negative values for beta, got {beta}")
    if beta == 0:
        return l1_loss(input, target, reduction=reduction)
    d = _difference(input, target)
    size = d.abs()
    return _reduce(ops.where(size < beta, d * d * (0.5 / beta), size - 0.5 * beta), reduction)


def huber_loss(input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """(x - t)² / 2 where |x - t| < delta, else delta (|x - t| - delta / 2)"""
    if delta <= 0:
        raise RuntimeError(f"huber_loss does not support non-positive values for delta, got {delta}")
    d = _difference(input, target)
    size = d.abs()
    return _reduce(ops.where(size < delta, d * d * 0.5, (size - 0.5 * delta) * delta), reduction)


def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, *, reduction: str = "mean"
) -> Tensor:
    """-t log x - (1 - t) log(1 - x) for probabilities x; logarithms are at least -100."""
    _same_shape(input, target)
    input.kernels.check_probabilities(input.array)
    losses = ops.binary_cross_entropy(input, target)
    return _reduce(losses if weight is None else losses * weight, reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """-pos_weight · t log s - (1 - t) log(1 - s) with s = sigmoid(x), finite for every x."""
    _same_shape(input, target)
    if pos_weight is None:
        losses = ops.binary_cross_entropy_with_logits(input, target)
    else:
        positive = (pos_weight - 1) * target + 1
        losses = (1 - target) * input + positive * ops.binary_cross_entropy_with_logits(input, 1.0)
    return _reduce(losses if weight is None else losses * weight, reduction)


def kl_div(input: Tensor, target: Tensor, *, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """t (log t - x) for log-probabilities x and probabilities t (logarithms with `log_target`).

    'batchmean' divides the sum by the batch size, as the mathematics has it; 'mean' by the number of elements.
    """
    if reduction == "mean":
        warnings.warn(
            "reduction: 'mean' divides by the batch size and the number of classes; 'batchmean' is the KL divergence",
            stacklevel=2,
        )
    if log_target:
        losses = target.exp() * (target - input)
    else:
        safe: Any = ops.where(target > 0, target, 1.0)
        losses = target * safe.log() - target * input
    if reduction == "batchmean":
        return losses.sum() / losses.shape[0]
    return _reduce(losses, reduction)


def _reduce(losses: Any, reduction: str) -> Tensor:
    if reduction == "mean":
        return losses.mean()
    if reduction == "sum":
        return losses.sum()
    if reduction == "none":
        return losses
    raise ValueError(f"{reduction!r} is not a valid value for reduction: use 'mean', 'sum' or 'none'")


def _difference(input: Tensor, target: Tensor) -> Tensor:
    if input.shape != target.shape:
        warnings.warn(
            f"using a target size {tuple(target.shape)} that is different to the input size {tuple(input.shape)}: "
            "they are broadcast, which is rarely meant. Please ensure they have the same size.",
            stacklevel=3,
        )
    return input - target


def _same_shape(input: Tensor, target: Tensor) -> None:
    if input.shape != target.shape:
        raise ValueError(f"target size {tuple(target.shape)} must be the same as input size {tuple(input.shape)}")
