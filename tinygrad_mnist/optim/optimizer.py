"""Optimizer: what all optimizers share: parameter groups, state, and how a step is taken."""

from __future__ import annotations

import itertools
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import numpy as np

from .. import backend, creation
from ..autograd import enable_grad
from ..tensor import Tensor

Group = dict[str, Any]


class Optimizer:
    """Updates parameters from their gradients; the subclasses say how.

    `params` is an iterable of tensors, of `(name, tensor)` pairs (`model.named_parameters()`), or of dicts with
    'params' and options that differ from the defaults, each a group. Parameters without a gradient are left alone.

    A subclass gives `defaults`, the options of a group, and writes `_update`.

    Source: https://docs.pytorch.org/docs/stable/optim.html
    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]):
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, but got a Tensor; "
                "put it into a list"
            )
        self.defaults = defaults
        self.state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[Group] = []
        self._has_stepped = False
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list; has the model any parameters?")
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)

    def add_param_group(self, param_group: Group) -> None:
        """Optimize more parameters: {'params': [...], and options that differ from the defaults}."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group).__name__}")
        params = param_group["params"]
        if isinstance(params, set):
            raise TypeError("optimizer parameters need to be in an ordered collection, but got a set; use a list")
        group = {**self.defaults, **param_group}
        group["params"] = [params] if isinstance(params, Tensor) else list(params)
        _take_names(group)
        for p in group["params"]:
            if not isinstance(p, Tensor):
                raise TypeError(f"optimizer can only optimize Tensors, but one of the params is {type(p).__name__}")
            if not p.is_leaf and not p.retains_grad:
                raise ValueError("can't optimize a non-leaf Tensor: an op made it; optimize what it was made from")
        ids = {id(p) for p in group["params"]}
        if len(ids) < len(group["params"]):
            warnings.warn("optimizer contains a parameter group with duplicate parameters", stacklevel=3)
        for other in self.param_groups:
            if ("param_names" in other) != ("param_names" in group):
                raise ValueError("all optimizer param groups should be with names, or all without")
            if ids & {id(p) for p in other["params"]}:
                raise ValueError("some parameters appear in more than one parameter group")
        self.param_groups.append(group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients; with set_to_none=False set them to zeros."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.grad = None if set_to_none else creation.zeros_like(p.grad)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient, in place.

        `closure`, if given, computes loss and gradients first; its loss is returned.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for group in self.param_groups:
            by_device: dict[ModuleType, list[Tensor]] = {}
            for i, p in enumerate(group["params"]):
                if p.grad is not None:
                    _check_gradient(p, group, i)
                    by_device.setdefault(p.kernels, []).append(p)
            for kernels, params in by_device.items():
                with np.errstate(all="ignore"):  # as in PyTorch, inf and NaN are results, not warnings
                    self._update(kernels, params, group)
                for p in params:
                    p.version[0] += 1  # so that a gradient that needs the old values notices
        self._has_stepped = True
        return loss

    def _update(self, kernels: Any, params: list[Tensor], group: Group) -> None:
        """Update `params`, which have gradients and are all on the device of `kernels`, with the options of `group`."""
        raise NotImplementedError(f"{type(self).__name__} is an Optimizer and needs a method _update")

    def _buffers(self, params: list[Tensor], name: str, start: float = 0.0) -> list[Any]:
        """The array of state `name` of each parameter, made the first time, filled with `start`."""
        states = [self.state[p] for p in params]
        for p, state in zip(params, states, strict=True):
            if name not in state:
                state[name] = creation.full_like(p, start)
        return [state[name].array for state in states]

    def _count_steps(self, params: list[Tensor]) -> list[int]:
        """How many steps each parameter has taken, this one included."""
        for p in params:
            self.state[p]["step"] = self.state[p].get("step", 0) + 1
        return [self.state[p]["step"] for p in params]

    def state_dict(self) -> dict[str, Any]:
        """{'state': {index of parameter: its state}, 'param_groups': [options, and 'params' as indices]}.

        Indices count through all groups; 'param_names' has the names, where the optimizer was given them. The tensors
        are the optimizer's own, not copies.
        """
        counter = itertools.count()
        groups = [{**group, "params": [next(counter) for _ in group["params"]]} for group in self.param_groups]
        params = itertools.chain.from_iterable(group["params"] for group in self.param_groups)
        state = {i: dict(self.state[p]) for i, p in enumerate(params) if p in self.state}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a `state_dict()`: copies its state, in the dtype and on the device of each parameter.

        Parameters are matched by their order, as in PyTorch, and their shapes are checked.
        """
        saved_groups = state_dict["param_groups"]
        if len(saved_groups) != len(self.param_groups):
            raise ValueError(
                f"loaded state dict has a different number of parameter groups: {len(saved_groups)}, "
                f"this optimizer has {len(self.param_groups)}"
            )
        state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        for number, (group, saved) in enumerate(zip(self.param_groups, saved_groups, strict=True)):
            if len(group["params"]) != len(saved["params"]):
                raise ValueError(
                    "loaded state dict contains a parameter group that doesn't match the size of optimizer's group: "
                    f"group {number} has {len(saved['params'])} parameters there and {len(group['params'])} here"
                )
            for i, (p, index) in enumerate(zip(group["params"], saved["params"], strict=True)):
                if index in state_dict["state"]:
                    entries = state_dict["state"][index].items()  # PyTorch keeps None for what is not used
                    state[p] = {k: _restored(k, v, p, _name(group, i)) for k, v in entries if v is not None}
        self.state = state
        for group, saved in zip(self.param_groups, saved_groups, strict=True):
            group.update({key: value for key, value in saved.items() if key not in ("params", "param_names")})

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key not in ("params", "param_names")]
        return "\n".join([*lines, ")"])


def _take_names(group: Group) -> None:
    """Part `(name, tensor)` pairs into 'params' and 'param_names'."""
    named = [isinstance(p, tuple) for p in group["params"]]
    if not any(named):
        return
    if not all(named):
        raise ValueError("all optimizer params should be with names, or all without; some param names are missing")
    group["param_names"] = [name for name, _ in group["params"]]
    group["params"] = [p for _, p in group["params"]]


def _name(group: Group, i: int) -> str:
    """What to call the i-th parameter of a group in an error."""
    return repr(group["param_names"][i]) if "param_names" in group else f"{i} of its group"


def _check_gradient(p: Tensor, group: Group, i: int) -> None:
    """Raise unless the gradient of a parameter fits it."""
    g, array = p.grad.array, p.array  # type: ignore[union-attr]  # it has one
    if g.shape != array.shape or g.dtype != array.dtype or type(g) is not type(array):
        raise RuntimeError(
            f"the gradient of parameter {_name(group, i)} does not fit: it is {tuple(g.shape)} {g.dtype} on "
            f"{p.grad.device}, the parameter is {tuple(array.shape)} {array.dtype} on {p.device}; "  # type: ignore[union-attr]
            "make the optimizer after the model has been moved or converted"
        )


def _restored(key: str, value: Any, p: Tensor, name: str) -> Any:
    """A loaded entry of the state of p: a number for 'step', a tensor like p for tensors."""
    if key == "step":
        return int(value)
    if not hasattr(value, "shape"):
        return value
    if tuple(value.shape) != tuple(p.shape):
        raise ValueError(
            f"loaded state dict has {key} of shape {tuple(value.shape)} for parameter {name}, "
            f"whose shape is {tuple(p.shape)}"
        )
    restored = creation.empty_like(p)
    restored.array[...] = backend.of(p.array).to_device(creation.to_array(value))
    return restored


def arrays(tensors: Iterable[Any]) -> list[Any]:
    """The array of each tensor."""
    return [x.array for x in tensors]


def gradients(params: Iterable[Any]) -> list[Any]:
    """The array of each parameter's gradient."""
    return [p.grad.array for p in params]


def check_at_least_0(**values: float) -> None:
    """Raise as PyTorch does if one of the named options is negative (or NaN)."""
    labels = {"lr": "learning rate", "eps": "epsilon value"}
    for name, value in values.items():
        if not value >= 0:
            raise ValueError(f"Invalid {labels.get(name, name + ' value')}: {value}")
