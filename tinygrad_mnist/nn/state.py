"""Out of a Module into a dict of tensors, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import backend
from ..autograd import Variable

if TYPE_CHECKING:
    from .module import Module


class _Keys(NamedTuple):
    missing_keys: list[str]
    unexpected_keys: list[str]


class IncompatibleKeys(_Keys):
    """What `load_state_dict` could not match: `missing, unexpected = model.load_state_dict(...)`, as in PyTorch.

    `mismatched_keys` are the names that `skip_mismatched` passed over, `report` is all of it as a table.
    """

    mismatched_keys: list[str]
    report: str

    def __repr__(self) -> str:
        if not self.report:
            return "<All keys matched successfully>"
        shown = f"missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys}"
        if self.mismatched_keys:
            shown += f", mismatched_keys={self.mismatched_keys}"
        return f"IncompatibleKeys({shown})"


def state_dict(module: Module, prefix: str, keep_vars: bool) -> dict[str, Any]:
    """Path -> tensor in PyTorch's order: each module's parameters, then its buffers, then its submodules'."""
    found: dict[str, Any] = {}
    for path, owner in module.named_modules(prefix=prefix.removesuffix("."), remove_duplicate=False):
        buffers = [(name, b) for name, b in owner._buffers.items() if name not in owner._non_persistent]
        for name, tensor in [*owner._parameters.items(), *buffers]:
            if tensor is not None:
                found[f"{path}.{name}" if path else name] = tensor if keep_vars else tensor.detach()
    return found


def load_state_dict(
    module: Module, given: Mapping[str, Any], strict: bool, prefix: Mapping[str, str], skip_mismatched: bool
) -> IncompatibleKeys:
    """Copy `given` (tensors or arrays) into the parameters and buffers of the same name: see Module.load_state_dict."""
    own = state_dict(module, "", keep_vars=True)
    given = {name: _array(name, value) for name, value in given.items()}
    given = _renamed(given, prefix) if prefix else given
    optional = {
        f"{path}.{name}" if path else name for path, m in module.named_modules() for name in m.optional_buffers
    }
    keys = IncompatibleKeys(
        [name for name in own if name not in given and name not in optional],
        [name for name in given if name not in own],
    )
    keys.mismatched_keys = [name for name in given if name in own and given[name].shape != own[name].shape]
    keys.report = _table(keys, own, given)
    missing, unexpected = keys
    if (keys.mismatched_keys and not skip_mismatched) or (strict and (missing or unexpected)):
        hints = "".join(f"\n{hint}" for hint in _hints(keys, own, given, skip_mismatched))
        raise RuntimeError(
            f"Error(s) in loading state_dict for {type(module).__name__}, nothing was loaded:\n{keys.report}{hints}"
        )
    for name, array in given.items():
        if name in own and name not in keys.mismatched_keys:
            target = own[name]
            target.array[...] = backend.of(target.array).to_device(array)
            target.version[0] += 1
    return keys


def _renamed(given: Mapping[str, Any], prefix: Mapping[str, str]) -> dict[str, Any]:
    """`given` with the beginnings of its names replaced: each name by the first prefix that it begins with."""
    idle = [old for old in prefix if not any(name.startswith(old) for name in given)]
    if idle:
        raise ValueError(
            f"load_state_dict: no name in the state_dict begins with {idle[0]!r}; "
            f"the first names are {', '.join([*given][:3])}"
        )
    renamed: dict[str, Any] = {}
    for name, array in given.items():
        old = next((old for old in prefix if name.startswith(old)), None)
        new = name if old is None else prefix[old] + name.removeprefix(old)
        if new in renamed:
            raise ValueError(f"load_state_dict: prefix={dict(prefix)} makes two names into {new!r}")
        renamed[new] = array
    return renamed


def _table(keys: IncompatibleKeys, own: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    """A line for each name that does not fit: what is wrong, and its shape here and there; "" if all fit."""
    missing, unexpected = keys
    rows = [("missing", name) for name in missing]
    rows += [("unexpected", name) for name in unexpected]
    rows += [("mis-shaped", name) for name in keys.mismatched_keys]
    if not rows:
        return ""
    cells: list[tuple[str, ...]] = [("", "name", "model", "state_dict")]
    for what, name in rows:
        shapes = (str(tuple(side[name].shape)) if name in side else "-" for side in (own, given))
        cells.append((what, name, *shapes))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in cells)


def _hints(
    keys: IncompatibleKeys, own: Mapping[str, Any], given: Mapping[str, Any], skip_mismatched: bool
) -> Iterator[str]:
    """What to do about the problems of a report."""
    missing, unexpected = keys
    if not own.keys() & given.keys():
        ends = [f".{name}" for name in missing[:1]]
        common = next((name[: 1 - len(end)] for end in ends for name in unexpected if name.endswith(end)), "")
        if common and all(name.startswith(common) for name in given):
            yield f"All names begin with {common!r}: use prefix={{{common!r}: ''}}."
        else:
            yield "No name fits: this is the state_dict of another architecture."
    mismatched = [] if skip_mismatched else keys.mismatched_keys
    gray = next((name for name in mismatched if _gray_or_colour(own[name].shape, given[name].shape)), None)
    if gray is not None:
        here, there = own[gray].shape[1], given[gray].shape[1]
        yield (
            f"{gray!r} takes images of {there} channel{'s' * (there > 1)} in the state_dict, of {here} in the model. "
            f"Either load it into a model with {there} and then call finetune.adapt_first_conv(model, {here}), or keep "
            f"the {there} and convert the images with transforms.Grayscale({there})."
        )
    if any(name != gray for name in mismatched):
        yield "skip_mismatched=True leaves what is mis-shaped as it is in the model, for instance a new head."


def _gray_or_colour(here: tuple[int, ...], there: tuple[int, ...]) -> bool:
    """Whether two shapes of a convolution's weight (O, C, KH, KW) differ in C alone, which is 1 and 3."""
    return len(here) == 4 and here[:1] + here[2:] == there[:1] + there[2:] and {here[1], there[1]} == {1, 3}


def _array(name: str, value: Any) -> Any:
    """The array of a tensor, ours or another library's."""
    if isinstance(value, Variable):
        return value.array
    if not hasattr(value, "shape"):
        raise TypeError(f"load_state_dict: expected a tensor or an array under {name!r}, got {type(value).__name__}")
    return value if type(value).__module__.startswith("cupy") else np.asarray(value)
