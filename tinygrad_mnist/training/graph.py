"""`GraphedStep`: a training step that the GPU is given as one CUDA graph."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import Any

from .. import random
from ..backend import OutOfMemoryError
from ..nn import Module
from ..nn import functional as F
from ..tensor import Tensor
from .step import Loss, gradients, train_step, update

PLAIN = frozenset([bool, int, float, str, type(None)])  # what a layer keeps of its settings, such as training and p


class GraphError(RuntimeError):
    """A training step cannot be captured into a CUDA graph."""


class GraphedStep:
    """`train_step` for small models, whose kernels a GPU does faster than Python launches them, one by one.

    Forward, loss and backward are captured into a CUDA graph, which is launched as a whole for each batch; clipping and
    the optimizer follow as always. Losses, weights and random numbers are, bit for bit, those of the same steps without
    a graph, but for the matrix products, which are our own kernel's and not cuBLAS's.

    A batch of a new shape, or the first after something changed (`eval()`, a frozen layer, another dropout rate), is
    trained on without a graph; if the next one is like it, it is captured. So a smaller last batch costs nothing. The
    Python of `forward` and `loss_fn` runs at these two batches only: it may neither read numbers from the device nor do
    something else for each batch.

    Raises ValueError for a model on the CPU, GraphError for a step that cannot be captured: the message says where.

    >>> from tinygrad_mnist import nn, optim
    >>> model = nn.Linear(784, 10)
    >>> GraphedStep(model, optim.SGD(model.parameters(), 0.1))
    Traceback (most recent call last):
    ValueError: CUDA graphs are for a model on a CUDA device, this one is on cpu: use model.to('cuda'), or no graph
    """

    def __init__(
        self, model: Module, optimizer: Any, loss_fn: Loss = F.cross_entropy, max_grad_norm: float | None = None
    ):
        self.model, self.optimizer, self.loss_fn, self.max_grad_norm = model, optimizer, loss_fn, max_grad_norm
        self._weights = next(model.parameters())
        self._device()
        self._captured: _Captured | None = None
        self._last: tuple[Any, ...] = ()  # what the last step depended on

    def __call__(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """One update of the weights by one batch; returns its loss and outputs from before the update."""
        inputs, targets = (x.to(self._device()) for x in (inputs, targets))
        now, last = self._dependencies(inputs, targets), self._last
        self._last = now
        if self._captured is None or self._captured.dependencies != now:
            if last != now:
                with self._weights.kernels.graph.capturable():
                    return train_step(self.model, self.optimizer, inputs, targets, self.loss_fn, self.max_grad_norm)
            self._captured = None  # its memory is free before the next one takes its own
            self._captured = self._capture(inputs, targets, now)
        loss, outputs = self._captured.replay(inputs, targets)
        update(self.optimizer, self.max_grad_norm)
        return loss, outputs

    def _device(self) -> Any:
        """Where the model is, if that is a CUDA device."""
        device = self._weights.device
        if device.type != "cuda":
            raise ValueError(
                f"CUDA graphs are for a model on a CUDA device, this one is on {device}: use model.to('cuda'), "
                "or no graph"
            )
        return device

    def _dependencies(self, inputs: Tensor, targets: Tensor) -> tuple[Any, ...]:
        """What the kernels of a step and their arguments depend on: equal for two steps that one graph can do."""
        seed = random.default_generator.initial_seed()
        found: list[Any] = [inputs.shape, inputs.dtype, targets.shape, targets.dtype, seed]
        _add_state(self.model, found)
        if isinstance(self.loss_fn, Module):
            _add_state(self.loss_fn, found)
        return tuple(found)

    def _tensors(self) -> list[Tensor]:
        """What the graph reads or writes, besides what it makes; some of it twice."""
        modules = [self.model, *([self.loss_fn] if isinstance(self.loss_fn, Module) else [])]
        tensors = [t for m in modules for t in (*m.parameters(), *m.buffers())]
        return tensors + [p for group in self.optimizer.param_groups for p in group["params"]]

    def _capture(self, inputs: Tensor, targets: Tensor, dependencies: tuple[Any, ...]) -> _Captured:
        """The graph of a step like this one, which is not done yet."""
        generator = random.default_generator
        before, (_, first) = generator.get_state(), generator.take(0)
        inputs, targets = (x.like(x.array.copy()) for x in (inputs, targets))
        try:
            graph = self._weights.kernels.graph.Graph(
                lambda: gradients(self.model, self.optimizer, inputs, targets, self.loss_fn)
            )
            blocks = generator.take(0)[1] - first
            _check_draws(graph.draws, blocks, before, generator)
        except Exception as error:
            generator.set_state(before)
            self.optimizer.zero_grad()
            if isinstance(error, MemoryError):
                raise OutOfMemoryError(
                    f"CUDA out of memory while a training step of {len(inputs)} images was captured: {error}. A graph "
                    "keeps the memory of its step to itself: use a smaller batch, or train without a graph"
                ) from error
            raise GraphError(
                f"this training step cannot be captured into a CUDA graph: {error} ({_place(error)}). "
                "Change that, or train without a graph"
            ) from error
        generator.set_state(before)
        tensors = self._tensors()
        leaves = {id(t): (t, t.grad) for t in tensors if t.grad is not None}.values()
        return _Captured(dependencies, graph, first, blocks, inputs, targets, list(leaves), [t.array for t in tensors])


@dataclass
class _Captured:
    """A graph of forward, loss and backward, and what it reads and writes."""

    dependencies: tuple[Any, ...]
    graph: Any
    first: int  # block of the random stream, when it was captured
    blocks: int  # that a step draws
    inputs: Tensor
    targets: Tensor
    gradients: list[tuple[Tensor, Any]]
    arrays: list[Any]  # kept, since the graph knows their addresses

    def replay(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and outputs of a batch; its gradients are in the parameters."""
        self.inputs.array[...] = inputs.array
        self.targets.array[...] = targets.array
        first = random.default_generator.take(self.blocks)[1]
        self.graph.launch(first - self.first)
        for parameter, gradient in self.gradients:
            parameter.grad = gradient
        loss, outputs = self.graph.result
        return loss.like(loss.array.copy()), outputs.like(outputs.array.copy())  # the next launch overwrites them


