"""`Size`: the shape of a tensor, as `x.shape` and `x.size()` give it."""

from __future__ import annotations

import math
from typing import Any, SupportsIndex


class Size(tuple[int, ...]):
    """A tuple of ints that can count its elements and prints as PyTorch's does.

    >>> Size((2, 3)), Size((2, 3)).numel()
    (Size([2, 3]), 6)
    """

    __slots__ = ()

    def numel(self) -> int:
        """The product of the sizes."""
        return math.prod(self)

    def __repr__(self) -> str:
        return f"Size({list(self)})"

    def __add__(self, other: Any) -> Size:
        return Size(tuple.__add__(self, tuple(other)))

    def __getitem__(self, key: SupportsIndex | slice) -> Any:
        part: Any = tuple.__getitem__(self, key)
        return Size(part) if isinstance(key, slice) else part

    def __reduce__(self) -> tuple:
        return Size, (tuple(self),)
