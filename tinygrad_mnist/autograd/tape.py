"""The tape: it records what was computed from what, and walks back along it.

A `Variable` is an array and the `Node` that made it. A node keeps one gradient function per input
that wants a gradient, and nothing else: what such a function needs, it has captured. `walk.py`
goes through the nodes from the newest to the oldest and hands every gradient on.

Nothing here knows an op by name; the ops are in `ops/`.
"""

from __future__ import annotations

import functools
import itertools
import traceback
import weakref
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from ..backend import CPU, of
from ..backend import device as Device
from . import anomaly
from .hooks import RemovableHandle
from .modes import thread

Gradient = Callable[..., "Variable"]  # g -> dx, or (g, y) -> dx with y the op's own output


class Variable:
    """An array, and where it came from. `Tensor` is the subclass that people use."""

    kind: ClassVar[type[Variable]]  # the class of what ops return; set by `Tensor`

    array: Any
    node: Node | None  # the op that made it; None for a leaf
    grad: Variable | None
    version: list[int]  # how often the memory was changed in place; views share it
    base: tuple[Variable, Node | None] | None  # of a view: whose memory it shows, and that one's node at the time
    _wants_grad: bool
    _hooks: dict[int, Callable] | None

    __slots__ = ("__weakref__", "_hooks", "_wants_grad", "array", "base", "grad", "node", "version")

    @classmethod
    def wrap(cls, array: Any, node: Node | None = None) -> Self:
        """A Variable around `array` (which must be an array, not a list or a number)."""
        self = cls.__new__(cls)
        self.array = array
        self.node = node
        self.grad = None
        self.version = [0]
        self.base = None
        self._wants_grad = False
        self._hooks = None
        return self

    def like(self, array: Any) -> Any:
        """`array` as a Variable of the kind that ops return (a Tensor), with no history."""
        if type(array) is not type(self.array) and (isinstance(array, np.generic) or not hasattr(array, "dtype")):
            array = self.xp.asarray(array)  # a number; an array of another device stays one
        return self.kind.wrap(array)

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to or through this."""
        return self._wants_grad or self.node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if self.node is not None and not value:
            raise RuntimeError(
                "you can only change requires_grad flags of leaf tensors; use y.detach() to cut y off its history"
            )
        if value and self.array.dtype.kind != "f":
            raise RuntimeError(
                f"only floating-point tensors can require gradients, got {self.array.dtype}; call .float() first"
            )
        self._wants_grad = bool(value) and self.node is None

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded op made this."""
        return self.node is None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def ndim(self) -> int:
        return self.array.ndim

    @property
    def dtype(self) -> np.dtype:
        return self.array.dtype

    @property
    def xp(self) -> Any:
        """The array module (numpy or cupy) of this array's device."""
        return np if type(self.array) is np.ndarray else of(self.array).xp

    @property
    def kernels(self) -> Any:
        """The kernels of this array's device."""
        return (CPU if type(self.array) is np.ndarray else of(self.array)).kernels

    @property
    def device(self) -> Device:
        """Where the array lives."""
        if type(self.array) is np.ndarray:
            return CPU.device
        return Device("cuda", self.array.device.id)

    def detach(self) -> Variable:
        """The same memory, cut off from the tape."""
        out = self.kind.wrap(self.array)
        out.version = self.version
        return out

    def register_hook(self, hook: Callable[[Any], Any]) -> RemovableHandle:
        """Call `hook(grad)` when the gradient of this is known; what it returns (if anything) replaces it."""
        if not self.requires_grad:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        owner = self if self.node is None else self.node
        if owner._hooks is None:
            owner._hooks = {}
        return RemovableHandle(owner._hooks, hook)

    def retain_grad(self) -> None:
        """Keep the gradient of a non-leaf in `.grad` too."""
        if not self.requires_grad:
            raise RuntimeError("can't retain_grad on a tensor that has requires_grad=False")
        if self.node is not None and not self.retains_grad:
            self.node.retainer = weakref.ref(self)

    @property
    def retains_grad(self) -> bool:
        """Whether `retain_grad` was called on this non-leaf."""
        return self.node is not None and self.node.retainer is not None and self.node.retainer() is self


