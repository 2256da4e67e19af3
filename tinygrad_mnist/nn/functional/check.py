"""Checks that several functions share."""

from __future__ import annotations

from typing import Any

from ...tensor import Tensor

Pair = tuple[int, int]


def pair(value: Any, name: str, minimum: int = 0) -> Pair:
    """An int or two of them as (height, width)."""
    # The usual cases, several times as fast as what follows.
    if type(value) is int and value >= minimum:
        return value, value
    two = type(value) is tuple and len(value) == 2 and type(value[0]) is type(value[1]) is int
    if two and value[0] >= minimum <= value[1]:
        return value
    values = tuple(value) if isinstance(value, tuple | list) else (value,)
    if len(values) == 1:
        values *= 2
    if len(values) != 2 or any(isinstance(v, bool) or not hasattr(v, "__index__") for v in values):
        raise TypeError(f"{name}: expected an int or two ints, got {value!r}")
    if min(values) < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {value!r}")
    return int(values[0]), int(values[1])


def check_dtype(input: Tensor, *others: Tensor | None) -> None:
    """Raise unless `input` is floating and all `others` have its dtype."""
    dtype = input.array.dtype
    if dtype.kind != "f":
        images = input.dtype == "uint8"
        hint = "scale images with transforms.ToTensor() or x.float() / 255" if images else "use x.float()"
        raise RuntimeError(f"expected a floating-point input, got {input.dtype} {tuple(input.shape)}; {hint}")
    for other in others:
        if other is not None and other.array.dtype is not dtype and other.array.dtype != dtype:
            raise RuntimeError(
                f"expected input and parameters of one dtype, got input {input.dtype} and parameters {other.dtype}; "
                f"use x.to(dtypes.{other.dtype}) or model.to(dtypes.{input.dtype})"
            )


def check_then(then: str | None, size: tuple[int, ...]) -> None:
    """Raise unless what is to follow a convolution or batch norm is known, and the images' `size` (H, W) allows it."""
    if then not in (None, "relu", "relu_pool"):
        raise ValueError(f"then: expected 'relu', 'relu_pool' or None, got {then!r}")
    if then == "relu_pool" and (len(size) != 2 or min(size) < 2):
        raise RuntimeError(f"2x2 pooling needs images of at least 2 x 2 pixels, got {size}")


def as_images(input: Tensor, *others: Tensor | None) -> Any:
    """input (N, C, H, W) or (C, H, W) as (N, C, H, W), its dtype checked."""
    check_dtype(input, *others)
    if input.array.ndim == 4:
        return input
    if input.ndim == 3:
        return input.unsqueeze(0)
    hint = "; flattened images need x.reshape(-1, 1, 28, 28) first" if input.ndim == 2 else ""
    raise RuntimeError(f"expected input (N, C, H, W) or (C, H, W), got {input.ndim}-d {tuple(input.shape)}{hint}")


def like_input(output: Any, input: Tensor) -> Any:
    """Take the batch axis away again where `as_images` added it."""
    return output if input.ndim == 4 else output.squeeze(0)
