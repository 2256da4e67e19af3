"""Helpers for training, as in torch.nn.utils: gradient clipping, and parameters as one vector."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

from .. import backend, creation, ops
from ..tensor import Tensor


def _listed(tensors: Tensor | Iterable[Tensor]) -> list[Tensor]:
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Any]:
    return [p.grad for p in _listed(parameters) if p.grad is not None]


def get_total_norm(
    tensors: Tensor | Iterable[Tensor], norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Tensor:
    """The norm of all elements of all tensors, as if they were one vector: (sum of |x|^p)^(1/p), max |x| for inf."""
    tensors = _listed(tensors)
    if not tensors:
        return creation.tensor(0.0)
    norm_type = float(norm_type)
    first = tensors[0]
    xp, home = first.xp, backend.of(first.array)
    norms = [home.to_device(x.xp.linalg.norm(x.array.reshape(-1), norm_type)[None]) for x in tensors if x.numel()]
    joined = xp.concatenate(norms or [xp.zeros(1, first.dtype)])
    total: Tensor = creation.wrap(xp.asarray(xp.linalg.norm(joined, norm_type)))
    if error_if_nonfinite and not xp.isfinite(total.array):
        raise RuntimeError(
            f"the total norm of order {norm_type} of the gradients is {total.item()}, so they cannot be clipped; "
            "find the cause with autograd.detect_anomaly(), or pass error_if_nonfinite=False to scale them anyway"
        )
    return total


def clip_grads_with_norm_(parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: Tensor) -> None:
    """Scale all gradients in place by min(1, max_norm / (total_norm + 1e-6))."""
    xp = total_norm.xp
    factor = xp.asarray(xp.minimum(float(max_norm) / (total_norm.array + 1e-6), 1.0))
    for g in _gradients(parameters):
        g.array *= backend.of(g.array).to_device(factor)
        g.version[0] += 1


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Tensor:
    """Scale all gradients in place so that their total norm is at most `max_norm`; returns the norm before.

    >>> p = creation.zeros(2, requires_grad=True)
    >>> p.grad = creation.tensor([3.0, 4.0])
    >>> clip_grad_norm_([p], max_norm=1.0)
    tensor(5.)
    >>> p.grad
    tensor([0.6000, 0.8000])
    """
    is_iterator = isinstance(parameters, Iterable) and iter(parameters) is parameters
    parameters = _listed(parameters)
    if is_iterator and not parameters:
        warnings.warn("clip_grad_norm_: `parameters` is an empty generator: was it used up before?", stacklevel=2)
    total_norm = get_total_norm(_gradients(parameters), norm_type, error_if_nonfinite)
    clip_grads_with_norm_(parameters, max_norm, total_norm)
    return total_norm


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Clip every element of all gradients, in place, to [-clip_value, clip_value]."""
    clip_value = float(clip_value)
    for g in _gradients(parameters):
        g.xp.clip(g.array, -clip_value, clip_value, out=g.array)
        g.version[0] += 1


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All elements of all parameters as one vector, in order."""
    vector: Any = ops.cat([p.reshape(-1) for p in parameters], 0)
    return vector


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Put the elements of a vector, in order, into the parameters, which share its memory from then on."""
    if not isinstance(vec, Tensor):
        raise TypeError(f"vector_to_parameters: expected a Tensor, but got {type(vec).__name__}")
    parameters = list(parameters)
    expected = sum(p.numel() for p in parameters)
    if tuple(vec.shape) != (expected,):
        raise ValueError(
            f"vector_to_parameters: expected a vector of {expected} elements, got shape {tuple(vec.shape)}"
        )
    start = 0
    for p in parameters:
        p.data = vec.data[start : start + p.numel()].reshape(p.shape)
        start += p.numel()
