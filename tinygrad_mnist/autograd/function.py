"""`Function`: a differentiable op of the user's own, as in torch.autograd."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from .modes import is_grad_enabled, no_grad
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
        """Say that these outputs have no gradient (signs, for example)."""
        self.non_differentiable = tensors


class Function:
    """A differentiable op: subclass it, write `forward` and `backward`, call `apply`.

    `forward(ctx, *args)` runs unrecorded and returns a tensor or a tuple of tensors; `backward(ctx, *grads)`
    gets one gradient per output (zeros for one that has none: integers, and what `mark_non_differentiable`
    names) and returns one per argument of forward (None where there is none). Written
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
        check_same_device(cls.__name__, [a for a in args if isinstance(a, Variable)])
        ctx = Context(tuple(isinstance(a, Variable) and a.requires_grad for a in args))
        with no_grad():
            outputs = cls.forward(ctx, *args)
        if not (is_grad_enabled() and any(ctx.needs_input_grad)):
            return outputs
        if not isinstance(outputs, tuple):
            return _record(cls, ctx, args, outputs.array, lambda y: (y,), (outputs,))
        return _record_several(cls, ctx, args, outputs)


def _record_several(cls: type[Function], ctx: Context, args: tuple, outputs: tuple) -> tuple[Variable, ...]:
    """Record several outputs as one: packed into one flat array, of which each is then a part."""
    smooth = [y.dtype.kind == "f" and not any(y is n for n in ctx.non_differentiable) for y in outputs]
    sizes = [y.array.size if s else 0 for y, s in zip(outputs, smooth, strict=True)]
    places = [
        (stop - size, stop, y.shape, y.dtype)
        for y, size, stop in zip(outputs, sizes, itertools.accumulate(sizes), strict=True)
    ]

    def unpack(packed: Variable) -> tuple[Variable, ...]:
        """The parts of `packed`; zeros for outputs that have no gradient."""
        return tuple(
            _part(packed, *place) if s else packed.like(packed.xp.zeros(*place[2:]))
            for place, s in zip(places, smooth, strict=True)
        )

    if not any(smooth):
        return outputs
    recorded = tuple(y if s else None for y, s in zip(outputs, smooth, strict=True))
    packed = outputs[0].xp.concatenate([y.array.reshape(-1) for y in recorded if y is not None])
    parts = unpack(_record(cls, ctx, args, packed, unpack, recorded))
    return tuple(part if s else y for y, s, part in zip(outputs, smooth, parts, strict=True))


def _record(
    cls: type[Function], ctx: Context, args: tuple, value: Any, unpack: Callable, outputs: tuple[Variable | None, ...]
) -> Variable:
    """Record `value` (the outputs of forward, packed into one array) with cls.backward as its gradient.

    A saved tensor that is one of the outputs has no history, since forward ran unrecorded: backward gets that
    part of the recorded output instead.
    """
    own = {j: k for j, s in enumerate(ctx.saved_tensors) for k, y in enumerate(outputs) if s is y is not None}
    kept = tuple(None if j in own else s for j, s in enumerate(ctx.saved_tensors))
    shapes = [a.shape if isinstance(a, Variable) else () for a in args]
    ctx.saved_tensors = ()
    last: tuple[Any, bool, tuple] = None, False, ()  # the g of the last call, whether recorded, and what it gave

    def gradients(g: Variable, y: Variable, kept: tuple) -> tuple:
        nonlocal last
        if last[0] is not g or last[1] != is_grad_enabled():
            ys = unpack(y)
            ctx.saved_tensors = tuple(ys[own[j]] if j in own else s for j, s in enumerate(kept))
            result = cls.backward(ctx, *unpack(g))
            ctx.saved_tensors = ()
            last = g, is_grad_enabled(), _checked(cls, result, shapes)
        return last[2]

    def gradient(i: int) -> Callable:
        # `kept` is named here so that the node knows of the tensors that must not change.
        return lambda g, y: _view(gradients(g, y, kept)[i])

    return record(f"{cls.__name__}Backward", value, args, [gradient(i) for i in range(len(args))])


def _checked(cls: type[Function], result: Any, shapes: list[tuple[int, ...]]) -> tuple:
    """What a user's backward returned, as a tuple with one gradient (or None) per argument."""
    found = result if isinstance(result, tuple) else (result,)
    if len(found) != len(shapes):
        raise RuntimeError(
            f"{cls.__name__}.backward returned {len(found)} gradients, expected {len(shapes)}, one per argument"
        )
    for i, (dx, shape) in enumerate(zip(found, shapes, strict=True)):
        if dx is not None and dx.shape != shape:
            raise RuntimeError(
                f"{cls.__name__}.backward returned a gradient of shape {tuple(dx.shape)} for argument {i}, "
                f"expected {tuple(shape)}"
            )
    return found


def _view(dx: Variable | None) -> Variable | None:
    """A view of dx, which is the user's: the walk copies views before it keeps them as `.grad`."""
    return None if dx is None else record("ViewBackward0", dx.array[...], (dx,), (lambda g: g,))


def _part(packed: Variable, start: int, stop: int, shape: tuple[int, ...], dtype: Any) -> Variable:
    """Elements start to stop of a flat array, in `shape`."""
    size, before = packed.array.size, packed.dtype
    value = packed.array[start:stop].reshape(shape).astype(dtype, copy=False)
    return record("PartBackward0", value, (packed,), [lambda g: _place(g, start, stop, size, before)])


def _place(g: Variable, start: int, stop: int, size: int, dtype: Any) -> Variable:
    """g as elements start to stop of a flat array of zeros: the adjoint of `_part`."""
    value = g.xp.zeros(size, dtype)
    value[start:stop] = g.array.reshape(-1)
    shape, before = g.shape, g.dtype
    return record("PlaceBackward0", value, (g,), [lambda h: _part(h, start, stop, shape, before)])
