"""Comparing a function of tensors with PyTorch's: value, gradients and gradients of gradients, in float64."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import tinygrad_mnist as tg


def close(got: Any, expected: Any, tol: float = 1e-10) -> None:
    """Assert equal shapes and values, up to tol · max(1, |expected|); NaN must meet NaN."""
    got, expected = (to_numpy(v) for v in (got, expected))
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=tol, atol=tol)


def to_numpy(v: Any) -> np.ndarray:
    """A tensor of either library, or numbers, as a NumPy array."""
    if isinstance(v, torch.Tensor):
        return v.numpy(force=True)
    return v.detach().cpu().numpy() if isinstance(v, tg.Tensor) else np.asarray(v)


def agree(
    ours: Callable[..., Any],
    theirs: Callable[..., Any],
    *inputs: np.ndarray,
    device: str = "cpu",
    tol: float = 1e-10,
    second: bool = True,
) -> None:
    """Assert that both functions of `inputs` have the same value, gradients and (`second`) gradients of gradients."""
    results = [
        _derivatives(tg.autograd.grad, ours, [tg.tensor(x, device=device, requires_grad=True) for x in inputs], second),
        _derivatives(torch.autograd.grad, theirs, [torch.tensor(x, requires_grad=True) for x in inputs], second),
    ]
    assert len(results[0]) == len(results[1])
    for got, expected in zip(*results, strict=True):
        close(got, expected, tol)


def _derivatives(grad: Callable[..., Any], fn: Callable[..., Any], inputs: list, second: bool) -> list:
    y = fn(*inputs)
    first = grad(_weighted(y), inputs, create_graph=second, allow_unused=True, materialize_grads=True)
    found = [y, *first]
    if not second:
        return found
    moving = [g for g in first if g.requires_grad]
    if not moving:  # linear in all inputs: the gradients are constant
        return [*found, *(0 * to_numpy(x) for x in inputs)]
    total = sum(_weighted(g, 1.7) for g in moving)
    return [*found, *grad(total, inputs, allow_unused=True, materialize_grads=True)]


def _weighted(y: Any, phase: float = 0.3) -> Any:
    """A number that every element of y changes by a different amount: sum of y_i cos(phase + i)."""
    count = int(np.prod(y.shape))
    weights = np.cos(phase + np.arange(count)).reshape(tuple(y.shape))
    as_tensor = torch.tensor if isinstance(y, torch.Tensor) else tg.tensor
    return (y * as_tensor(weights).to(y)).sum()
