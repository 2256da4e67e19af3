"""Dropout: numbers set to zero at random, the others scaled, in one pass. A counter decides which: see philox.py.

    kept[d] = word d of 32 bits >= p 2^32               from the stream `key`, from `block` on
    y[i] = scale x[i] where kept[i // shared], else 0     (the same for dx from dy)

`kept` has the shape of x, or ends with sizes of 1 where `shared` neighbours share a draw, as the pixels of a channel
do. A dropped inf or NaN is 0.
"""

from __future__ import annotations

import numpy as np

from .half import in_float32
from .philox import words32
from .relu import masked

Array = np.ndarray


def threshold(p: float) -> int:
    """The least word that keeps, 0 to 2^32."""
    return round(p * 2**32)


@in_float32()
def dropout(
    x: Array, kept_shape: tuple[int, ...], p: float, scale: float, key: int, block: int
) -> tuple[Array, Array]:
    """y, like x, and kept, bool."""
    words = words32(key, block, int(np.prod(kept_shape)))
    kept = (words >= threshold(p)).reshape(kept_shape)
    return dropout_kept(x, kept, scale), kept


@in_float32()
def dropout_kept(x: Array, kept: Array, scale: float) -> Array:
    """y with a choice that was made before."""
    y = masked(x, kept)
    y *= scale
    return y
