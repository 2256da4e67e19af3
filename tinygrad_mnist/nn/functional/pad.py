"""Padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ... import ops
from ...tensor import Tensor


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Any:
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
    if mode != "constant" and value:
        raise ValueError(f"pad: mode {mode!r} takes no value, got {value}")
    return ops.pad(input, [sizes.get(axis, (0, 0)) for axis in range(input.ndim)], mode, value or 0)
