"""The walk back along the tape: `backward` and `grad`."""

from __future__ import annotations

import heapq
import sys
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from ..kernels.memory import Loan
from . import anomaly
from .modes import set_grad_enabled, thread, walking
from .tape import Node, Variable, check_same_device, record, takes_output

_order = attrgetter("order")


def walk(
    roots: Sequence[Variable],
    seeds: Sequence[Variable],
    retain_graph: bool,
    create_graph: bool,
    targets: Sequence[Variable] | None = None,
) -> dict[int, tuple[Variable, Variable]]:
    """Carry gradients from `roots` back to the leaves; returns id(leaf) -> (leaf, its gradient).

    Each node is visited once, when all gradients that flow into it have arrived: nodes are numbered as
    they are recorded, so that going from the highest number to the lowest is a topological order. Only
    what leads to `targets` (default: every leaf) is computed, and only they are returned.
    """
    route = None if targets is None else _Route(roots, targets)
    leading = None if route is None else route.leading
    pending: dict[int, Variable] = {}  # id(node or leaf) -> the sum of the gradients that arrived
    leaves: dict[int, Variable] = {}
    heap: list[tuple[int, Node]] = []
    found: dict[int, tuple[Variable, Variable]] = {}

    def send(to: Node | Variable, g: Variable) -> None:
        key = id(to)
        if key in pending:
            pending[key] = _add(pending[key], g) if create_graph else g.like(pending[key].array + g.array)
            return
        pending[key] = g
        if isinstance(to, Node):
            heapq.heappush(heap, (-to.order, to))
        else:
            leaves[key] = to

    with walking(create_graph, targets is None), np.errstate(all="ignore"):  # as in an op
        for root, seed in zip(roots, seeds, strict=True):
            start = root if root.node is None else root.node
            if leading is None or id(start) in leading:
                send(start, seed)
        while heap:
            _, node = heapq.heappop(heap)
            g = pending.pop(id(node))
            if node._hooks:
                g = _run_hooks(node._hooks, g)
            retainer = None if node.retainer is None else node.retainer()
            if retainer is not None:
                accumulate(retainer, _own(g), create_graph)
            if route is None or id(node) in route.through:
                _send_to_inputs(node, g, send, leading)
                if not retain_graph:
                    node.free()
            if route is not None and id(node) in route.inner:
                target = route.inner[id(node)]
                found[id(target)] = target, g
        for key, leaf in leaves.items():
            g = pending.pop(key)
            found[key] = leaf, _run_hooks(leaf._hooks, g) if leaf._hooks else g
    return found


class _Route:
    """Which nodes lie between `roots` and `targets`: the others' gradients are not computed."""

    def __init__(self, roots: Sequence[Variable], targets: Sequence[Variable]):
        self.inner: dict[int, Variable] = {}  # the targets that are not leaves, by the id of their nodes
        self.through: set[int] = set()  # nodes with a gradient function to call
        self.leading: set[int] = set()  # a gradient sent there reaches a target
        for t in targets:
            if t.node is None:
                self.leading.add(id(t))
            else:
                self.leading.add(id(t.node))
                self.inner[id(t.node)] = t
        nodes: set[Node] = set()
        stack: list[Any] = [r.node for r in roots]
        while stack:
            node = stack.pop()
            if isinstance(node, Node) and node not in nodes:
                nodes.add(node)
                for parent, _ in node.edges or ():
                    stack.append(parent)
        for node in sorted(nodes, key=_order):  # inputs before outputs
            for parent, _ in node.edges or ():
                if id(parent) in self.leading:
                    self.through.add(id(node))
                    self.leading.add(id(node))
                    break


def _send_to_inputs(node: Node, g: Variable, send: Callable, leading: set[int] | None) -> None:
    """Call the gradient functions of one node, or those that lead to targets, and pass on what they give."""
    if node.edges is None:
        raise RuntimeError(
            f"trying to backward through the graph a second time ({node.name}): it was freed by the first "
            "backward(). Call backward(retain_graph=True) the first time if you need it twice."
        )
    node.check_unchanged()
    y = None if node.output is None else node.own_output()
    for parent, fn in node.edges:
        if leading is not None and id(parent) not in leading:
            continue
        dx = fn(g) if y is None or not takes_output(fn) else fn(g, y)
        if dx is None:  # only a user's Function gives it
            continue
        if thread.mode.anomaly:
            anomaly.check_gradient(node, dx)
        send(parent, dx)


def _run_hooks(hooks: dict[int, Callable], g: Variable) -> Variable:
    """What the hooks of a node or leaf make of its gradient."""
    for hook in list(hooks.values()):
        replaced = hook(g)
        if replaced is None:
            continue
        if replaced.shape != g.shape:
            raise RuntimeError(
                f"hook {getattr(hook, '__name__', hook)} has changed the shape of a gradient from "
                f"{tuple(g.shape)} to {tuple(replaced.shape)}"
            )
        g = replaced
    return _own(g)  # the hook may have kept what it saw, or given what it keeps


def _add(a: Variable, b: Variable) -> Variable:
    """a + b, recorded: how gradients from two places meet when the walk itself is recorded."""
    return record("AddBackward", a.array + b.array, (a, b), (lambda g: g, lambda g: g))


