"""A model's layers from input to output, and what depends on how deep they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

from ..nn import BatchNorm1d, BatchNorm2d, GroupNorm, LayerNorm, Module, ModuleList, Parameter, Sequential
from .freeze import freeze, unfreeze

_NORMS = BatchNorm1d, BatchNorm2d, GroupNorm, LayerNorm
Part = tuple[bool, dict[str, Parameter]]  # whether it is a layer of its own, and its parameters


def layers(model: Module) -> list[dict[str, Parameter]]:
    """Name -> parameter for each layer, from input to output, in the order in which the parts were assigned.

    A layer is a part of the model, or of its Sequentials and ModuleLists, at whatever depth: a convolution, a linear
    layer, a block with inner layers of its own. Normalisations and single parameters belong to the layer before.

    >>> from tinygrad_mnist import models
    >>> [list(layer) for layer in layers(models.lenet5())][:2]
    [['conv1.weight', 'conv1.bias'], ['conv2.weight', 'conv2.bias']]
    """
    found: list[dict[str, Parameter]] = []
    seen: set[int] = set()
    complete = True  # whether found[-1] has a layer, and not only what belongs to one
    for is_layer, parameters in _parts("", model):
        part = {name: p for name, p in parameters.items() if id(p) not in seen}  # shared ones count once
        seen |= {id(p) for p in part.values()}
        if not part:
            continue
        if not found or (is_layer and complete):
            found.append(part)
            complete = is_layer
        else:
            found[-1] |= part
            complete |= is_layer
    return found


def _parts(path: str, module: Module) -> Iterator[Part]:
    """The layers of a module and, between them, what does not count as one."""
    if path and not _is_stage(module):
        yield not isinstance(module, _NORMS), dict(module.named_parameters(path))
        return
    yield False, dict(module.named_parameters(path, recurse=False))
    for name, child in module.named_children():
        yield from _parts(f"{path}.{name}" if path else name, child)


def _is_stage(module: Module) -> bool:
    """Whether a module is a row of layers rather than one layer: a container, or around a container of blocks."""
    containers = [m for m in module.children() if isinstance(m, Sequential | ModuleList)]
    return isinstance(module, Sequential | ModuleList) or any(
        next(block.children(), None) is not None for container in containers for block in container
    )


def param_groups(
    model: Module,
    lr: float,
    weight_decay: float = 0.0,
    *,
    layer_decay: float = 1.0,
    no_decay: Sequence[str] = ("*class_token", "*pos_embedding"),
) -> list[dict[str, Any]]:
    """Parameter groups for an optimizer: the last layer learns at `lr`, each before it at `layer_decay` times the next.

    Biases and normalisations, and parameters whose name matches a pattern in `no_decay`, have no weight decay.
    Frozen parameters are included, so that they may be unfrozen later.
    Source: https://arxiv.org/abs/1801.06146, section 3.2, where layer_decay is 1 / 2.6.

    >>> from tinygrad_mnist import models
    >>> groups = param_groups(models.lenet5(), lr=1.0, weight_decay=0.1, layer_decay=0.5)
    >>> [(group["lr"], group["weight_decay"]) for group in groups][-4:]
    [(0.5, 0.1), (0.5, 0.0), (1.0, 0.1), (1.0, 0.0)]
    """
    if not 0 < layer_decay <= 1:
        raise ValueError(f"param_groups: expected 0 < layer_decay <= 1, got {layer_decay}")
    norms = {id(p) for module in model.modules() if isinstance(module, _NORMS) for p in module.parameters()}
    groups: dict[tuple[float, float], list[tuple[str, Parameter]]] = {}
    by_depth = layers(model)
    for depth, layer in enumerate(by_depth, 1):
        rate = lr * layer_decay ** (len(by_depth) - depth)
        for name, p in layer.items():
            decays = p.ndim > 1 and id(p) not in norms and not any(fnmatchcase(name, pattern) for pattern in no_decay)
            groups.setdefault((rate, weight_decay if decays else 0.0), []).append((name, p))
    return [{"params": params, "lr": rate, "weight_decay": decay} for (rate, decay), params in groups.items()]


def unfreeze_last(model: Module, count: int) -> list[str]:
    """Train the last `count` layers (see `layers`) and freeze the others; the names of what trains.

    For gradual unfreezing call it before each epoch with one more, from 1, the head: the layers nearest to the
    output then adapt before those below them move. Source: https://arxiv.org/abs/1801.06146, section 3.3.
    """
    if count < 1:
        raise ValueError(f"unfreeze_last: expected a count of at least 1, got {count}")
    names = [list(layer) for layer in layers(model)]
    for layer in names[:-count]:
        freeze(model, *layer)
    return [name for layer in names[-count:] for name in unfreeze(model, *layer)]
