"""Averages of a model's weights over training: stochastic weight averaging (SWA) and moving averages (EMA)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

from .. import creation
from ..autograd import no_grad
from ..nn import BatchNorm1d, BatchNorm2d, Module
from ..tensor import Tensor

AvgFn = Callable[[Any, Any, Tensor], Any]
MultiAvgFn = Callable[[list[Any], list[Any], Tensor], None]


def get_swa_avg_fn() -> AvgFn:
    """averaged + (current - averaged) / (n + 1): all weights seen so far count the same."""
    return lambda averaged, current, num_averaged: averaged + (current - averaged) / (num_averaged + 1)


def get_ema_avg_fn(decay: float = 0.999) -> AvgFn:
    """decay averaged + (1 - decay) current: the last 1 / (1 - decay) weights or so count."""
    if not 0 <= decay <= 1:
        raise ValueError(f"Invalid decay value {decay} provided. Please provide a value in [0,1] range.")
    return lambda averaged, current, num_averaged: decay * averaged + (1 - decay) * current


def get_ema_multi_avg_fn(decay: float = 0.999) -> MultiAvgFn:
    """`get_ema_avg_fn` for a list of tensors at a time, in place, as averaged + (1 - decay) (current - averaged).

    In that form, as in PyTorch's, an average of weights that do not change (frozen ones) keeps their bits.
    """
    get_ema_avg_fn(decay)  # which checks it
    return _each(lambda averaged, current, num_averaged: averaged + (1 - decay) * (current - averaged))


def _each(avg_fn: AvgFn) -> MultiAvgFn:
    def update(averaged: list[Any], current: list[Any], num_averaged: Tensor) -> None:
        for a, c in zip(averaged, current, strict=True):
            a.copy_(avg_fn(a, c, num_averaged))

    return update


class AveragedModel(Module):
    """A copy of `model`, called like it, whose weights are an average of those that `update_parameters` is shown.

    The average is of equal weights, or as `avg_fn` (tensor by tensor) or `multi_avg_fn` (lists, in place) have it.
    Buffers are copied from the model, or with `use_buffers` averaged too.
    Source: https://docs.pytorch.org/docs/stable/optim.html#weight-averaging-swa-and-ema

    >>> from tinygrad_mnist import nn
    >>> model = nn.Linear(1, 1, bias=False)
    >>> ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    >>> for value in (1.0, 2.0):
    ...     _ = nn.init.constant_(model.weight, value)
    ...     ema.update_parameters(model)
    >>> round(ema.module.weight.item(), 4)
    1.1
    """

    n_averaged: Tensor

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: AvgFn | None = None,
        multi_avg_fn: MultiAvgFn | None = None,
        use_buffers: bool = False,
    ):
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise ValueError("only one of avg_fn and multi_avg_fn should be provided")
        self.module = copy.deepcopy(model)
        if device is not None:
            self.module.to(device)
        self.register_buffer("n_averaged", creation.tensor(0, device=device))
        self.multi_avg_fn = multi_avg_fn or _each(avg_fn or get_swa_avg_fn())
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the averaged model gives."""
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Take the present weights of `model` into the average; the first time they are the average."""
        averaged, others = self._split(self.module)
        current, current_others = self._split(model)
        if self.n_averaged.item() == 0:
            others, current_others = [*averaged, *others], [*current, *current_others]
            averaged, current = [], []
        with no_grad():
            for a, c in zip(others, current_others, strict=True):
                a.copy_(c)
            for kind in dict.fromkeys((a.device, a.dtype) for a in averaged):
                pairs = [p for p in zip(averaged, current, strict=True) if (p[0].device, p[0].dtype) == kind]
                here = [c.to(kind[0]) for _, c in pairs]
                self.multi_avg_fn([a for a, _ in pairs], here, self.n_averaged.to(kind[0]))
            self.n_averaged += 1

    def _split(self, model: Module) -> tuple[list[Any], list[Any]]:
        """The tensors that are averaged and those that are copied, without history."""
        parameters, buffers = ([t.detach() for t in found] for found in (model.parameters(), model.buffers()))
        return ([*parameters, *buffers], []) if self.use_buffers else (parameters, buffers)


def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Set the running statistics of the batch-norm layers to the mean over the batches (x, or (x, ...)) of `loader`.

    Averaged weights need it where the statistics were not averaged with them. Layers that always are in eval mode
    (see finetune.freeze) keep theirs.
    """
    norms = [m for m in model.modules() if isinstance(m, BatchNorm1d | BatchNorm2d) and not m.always_eval]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    was_training = model.training
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    model.train()
    try:
        with no_grad():
            for batch in loader:
                x = batch[0] if isinstance(batch, list | tuple) else batch
                model(x if device is None else x.to(device))
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        model.train(was_training)
