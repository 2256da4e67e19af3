"""Modules called one after another, in few passes over memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..tensor import Tensor
from . import functional as F
from .activation import ReLU
from .conv import Conv2d
from .linear import Linear
from .module import Module
from .norm import BatchNorm2d
from .pool import MaxPool2d


class Plus:
    """Among the modules of `in_turn`: input + shortcut."""

    _forward_pre_hooks = _forward_hooks = ()  # nobody listens to it

    def __init__(self, shortcut: Tensor):
        self.shortcut = shortcut

    def __call__(self, input: Tensor) -> Tensor:
        return input + self.shortcut


def in_turn(modules: Iterable[Module | Plus], input: Any) -> Any:
    """input through each module in turn, in few passes over memory.

    Conv2d or BatchNorm2d take a ReLU and a MaxPool2d(2) that follow along in their pass, Linear and Plus a ReLU, and a
    Conv2d the BatchNorm2d after it, when that is in eval mode, and then Plus with its ReLU.
    """
    modules = list(modules)
    kinds = [kind_of(m) for m in modules] + [None] * 4  # four more, since nothing follows the last one
    end = 0
    while end < len(modules):
        end, input = _first(modules, kinds, end, input)
    return input


def kind_of(module: Module | Plus) -> type | None:
    """What the module is, for those who do its work along with something else; None if somebody listens to it."""
    return None if module._forward_hooks or module._forward_pre_hooks else type(module)


def _first(modules: list[Any], kinds: list[type | None], start: int, input: Any) -> tuple[int, Any]:
    """Where the modules from `start` on that can be done together end, and what they make of input."""
    first, kind, end = modules[start], kinds[start], start + 1
    if kind not in _TAKES_MORE:
        return end, first(input)
    if kind is Plus:
        return (end + 1, F.relu(input, plus=first.shortcut)) if kinds[end] is ReLU else (end, first(input))
    options: dict[str, Any] = {}
    if kind is Conv2d and kinds[end] is BatchNorm2d and modules[end].num_features == first.out_channels:
        folded = modules[end].fold_into(first.weight, first.bias, input)
        if folded is not None:
            end, options["folded"] = end + 1, folded
    if kind is Conv2d and kinds[end] is Plus and kinds[end + 1] is ReLU:
        return end + 2, first(input, **options, then="relu", plus=modules[end].shortcut)
    if kinds[end] is ReLU:
        end, options["then"] = end + 1, "relu"
        if kind is not Linear and kinds[end] is MaxPool2d and _is_plain_2x2(modules[end]):
            end, options["then"] = end + 1, "relu_pool"
    return end, first(input, **options)


_TAKES_MORE = frozenset((Conv2d, BatchNorm2d, Linear, Plus))


def _is_plain_2x2(pool: Any) -> bool:
    two = pool.kernel_size in (2, (2, 2)) and pool.stride in (2, (2, 2))
    plain = pool.padding in (0, (0, 0)) and pool.dilation in (1, (1, 1)) and not pool.ceil_mode
    return two and plain and not pool.return_indices