def _holders(array: Any) -> int:
    """How many hold what this array is a view of, and those who count here."""
    return sys.getrefcount(array.base)


_ALONE = _holders(np.empty(1)[:])  # the view only


def _others_see(array: Any) -> bool:
    """Whether another array, or another element of this one, may be in the same memory.

    An array that shows the memory of a view holds the same base as the view, or one on the way there.
    """
    if 0 in array.strides:  # expanded
        return True
    while getattr(array, "base", None) is not None and not isinstance(array, Loan):
        if _holders(array) > _ALONE or not isinstance(array.base, type(array) | Loan):
            return True
        array = array.base
    return False


def _own(g: Variable) -> Variable:
    """g in memory of its own."""
    return record("CloneBackward0", g.array.copy(order="K"), (g,), (lambda g: g,))


def accumulate(owner: Variable, g: Variable, create_graph: bool) -> None:
    """owner.grad += g. The first gradient is stored as it is: it must be nobody else's."""
    if owner.grad is None:
        owner.grad = g
    elif create_graph:
        owner.grad = _add(owner.grad, g)
    else:
        owner.grad.array[...] += g.array
        owner.grad.version[0] += 1


def _seeds(outputs: Sequence[Variable], gradients: Sequence[Variable | None], create_graph: bool) -> list[Variable]:
    """The gradients to start from: given ones, checked, or 1 for an output with one element.

    Each is another Variable at each call, also if the same one is given again: by it gradient functions that share
    their work tell one walk from the next.
    """
    seeds = []
    for i, (y, g) in enumerate(zip(outputs, gradients, strict=True)):
        if not y.requires_grad:
            raise RuntimeError(
                f"element {i} of tensors does not require grad and does not have a grad_fn: nothing to differentiate. "
                "Was it computed under no_grad(), or from tensors without requires_grad=True?"
            )
        if g is None:
            if y.array.size != 1:
                raise RuntimeError(
                    f"grad can be implicitly created only for scalar outputs, got shape {tuple(y.shape)}; "
                    "reduce it with .sum() or .mean(), or pass a gradient of that shape"
                )
            g = y.like(y.xp.ones(y.shape, y.dtype))
        if g.array.shape != y.array.shape:
            raise RuntimeError(f"gradient has shape {tuple(g.shape)}, expected that of the output, {tuple(y.shape)}")
        check_same_device("backward", (y, g))
        g = g if g.dtype == y.dtype else g.like(g.array.astype(y.dtype))
        seeds.append(_alias(g) if create_graph else g.like(g.array))
    return seeds


def _alias(g: Variable) -> Variable:
    """g as another Variable, through which its gradient flows."""
    with set_grad_enabled(True):
        return record("AliasBackward0", g.array, (g,), (lambda dg: dg,))


def _sequence(x: Any) -> list:
    return [x] if isinstance(x, Variable) or x is None else list(x)


def backward(
    tensors: Variable | Sequence[Variable],
    grad_tensors: Variable | Sequence[Variable | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Variable | Sequence[Variable] | None = None,
) -> None:
    """Add the gradients of `tensors` to `.grad` of the leaves (or only of `inputs`). See `Variable.backward`."""
    roots = _sequence(tensors)
    gradients = [None] * len(roots) if grad_tensors is None else _sequence(grad_tensors)
    targets = None if inputs is None else _sequence(inputs)
    keep = create_graph if retain_graph is None else retain_graph
    seeds = _seeds(roots, gradients, create_graph)
    taken = {id(seed.array) for seed in seeds}  # arrays that may not become a .grad as they are
    for owner, g in walk(roots, seeds, keep, create_graph, targets).values():
        if id(g.array) in taken or _others_see(g.array):
            with set_grad_enabled(create_graph):
                g = _own(g)
        accumulate(owner, g, create_graph)
        taken.add(id(g.array))


def grad(
    outputs: Variable | Sequence[Variable],
    inputs: Variable | Sequence[Variable],
    grad_outputs: Variable | Sequence[Variable | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    materialize_grads: bool = False,
) -> tuple[Any, ...]:
    """The gradients of the sum of `outputs` at `inputs`, without touching `.grad`.

    An input that the outputs do not depend on raises RuntimeError, unless `allow_unused` (its gradient
    is None) or `materialize_grads` (it is zero). Source: torch.autograd.grad.
    """
    roots, targets = _sequence(outputs), _sequence(inputs)
    gradients = [None] * len(roots) if grad_outputs is None else _sequence(grad_outputs)
    for x in targets:
        if not x.requires_grad:
            raise RuntimeError(f"one of the inputs (shape {tuple(x.shape)}) does not require grad")
    keep = create_graph if retain_graph is None else retain_graph
    found = walk(roots, _seeds(roots, gradients, create_graph), keep, create_graph, targets)
    result = []
    for x in targets:
        _, g = found.get(id(x), (x, None))
        if g is None and materialize_grads:
            g = x.like(x.xp.zeros(x.shape, x.dtype))
        if g is None and not allow_unused:
            raise RuntimeError(
                f"one of the inputs (shape {tuple(x.shape)}) was not used in computing the outputs; "
                "pass allow_unused=True if that is meant"
            )
        result.append(g)
    return tuple(result)
