"""`Function`: a differentiable op of the user's own, as in torch.autograd."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from .modes import no_grad
from .tape import Variable, check_same_device, record


class Context:
    """What `forward` leaves for `backward`."""

    def __init__(self, needs_input_grad: tuple[bool, ...]):
        self.needs_input_grad = needs_input_grad
        self.saved_tensors: tuple[Any, ...] = ()
        self.non_differentiable: tuple[Variable, ...] = ()

    def save_for_backward(self, *tensors: Variable | None) -> None:
        """Keep tensors for `backward`, which finds them in `ctx.saved_tensors`."""
        self.saved_tensors = tensors

    def mark_non_differentiable(self, *tensors: Variable) -> None:
        """Say that these outputs have no gradient (indices, for example)."""
        self.non_differentiable = tensors


class Function:
    """A differentiable op: subclass it, write `forward` and `backward`, call `apply`.

    `forward(ctx, *args)` runs unrecorded and returns a tensor or a tuple of tensors; `backward(ctx, *grads)`
    gets one gradient per output and returns one per argument of forward (None where there is none). Written
    with tensor ops, backward can be differentiated again.

    >>> from tinygrad_mnist import tensor
    >>> class Cube(Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x * x
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         (x,) = ctx.saved_tensors
    ...         return 3 * x * x * g
    >>> x = tensor(2.0, requires_grad=True)
    >>> Cube.apply(x).backward()
    >>> x.grad
    tensor(12.)
    """

    @staticmethod
    def forward(ctx: Context, *args: Any) -> Any:
        """Compute the value. To be written by the subclass."""
        raise NotImplementedError("a Function needs a static forward(ctx, *args)")

    @staticmethod
    def backward(ctx: Context, *grads: Any) -> Any:
        """Compute the gradients of the arguments. To be written by the subclass."""
        raise NotImplementedError("a Function needs a static backward(ctx, *grads)")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run `forward` on `args` and record it."""
        check_same_device(cls.__name__, args)
        ctx = Context(tuple(isinstance(a, Variable) and a.requires_grad for a in args))
        with no_grad():
            outputs = cls.forward(ctx, *args)
        if not isinstance(outputs, tuple):
            return _record(cls, ctx, args, outputs.array, lambda y: (y,), (outputs,))
        smooth = [y for y in outputs if not any(y is n for n in ctx.non_differentiable)]
        packed = outputs[0].xp.concatenate([y.array.reshape(-1) for y in smooth])
        stops = list(itertools.accumulate(y.array.size for y in smooth))
        starts = [0, *stops[:-1]]

        def unpack(packed: Variable) -> tuple[Variable, ...]:
            return tuple(
                _part(packed, start, stop, y.shape)
                for y, start, stop in zip(smooth, starts, stops, strict=True)
            )

        parts = iter(unpack(_record(cls, ctx, args, packed, unpack, tuple(smooth))))
        return tuple(next(parts) if any(y is s for s in smooth) else y for y in outputs)


def _record(
    cls: type[Function], ctx: Context, args: tuple, value: Any, unpack: Callable, outputs: tuple[Variable, ...]
) -> Variable:
    """Record `value` (the outputs of forward, packed into one array) with cls.backward as its gradient.

    A saved tensor that is one of the outputs is not held, which would be a reference cycle, but taken out
    of the recorded output when backward runs.
    """
    own = {j: k for j, s in enumerate(ctx.saved_tensors) for k, y in enumerate(outputs) if s is y}
    kept = tuple(None if j in own else s for j, s in enumerate(ctx.saved_tensors))
    ctx.saved_tensors = ()
    last: list = [None, None]  # the g that backward was last called with, and what it gave

    def gradients(g: Variable, y: Variable, kept: tuple) -> tuple:
        if last[0] is not g:
            ys = unpack(y)
            ctx.saved_tensors = tuple(ys[own[j]] if j in own else s for j, s in enumerate(kept))
            result = cls.backward(ctx, *unpack(g))
            ctx.saved_tensors = ()
            last[:] = g, result if isinstance(result, tuple) else (result,)
        return last[1]

    def gradient(i: int) -> Callable:
        def of_argument(g: Variable, y: Variable) -> Variable:
            found = gradients(g, y, kept)
            if len(found) != len(args):
                raise RuntimeError(f"{cls.__name__}.backward returned {len(found)} gradients, expected {len(args)}, one per argument")
            if found[i] is not None and found[i].shape != args_shapes[i]:
                raise RuntimeError(
                    f"{cls.__name__}.backward returned a gradient of shape {tuple(found[i].shape)} for argument {i}, "
                    f"expected {tuple(args_shapes[i])}"
                )
            return g.like(g.xp.zeros(args_shapes[i], g.dtype)) if found[i] is None else found[i]

        return of_argument

    args_shapes = [a.shape if isinstance(a, Variable) else () for a in args]
    return record(f"{cls.__name__}Backward", value, args, [gradient(i) for i in range(len(args))])


def _part(packed: Variable, start: int, stop: int, shape: tuple[int, ...]) -> Variable:
    """Elements start to stop of a flat array, in `shape`."""
    size = packed.array.size
    value = packed.array[start:stop].reshape(shape)
    return record("PartBackward", value, (packed,), [lambda g: _place(g, start, stop, size)])


def _place(part: Variable, start: int, stop: int, size: int) -> Variable:
    """`part` at start to stop of a flat array of zeros: the adjoint of `_part`."""
    shape = part.shape
    value = part.xp.zeros(size, part.dtype)
    value[start:stop] = part.array.reshape(-1)
    return record("PlaceBackward", value, (part,), [lambda g: _part(g, start, stop, shape)])
