"""Out of a Module into a dict of tensors, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import backend
from ..autograd import Variable

if TYPE_CHECKING:
    from .module import Module


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict(strict=False)` could not match."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


def state_dict(module: Module, prefix: str, keep_vars: bool) -> dict[str, Any]:
    """Path -> tensor in PyTorch's order: each module's parameters, then its buffers, then its submodules'."""
    found: dict[str, Any] = {}
    for path, owner in module.named_modules(prefix=prefix.removesuffix("."), remove_duplicate=False):
        buffers = [(name, b) for name, b in owner._buffers.items() if name not in owner._non_persistent]
        for name, tensor in [*owner._parameters.items(), *buffers]:
            if tensor is not None:
                found[f"{path}.{name}" if path else name] = tensor if keep_vars else tensor.detach()
    return found


def load_state_dict(module: Module, given: Mapping[str, Any], strict: bool) -> IncompatibleKeys:
    """Copy `given` (tensors or arrays) into the parameters and buffers of the same path, cast to their dtype.

    Raises RuntimeError that lists every missing, unexpected and mis-shaped name, and then has changed
    nothing. `strict=False` forgives missing and unexpected names and returns them.
    """
    own = state_dict(module, "", keep_vars=True)
    given = {name: _array(name, value) for name, value in given.items()}
    optional = {
        f"{path}.{name}" if path else name for path, m in module.named_modules() for name in m.optional_buffers
    }
    keys = IncompatibleKeys(
        [name for name in own if name not in given and name not in optional],
        [name for name in given if name not in own],
    )
    shapes = [
        f"{name}: the model has {tuple(own[name].shape)}, the file {tuple(array.shape)}"
        for name, array in given.items()
        if name in own and array.shape != own[name].shape
    ]
    report = {"Mis-shaped": shapes}
    if strict:
        report = {"Missing": keys.missing_keys, "Unexpected": keys.unexpected_keys, **report}
    problems = "".join(f"\n  {what}:\n    " + "\n    ".join(names) for what, names in report.items() if names)
    if problems:
        raise RuntimeError(f"Error(s) in loading state_dict for {type(module).__name__}, nothing was loaded:{problems}")
    for name, array in given.items():
        if name in own:
            target = own[name]
            target.array[...] = backend.of(target.array).to_device(array)
            target.version[0] += 1
    return keys


def _array(name: str, value: Any) -> Any:
    """The array of a tensor, ours or another library's."""
    if isinstance(value, Variable):
        return value.array
    if not hasattr(value, "shape"):
        raise TypeError(f"load_state_dict: expected a tensor or an array under {name!r}, got {type(value).__name__}")
    return value if type(value).__module__.startswith("cupy") else np.asarray(value)