class Node:
    """One recorded op: whom its inputs came from, and a gradient function for each that wants one."""

    __slots__ = ("_hooks", "edges", "name", "order", "output", "retainer", "saved", "trace")
    _order = itertools.count()

    def __init__(self, name: str, edges: list[tuple[Node | Variable, Gradient]], output: Variable):
        self.name = name
        self.order = next(self._order)
        self.edges: list[tuple[Node | Variable, Gradient]] | None = edges  # None once freed
        # What must not change until backward, and its count of changes.
        self.saved = [(v, v.version[0]) for v in captured(edges)]
        self.output: tuple[type[Variable], Any, list[int], int] | None = None
        for _, fn in edges:
            if takes_output(fn):
                # The array, not the Variable: a node that held its own output would be a reference cycle.
                self.output = output.kind, output.array, output.version, output.version[0]
        self._hooks: dict[int, Callable] | None = None
        self.retainer: weakref.ref[Variable] | None = None  # whose .grad to fill: see retain_grad
        self.trace = traceback.extract_stack()[:-3] if thread.mode.anomaly else None

    def __repr__(self) -> str:
        return f"<{self.name}>"

    @property
    def next_functions(self) -> tuple[tuple[Node | Variable, int], ...]:
        """The nodes (or leaves) that this op's inputs came from, as PyTorch names them."""
        return tuple((parent, 0) for parent, _ in self.edges or ())

    def free(self) -> None:
        """Let go of everything that was kept for the gradients."""
        self.edges = None
        self.saved = []
        self.output = None

    def own_output(self) -> Variable:
        """The op's output as a Variable again, tied to this node."""
        assert self.output is not None
        kind, array, version, _ = self.output
        y = kind.wrap(array, self)
        y.version = version
        return y

    def check_unchanged(self) -> None:
        """Raise if something that the gradients need was overwritten since the op ran."""
        for v, then in self.saved:
            self._check(v.array, v.version, then)
        if self.output is not None:
            self._check(*self.output[1:])

    def _check(self, array: Any, version: list[int], then: int) -> None:
        if version[0] != then:
            raise RuntimeError(
                f"a tensor of shape {array.shape} that the gradient of {self.name} needs has been modified by an "
                f"inplace operation ({version[0] - then} since it was used). Use the out-of-place form "
                "(y = x + 1, not x += 1), or change it after backward()."
            )


def takes_output(fn: Gradient) -> bool:
    """Whether a gradient function is `(g, y) -> dx` and not `g -> dx`."""
    return fn.__code__.co_argcount == 2


def captured(edges: Sequence[tuple[Any, Gradient]]) -> list[Variable]:
    """The Variables that the gradient functions of these edges hold on to."""
    cells = {id(cell): cell for _, fn in edges for cell in fn.__closure__ or ()}  # those of one op share most
    found = []
    for cell in cells.values():
        content = cell.cell_contents
        if isinstance(content, Variable):
            found.append(content)
        elif type(content) in (tuple, list):
            found += [v for v in content if isinstance(v, Variable)]
    return found


def op(fn: Callable[..., tuple]) -> Callable[..., Any]:
    """Make a differentiable op of a function that returns `(value, *gradients)`.

    `value` is an array; then one gradient function per positional argument, in order: it maps g, the
    gradient at the output, to the gradient at that argument (same shape and dtype), in terms of other ops,
    so that it can be differentiated again. It may take the op's output as second argument. None, or
    leaving it out, says that the argument has no gradient.

        @op
        def exp(x):
            return x.xp.exp(x.array), lambda g, y: mul(g, y)
    """
    name = "".join(part.capitalize() for part in fn.__name__.split("_")) + "Backward0"
    elsewhere = np.errstate(all="ignore")(fn)

    @functools.wraps(fn)
    def apply(*args: Any, **kwargs: Any) -> Variable:
        for a in args:
            if isinstance(a, Variable) and type(a.array) is not np.ndarray:
                check_same_device(fn.__name__, [v for v in args if isinstance(v, Variable)])
                value, *gradients = elsewhere(*args, **kwargs)
                break
        else:
            value, *gradients = thread.mode.silently(fn, args, kwargs)
        return record(name, value, args, gradients)

    apply.is_op = True  # type: ignore[attr-defined]  # the tests find the ops by this mark
    return apply


def check_same_device(name: str, inputs: Sequence[Variable]) -> None:
    """Raise if the tensors live on different devices."""
    for x in inputs:
        if type(x.array) is not type(inputs[0].array):
            found = ", ".join(f"{tuple(v.shape)} on {v.device}" for v in inputs)
            raise RuntimeError(
                f"{name}: expected all tensors to be on the same device, but found {found}; "
                "move them with .to('cpu') or .to('cuda')"
            )


def record(name: str, value: Any, args: Sequence[Any], gradients: Sequence[Gradient | None]) -> Variable:
    """`value` as a Variable; a node that says how it was made, if an input (a Variable among `args`) wants a gradient.

    It is a view of the input whose memory it shows, if there is one.
    """
    mode, out = thread.mode, None
    edges: list[tuple[Node | Variable, Gradient]] = []
    for i, a in enumerate(args):
        if isinstance(a, Variable):
            if out is None:
                out = a.like(value)
                array, memory = out.array, out.array.base
            shown = a.array
            if array is shown or (memory is not None and (memory is shown or memory is shown.base)):
                out.version, out.base = a.version, a.base or (a, a.node)
            if mode.grad and i < len(gradients):
                if a.base is not None:
                    _check_view(name, a)
                fn = gradients[i]
                if fn is not None and (a.node is not None or a._wants_grad):
                    edges.append((a if a.node is None else a.node, fn))
    assert out is not None
    if edges:
        out.node = Node(name, edges, out)
    if mode.anomaly and not mode.walking:
        anomaly.check_value(name, out, [a for a in args if isinstance(a, Variable)])
    return out


def _check_view(name: str, view: Variable) -> None:
    """Raise if what `view` shows was rewritten by a recorded op: the view's own history is then out of date."""
    assert view.base is not None
    base, node = view.base
    if base.node is not node:
        raise RuntimeError(
            f"{name}: its input of shape {tuple(view.shape)} is a view of a tensor of shape {tuple(base.shape)} that "
            "was changed in place after the view was taken; take the view again, or change the tensor out of place"
        )
