"""Class targets, checked: what cross_entropy and nll_loss share."""

from __future__ import annotations

from typing import Any

from ...tensor import Tensor


def class_last(x: Any) -> tuple[Any, int]:
    """x (N, C, d1, ...) or (C,) as rows (N·d1·..., C), and C."""
    shape = x.array.shape
    if len(shape) == 2:
        return x, shape[1]
    if not shape:
        raise RuntimeError("expected logits (N, C), (N, C, d1, ...) or (C,), got a tensor without axes")
    C = shape[0] if len(shape) == 1 else shape[1]
    if len(shape) > 2:
        x = x.movedim(1, -1)
    return x.reshape(x.array.size // max(C, 1), C), C


def class_weights(weight: Tensor | None, input: Tensor, C: int) -> Tensor | None:
    """weight, if there is one for each class."""
    if weight is None:
        return None
    reject_mixed(input, weight)
    if weight.shape != (C,):
        raise RuntimeError(f"weight must have one entry for each of {C} classes or be None, got {tuple(weight.shape)}")
    return weight


def check_classes(input: Tensor, target: Tensor) -> None:
    """Raise unless target has integers in the shape (N, d1, ...) that goes with the logits."""
    shape = input.array.shape
    if len(shape) == 2 and target.array.shape == shape[:1] and target.array.dtype.kind == "i":
        return  # the usual case
    expected = shape[:1] + shape[2:] if len(shape) > 1 else ()
    if target.dtype.kind not in "iu":
        found = f"{target.dtype} {tuple(target.shape)}"
        raise RuntimeError(f"expected class indices as integers, got {found}; use y.long()")
    if target.array.shape != expected:
        hint = "; one-hot targets must be floating: y.float()" if target.shape == input.shape else ""
        if target.ndim == 2 and target.shape == (*expected, 1):
            hint = "; use y.squeeze(1)"
        shapes = f"{expected} for input {tuple(input.shape)}, got {tuple(target.shape)}"
        raise ValueError(f"expected target of shape {shapes}{hint}")


def class_indices(input: Tensor, target: Tensor, C: int, ignore_index: int) -> Any:
    """target (N, d1, ...) as int64 (N·d1·...,), with -1 where it is `ignore_index`."""
    check_classes(input, target)
    return input.like(target.kernels.class_labels(target.array, C, ignore_index))


def reject_mixed(input: Tensor, other: Tensor) -> None:
    """Raise unless both have one dtype."""
    if other.dtype != input.dtype:
        raise RuntimeError(f"expected logits, targets and weights of one dtype, got {input.dtype} and {other.dtype}")
