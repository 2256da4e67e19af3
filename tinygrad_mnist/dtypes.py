"""Number types, PyTorch's names for them, and which type two operands meet in."""

import builtins
from typing import Any

import numpy as np

float16 = half = np.dtype(np.float16)
float32 = float = np.dtype(np.float32)
float64 = double = np.dtype(np.float64)
uint8 = np.dtype(np.uint8)
int8 = np.dtype(np.int8)
int16 = short = np.dtype(np.int16)
int32 = int = np.dtype(np.int32)
int64 = long = np.dtype(np.int64)
bool = np.dtype(np.bool_)

_default = float32


def get_default_dtype() -> np.dtype:
    """The floating type of new tensors: float32 unless `set_default_dtype` changed it."""
    return _default


def set_default_dtype(dtype: Any) -> None:
    """Make `dtype` (float16, float32 or float64) the floating type of new tensors."""
    global _default
    if np.dtype(dtype).kind != "f":
        raise TypeError(f"set_default_dtype: expected a floating dtype, got {np.dtype(dtype)}")
    _default = np.dtype(dtype)


def category(dtype: np.dtype) -> str:
    """'b' (bool), 'i' (integer) or 'f' (floating), in the order in which they promote."""
    return "i" if dtype.kind == "u" else dtype.kind


_RANK = {"b": 0, "i": 1, "f": 2}


def can_cast(from_: np.dtype, to: np.dtype) -> builtins.bool:
    """Whether a result of one type may be written into a tensor of another: not from float to integer or bool.

    >>> can_cast(float64, float32), can_cast(float32, int64)
    (True, False)
    """
    return _RANK[category(from_)] <= _RANK[category(to)]


def promote_types(a: np.dtype, b: np.dtype) -> np.dtype:
    """The type two tensors meet in. Unlike NumPy's, an integer never widens a float.

    Source: https://docs.pytorch.org/docs/stable/tensor_attributes.html#type-promotion-doc

    >>> print(promote_types(int64, float32))
    float32
    """
    if a == b:
        return a
    rank_a, rank_b = _RANK[category(a)], _RANK[category(b)]
    if rank_a == rank_b:
        return np.promote_types(a, b)
    return a if rank_a > rank_b else b


def scalar_dtype(value: Any) -> np.dtype:
    """The type of a number, Python's or NumPy's, that meets no tensor: bool, int64 or the default float."""
    if isinstance(value, builtins.bool | np.bool_):
        return bool
    return int64 if hasattr(value, "__index__") else _default


def result_type(operands: list[tuple[np.dtype, Any]]) -> np.dtype:
    """The type that operands meet in; each is `(dtype, strength)`.

    Strength is 2 for a tensor with dimensions, 1 for one without, 0 for a Python number. A weaker
    operand changes the type only when its category (bool < integer < floating) is higher.
    """
    best: np.dtype | None = None
    for strength in (2, 1, 0):
        level = [dtype for dtype, s in operands if s == strength]
        if not level:
            continue
        met = level[0]
        for dtype in level[1:]:
            met = promote_types(met, dtype)
        if best is None or _RANK[category(met)] > _RANK[category(best)]:
            best = met
    assert best is not None
    return best
