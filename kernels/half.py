"""float16 for kernels that are written for float32: stored in 16 bits, computed in 32.

What a kernel returns for float16 is what it returns for the same numbers in float32, rounded once: to the nearest
float16, 2^-11 of it away at most, or 2^-25 where it is small. The CUDA kernels do the same as they load and store.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def in_float32(rounded: int = 3) -> Callable[[Kernel], Kernel]:
    """A decorator for a kernel whose first argument says the dtype: it takes float16 too, of any array module.

    The first `rounded` results become float16. Those after them stay float32: a gradient goes on with them.
    """

    def decorate(kernel: Kernel) -> Kernel:
        @functools.wraps(kernel)
        def call(x: Any, *others: Any, **options: Any) -> Any:
            if x.dtype.char != "e":
                return kernel(x, *others, **options)
            results = kernel(*(_cast(a, np.float16, np.float32) for a in (x, *others)), **options)
            if not isinstance(results, tuple):
                return _cast(results, np.float32, np.float16)
            return *(_cast(r, np.float32, np.float16) for r in results[:rounded]), *results[rounded:]

        return cast(Kernel, call)

    return decorate


def _cast(value: Any, of: Any, to: Any) -> Any:
    """`value` as `to` if it is an array of dtype `of`."""
    return value.astype(to) if getattr(value, "dtype", None) == of else value
