"""`gradcheck` and `gradgradcheck`: are the gradients of a function those that finite differences give?"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..backend import CPU
from .modes import enable_grad
from .tape import Variable
from .walk import grad

Function = Callable[..., Any]


class GradcheckError(RuntimeError):
    """The gradients of a function are not those that finite differences give; the message says where."""


def gradcheck(
    func: Function,
    inputs: Variable | Sequence[Any],
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Compare the Jacobian of `func` by backward with (f(x + eps) - f(x - eps)) / (2 eps), element by element.

    `func(*inputs)` returns a tensor or a tuple of them. The inputs that require grad are checked; they are changed by
    eps in place and put back, so each of their elements needs memory of its own. Passes if
    |analytical - numerical| <= atol + rtol · |numerical| everywhere (never with NaN). Else raises GradcheckError, or
    returns False without `raise_exception`. Use float64: float32 is too coarse for this eps, and warned about.
    Source: torch.autograd.gradcheck

    >>> from tinygrad_mnist import float64, tensor
    >>> x = tensor([0.5, 2.0], dtype=float64, requires_grad=True)
    >>> gradcheck(lambda x: x * x * x, x)
    True
    """
    args = (inputs,) if isinstance(inputs, Variable) else tuple(inputs)
    checked = _checked_inputs(args)
    try:
        _check(func, args, checked, eps, atol, rtol)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    func: Function,
    inputs: Variable | Sequence[Any],
    grad_outputs: Variable | Sequence[Variable] | None = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """`gradcheck` of the gradients: checks second derivatives, also with respect to `grad_outputs` (default: random).

    Source: torch.autograd.gradgradcheck

    >>> from tinygrad_mnist import float64, tensor
    >>> x = tensor([0.5, 2.0], dtype=float64, requires_grad=True)
    >>> gradgradcheck(lambda x: x * x * x, x)
    True
    """
    args = (inputs,) if isinstance(inputs, Variable) else tuple(inputs)
    outputs = [y for y in _outputs(func, args) if y.requires_grad]
    if grad_outputs is None:
        rng = np.random.default_rng(0)
        seeds = [y.like(y.xp.asarray(rng.standard_normal(y.shape), y.dtype)) for y in outputs]
        for g in seeds:
            g.requires_grad = True
    else:
        seeds = [grad_outputs] if isinstance(grad_outputs, Variable) else list(grad_outputs)

    def gradients(*both: Any) -> tuple[Variable, ...]:
        these, g = both[: len(args)], both[len(args) :]
        smooth = [y for y in _outputs(func, these) if y.requires_grad]
        wanted = [x for x in these if isinstance(x, Variable) and x.requires_grad]
        found = grad(smooth, wanted, g, create_graph=True, allow_unused=True)
        return tuple(dx for dx in found if dx is not None)

    return gradcheck(gradients, (*args, *seeds), eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception)


def _check(
    func: Function, args: Sequence[Any], checked: list[tuple[int, Variable]], eps: float, atol: float, rtol: float
) -> None:
    inputs = [x for _, x in checked]
    analytical = []
    for j, y in enumerate(_outputs(func, args)):
        analytical.append(_analytical(y, inputs, [f"output {j} with respect to input {i}" for i, _ in checked]))
    for k, (i, x) in enumerate(checked):
        for j, numerical in enumerate(_numerical(func, args, x, eps)):
            _compare(analytical[j][k], numerical, f"output {j} with respect to input {i}", atol, rtol)


def _checked_inputs(args: Sequence[Any]) -> list[tuple[int, Variable]]:
    """The inputs that require grad, and where they stand among the arguments."""
    checked = [(i, x) for i, x in enumerate(args) if isinstance(x, Variable) and x.requires_grad]
    if not checked:
        raise ValueError("gradcheck expects at least one input with requires_grad=True, got none")
    for i, x in checked:
        if x.dtype != np.float64:
            warnings.warn(
                f"gradcheck: input {i} is {x.dtype}, not double precision: the check will likely fail; call .double()",
                stacklevel=3,
            )
        if x.array.size and 0 in (s for s, n in zip(x.array.strides, x.shape, strict=True) if n > 1):
            raise RuntimeError(f"gradcheck: input {i} repeats elements in memory (expanded?); clone() it first")
    return checked


def _outputs(func: Function, args: Sequence[Any]) -> list[Variable]:
    """The floating outputs of func."""
    with enable_grad():  # for second derivatives `func` itself differentiates
        result = func(*args)
    return [y for y in (result if isinstance(result, tuple | list) else (result,)) if y.dtype.kind == "f"]


def _analytical(y: Variable, inputs: Sequence[Variable], names: Sequence[str]) -> list[np.ndarray]:
    """For each input the Jacobian of y by backward: (elements of y, elements of the input)."""
    jacobians = [np.zeros((y.array.size, x.array.size)) for x in inputs]
    for k in range(y.array.size if y.requires_grad else 0):
        seed = np.zeros(y.array.size, y.dtype)
        seed[k] = 1
        g = y.like(y.xp.asarray(seed.reshape(y.shape)))
        found = grad(y, inputs, g, retain_graph=True, allow_unused=True)
        for jacobian, x, dx, name in zip(jacobians, inputs, found, names, strict=True):
            if dx is not None:
                if (dx.shape, dx.dtype) != (x.shape, x.dtype):
                    raise GradcheckError(
                        f"gradcheck: the gradient of {name} has shape {tuple(dx.shape)} and dtype {dx.dtype}, "
                        f"expected {tuple(x.shape)} and {x.dtype}"
                    )
                jacobian[k] = CPU.to_device(dx.array).reshape(-1)
    return jacobians


def _numerical(func: Function, args: Sequence[Any], x: Variable, eps: float) -> list[np.ndarray]:
    """For each output its Jacobian with respect to x by central differences: (elements of y, elements of x)."""
    columns = []
    for index in np.ndindex(*x.shape):
        before = x.array[index].copy()
        values = []
        try:
            for step in (eps, -eps):
                x.array[index] = before + step
                values.append([CPU.to_device(y.array).flatten() for y in _outputs(func, args)])
        finally:
            x.array[index] = before
        columns.append([(above - below) / (2 * eps) for above, below in zip(*values, strict=True)])
    return [np.stack(of_output, axis=1) for of_output in zip(*columns, strict=True)]


def _compare(analytical: np.ndarray, numerical: np.ndarray, name: str, atol: float, rtol: float) -> None:
    close = np.abs(analytical - numerical) <= atol + rtol * np.abs(numerical)  # False for NaN
    if not close.all():
        row, column = np.argwhere(~close)[0]
        raise GradcheckError(
            f"gradcheck: Jacobian mismatch for {name}: at output element {row}, input element {column} the gradient is "
            f"numerical {numerical[row, column]:.9g}, analytical {analytical[row, column]:.9g} "
            f"({np.sum(~close)} of {close.size} elements differ)\nnumerical:\n{numerical}\nanalytical:\n{analytical}"
        )
