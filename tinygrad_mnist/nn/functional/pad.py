"""Padding."""

from __future__ import annotations

from collections.abc import Sequence

from ... import ops
from ...tensor import Tensor


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Add elements around the last axes of `input`: pad = (left, right, top, bottom, ...), the last axis first.

    Modes: 'constant' (`value`, default 0; negative sizes crop), 'reflect' (without the edge), 'replicate' (the
    edge), 'circular'. Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.pad.html

    >>> from tinygrad_mnist import tensor
    >>> pad(tensor([1, 2, 3]), (2, 1), mode="reflect")
    tensor([3, 2, 1, 2, 3, 2])
    """
    if len(pad) % 2 or len(pad) > 2 * input.ndim:
        raise RuntimeError(f"pad: expected two sizes for each of at most {input.ndim} axes, got {tuple(pad)}")
    sizes = {input.ndim - 1 - i // 2: (pad[i], pad[i + 1]) for i in range(0, len(pad), 2)}
    if mode == "constant":
        widths = tuple(sizes.get(axis, (0, 0)) for axis in range(input.ndim))
        return ops.pad(input, widths, 0 if value is None else value)
    if mode not in ("reflect", "replicate", "circular"):
        raise NotImplementedError(f"pad: expected mode 'constant', 'reflect', 'replicate' or 'circular', got {mode!r}")
    if value:
        raise ValueError(f"pad: mode {mode!r} takes no value, got {value}")
    for axis, (before, after) in sizes.items():
        if before or after:
            input = _by_index(input, axis, before, after, mode)
    return input


def _by_index(x: Tensor, axis: int, before: int, after: int, mode: str) -> Tensor:
    """x padded along one axis with its own elements."""
    n = x.shape[axis]
    most = {"reflect": n - 1, "circular": n, "replicate": before + after if n else 0}[mode]
    if max(before, after) > most or min(before, after) < -n:
        raise RuntimeError(
            f"pad: mode {mode!r} can add at most {most} elements to an axis of {n}, got ({before}, {after}) "
            f"for axis {axis} of input {tuple(x.shape)}"
        )
    at = x.xp.arange(-before, n + after)
    if mode == "replicate":
        at = at.clip(0, n - 1)
    elif mode == "circular":
        at = at % n
    elif n > 1:
        at = abs((at + n - 1) % (2 * n - 2) - (n - 1))
    return x.index_select(axis, x.like(at))
