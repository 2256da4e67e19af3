"""How a tensor prints: PyTorch's layout, precision and summarisation."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from . import dtypes
from .autograd import Variable


@dataclasses.dataclass
class _Options:
    precision: int = 4
    threshold: int = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


_options = _Options()


def set_printoptions(
    precision: int | None = None,
    threshold: int | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Change how tensors print; None leaves a setting as it is (sci_mode: None chooses by the values)."""
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    for name, value in given.items():
        if value is not None:
            setattr(_options, name, value)
    _options.sci_mode = sci_mode


def to_string(x: Variable, name: str = "tensor") -> str:
    """`x` as PyTorch prints it: values, then what is not the default of device, dtype and history."""
    indent = len(name) + 1
    array = np.asarray(x.array.get() if hasattr(x.array, "get") else x.array)
    text = f"{name}(" + ("[]" if array.size == 0 else _nested(array, indent, *_formatter(_shown(array))))
    for suffix in _suffixes(x):
        line = len(text) - text.rfind("\n") + 1
        text += f",\n{' ' * indent}{suffix}" if line + len(suffix) + 2 > _options.linewidth else f", {suffix}"
    return f"{text})"


def _suffixes(x: Variable) -> list[str]:
    found = []
    if x.device.type != "cpu":
        found.append(f"device='{x.device}'")
    if x.array.size == 0 and x.ndim != 1:
        found.append(f"size={tuple(x.shape)}")
    usual = (dtypes.get_default_dtype(), dtypes.int64, dtypes.bool)
    if x.dtype not in (usual if x.array.size else usual[:1]):
        found.append(f"dtype={x.dtype}")
    if x.node is not None:
        found.append(f"grad_fn={x.node}")
    elif x.requires_grad:
        found.append("requires_grad=True")
    return found


def _summarised(array: np.ndarray) -> bool:
    return array.size > _options.threshold


def _shown(array: np.ndarray) -> np.ndarray:
    """The elements of `array` that are printed: of a big one, the first and last few of each axis."""
    if _summarised(array):
        edge = _options.edgeitems
        for axis, size in enumerate(array.shape):
            if size > 2 * edge:
                array = array.take([*range(edge), *range(size - edge, size)], axis)
    return array


def _nested(array: np.ndarray, indent: int, fmt: Callable[[Any], str], width: int) -> str:
    """The values in brackets, one row of the last axis a line (or more lines, if it is long)."""
    summarise = _summarised(array)

    def rows(a: np.ndarray, indent: int) -> list[str]:
        return [write(row, indent + 1) for row in a]

    def write(a: np.ndarray, indent: int) -> str:
        if a.ndim == 0:
            return fmt(a.item())
        edge = _options.edgeitems
        if summarise and len(a) > 2 * edge:
            parts = [*rows(a[:edge], indent), " ..." if a.ndim == 1 else "...", *rows(a[-edge:], indent)]
        else:
            parts = rows(a, indent)
        if a.ndim > 1:
            return "[" + ("," + "\n" * (a.ndim - 1) + " " * (indent + 1)).join(parts) + "]"
        per_line = max(1, (_options.linewidth - indent) // (width + 2))
        lines = [", ".join(parts[i : i + per_line]) for i in range(0, len(parts), per_line)]
        return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"

    return write(array, indent)


def _formatter(shown: np.ndarray) -> tuple[Callable[[Any], str], int]:
    """How one element is written, so that all are equally wide and precise; and how wide."""
    if shown.dtype.kind != "f":
        width = max(len(str(v)) for v in shown.ravel().tolist())
        return lambda v: str(v).rjust(width), width
    values = shown.astype(np.float64).ravel()
    values = values[np.isfinite(values) & (values != 0)]
    kind = _notation(np.abs(values))

    def plain(v: float) -> str:
        if kind == "whole":
            return f"{v:.0f}." if math.isfinite(v) else f"{v:.0f}"
        return f"{v:.{_options.precision}{kind}}"

    width = max((len(plain(v)) for v in values.tolist()), default=1)
    return lambda v: plain(v).rjust(width), width


def _notation(sizes: np.ndarray) -> str:
    """'whole' (1.), 'f' (1.5000) or 'e' (1.5000e+00), from the absolute values of what is shown."""
    whole = bool((sizes == np.ceil(sizes)).all())
    if _options.sci_mode is not None:
        scientific = _options.sci_mode
    elif sizes.size == 0:
        scientific = False
    else:
        smallest, largest = sizes.min(), sizes.max()
        scientific = largest > 1000 * smallest or largest > 1e8 or (not whole and smallest < 1e-4)
    return "e" if scientific else "whole" if whole else "f"
