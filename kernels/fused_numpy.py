"""2x2 max pooling after ReLU, and the way back through both, in NumPy: for what is fused with it.

The four pixels of a square lie apart, as four arrays of one pixel of each square.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .fused import Fused

Array = np.ndarray


def squares(x: Array, axis: int) -> list[Array]:
    """The four pixels of all squares of x, whose rows are at `axis` and columns after it. Odd ones are left out."""
    before, OH, OW = (slice(None),) * axis, x.shape[axis] // 2, x.shape[axis + 1] // 2
    return [x[(*before, slice(i, 2 * OH, 2), slice(j, 2 * OW, 2))] for i in range(2) for j in range(2)]


def pool(pixels: Sequence[Array] | Array, y: Array, choice: Array) -> None:
    """y: the largest of the four pixels, or 0; choice: which it is, the first of equal ones."""
    np.maximum(pixels[0], pixels[1], out=y)
    np.greater(pixels[1], pixels[0], out=choice.view(bool))
    for k in (2, 3):
        np.maximum(choice, (pixels[k] > y).view(np.uint8) * np.uint8(k), out=choice)
        np.maximum(y, pixels[k], out=y)
    np.maximum(y, 0, out=y)


def unpool(dy: Array, y: Array, choice: Array, pixels: Sequence[Array] | Array) -> None:
    """The four pixels' gradients, from that of y: all bits of dy, or none."""
    bits, is_open = dy.view(np.int32), y > 0
    for k, into in enumerate(pixels):
        np.bitwise_and(bits, -((choice == k) & is_open).view(np.int8), out=into.view(np.int32))


def flat_index(pooled: Fused) -> np.ndarray:
    """The choices of pooling as `max_pool2d` gives them: h·W + w in the image before it."""
    OH, OW = pooled.choice.shape[2:]
    row, column = np.divmod(pooled.choice.astype(np.int32), 2)
    row += 2 * np.arange(OH, dtype=np.int32)[:, None]
    column += 2 * np.arange(OW, dtype=np.int32)
    return row * np.int32(pooled.conv_shape[3]) + column
