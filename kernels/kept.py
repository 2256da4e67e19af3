"""What is made of weights before they are used, kept until they change.

For one image a convolution takes less time than the transform of its weights. Whatever changes the weights (an
optimizer, a file that is loaded, a view of their memory) is noticed, since their bytes are compared at each use: that
takes a tenth of the time.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import numpy as np

from .relu import flat

T = TypeVar("T")

LARGEST = 2**20  # bytes of weights: of larger ones nothing is kept
FEW = 16  # images: for more, making it anew costs nothing beside the rest

_kept: dict[Hashable, tuple[weakref.ref, list[Any], Any]] = {}  # the array, copies of all bytes, what was made
_constants: dict[int, int] = {}  # by their ids, numbered
_numbers = itertools.count()


def kept(make: Callable[[], T], name: Hashable, w: np.ndarray, *others: np.ndarray | None) -> T:
    """make(), or what it returned for the same `name` and array w if the bytes of w and the others are as they were.

    It is kept as long as the array w lives.
    """
    if w.nbytes > LARGEST:
        return make()
    key = id(w), name
    content = [_content(a) for a in (w, *others)]
    found = _kept.get(key)
    if found is None or found[1] != content:
        copies = [bytearray(c) if isinstance(c, memoryview) else c for c in content]
        _kept[key] = found = weakref.ref(w, lambda _: _kept.pop(key, None)), copies, make()
    return found[2]


def constant(a: np.ndarray) -> np.ndarray:
    """a, which its maker promises that nobody writes to any more: it is not looked at again, but known by a number."""
    _constants[id(a)] = next(_numbers)
    weakref.finalize(a, _constants.pop, id(a)).atexit = False
    return a


def _content(a: np.ndarray | None) -> memoryview | bytes | int | None:
    """The memory of a, which a bytearray is compared with where it lies; if it is not one run, a copy of its bytes; if
    it is constant, its number."""
    if a is None:
        return None
    number = _constants.get(id(a))
    if number is not None:
        return number
    run = a if a.flags.c_contiguous else flat(a)
    return a.tobytes() if run is None else run.data