def _add_state(module: Module, found: list[Any]) -> None:
    """Add the settings of a module and of those in it, and where their tensors lie. In each step: be quick."""
    if module._forward_hooks or module._forward_pre_hooks:
        raise GraphError(
            f"{type(module).__name__} has a forward hook, which a CUDA graph would not call: remove it, or train "
            "without a graph"
        )
    found += [value for value in module.__dict__.values() if type(value) in PLAIN]
    for tensors in (module._parameters, module._buffers):
        for tensor in tensors.values():
            if tensor is not None:
                found += id(tensor.array), tensor.requires_grad
    for child in module._modules.values():
        if child is not None:
            _add_state(child, found)


def _check_draws(draws: list[Any], blocks: int, before: Tensor, generator: random.Generator) -> None:
    """Raise unless all random numbers of a step were drawn by its kernels from the default generator.

    Others would be the same in each replay. `blocks` were taken of the generator's stream, which was at `before`.
    """
    after = generator.get_state()
    generator.set_state(before)
    key, first = generator.take(blocks)
    foreign = [d for d in draws if d.key != key or not first <= d.block < first + blocks]
    if foreign or sum(d.blocks for d in draws) != blocks or bytes(generator.get_state().array) != bytes(after.array):
        raise RuntimeError(
            "it draws random numbers that would be the same for each batch; in a graph only dropout and random affine "
            "maps can draw, and from the default generator"
        )


def _place(error: BaseException) -> str:
    """The innermost place of `error` that is not in CuPy, such as 'in item, line 5 of tensor.py'."""
    frames = traceback.extract_tb(error.__traceback__)
    where = next((f for f in reversed(frames) if "cupy" not in f.filename), frames[0])
    return f"in {where.name}, line {where.lineno} of {where.filename}"
