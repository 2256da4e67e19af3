"""What `detect_anomaly` looks for: the first NaN, and the user's line that made it."""

from __future__ import annotations

import os
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_PACKAGE = str(Path(__file__).parent.parent) + os.sep


def has_nan(v: Any) -> bool:
    """Whether any element is NaN."""
    return v.dtype.kind == "f" and bool(v.xp.isnan(v.array).any())


def check_value(name: str, out: Any, inputs: Sequence[Any]) -> None:
    """Raise if op `name` made a NaN from inputs without one."""
    if has_nan(out) and not any(has_nan(a) for a in inputs):
        shapes = ", ".join(str(tuple(a.shape)) for a in inputs)
        raise RuntimeError(
            f"detect_anomaly: {name} made the first NaN, from inputs of shape {shapes}, "
            f"called at\n{user_line(traceback.extract_stack())}"
        )


def check_gradient(node: Any, dx: Any) -> None:
    """Raise if `dx`, a gradient that `node` computed, holds a NaN."""
    if has_nan(dx):
        where = user_line(node.trace) if node.trace else "(recorded outside detect_anomaly: its line is not known)"
        raise RuntimeError(
            f"detect_anomaly: the gradient of {node.name} is the first NaN; the op was called at\n{where}"
        )


def user_line(stack: traceback.StackSummary) -> str:
    """The innermost line of `stack` that is not inside this package, as traceback prints it."""
    outside = [frame for frame in stack if not frame.filename.startswith(_PACKAGE)]
    return "".join(traceback.format_list(outside[-1:] or stack[-1:]))
