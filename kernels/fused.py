"""What the compiled convolutions share: the step after them, and channels-last memory."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from . import compiled
from .memory import empty
from .parallel import pass_over, share_rows

NONE, RELU, RELU_POOL = 0, 1, 2


class Fused(NamedTuple):
    """What was done after the convolution: the step, its result, and (pooling) which of 2x2 pixels it took."""

    step: int
    y: np.ndarray  # (N, O, OH, OW), or pooled
    choice: np.ndarray  # uint8, of y's shape, if there was pooling
    conv_shape: tuple[int, ...]  # of the convolution's own result


FLOAT32 = np.dtype(np.float32)  # compared with a dtype several times as fast as the type is
NO_CHOICE = np.zeros((1, 1, 1, 1), np.uint8)
ALL = slice(None)


def empty_result(
    N: int, O: int, OH: int, OW: int, step: int, dtype: np.dtype = FLOAT32
) -> tuple[np.ndarray, np.ndarray]:
    """Room for y (N, OH, OW, O) of `step` after a convolution, and for choice: of y's shape if there is pooling."""
    if step != RELU_POOL:
        return empty((N, OH, OW, O), dtype), NO_CHOICE
    shape = N, OH // 2, OW // 2, O
    return empty(shape, dtype), empty(shape, np.uint8)


def nhwc(x: np.ndarray) -> np.ndarray:
    """x (N, C, H, W) as a contiguous (N, H, W, C) array; a view where it lies so already."""
    x = x.transpose(0, 2, 3, 1)
    if x.flags.carray:  # contiguous, aligned and writeable
        return x
    x = np.require(x, requirements=["A", "W"])
    code = compiled.load("fused_compiled") if x.dtype == np.float32 else None
    if x.flags.c_contiguous or code is None:
        return np.ascontiguousarray(x)
    y = empty(x.shape, x.dtype)
    share_rows(code.gather, (y, x), pass_over(x, y))
    return y


class Gradient(NamedTuple):
    """The gradient at a step's result, and the step that it is to be carried back through."""

    dy: np.ndarray  # (N, OH, OW, O)
    y: np.ndarray  # the step's result
    choice: np.ndarray
    step: int

    def of(self, start: int, stop: int) -> Gradient:
        """That of some images."""
        choice = self.choice if self.choice is NO_CHOICE else self.choice[start:stop]
        return Gradient(self.dy[start:stop], self.y[start:stop], choice, self.step)


def step_of(dy: np.ndarray, fused: Fused | None, channels: slice = ALL) -> Gradient:
    """Some channels of dy (N, O, OH, OW), and of the step."""
    part = nhwc(dy[:, channels])
    if fused is None:
        return Gradient(part, part, NO_CHOICE, NONE)
    choice = nhwc(fused.choice[:, channels]) if fused.step == RELU_POOL else NO_CHOICE
    return Gradient(part, nhwc(fused.y[:, channels]), choice, fused.step)


@functools.lru_cache(256)
def offsets(*axes: tuple[int, int], multiple: int = 1) -> np.ndarray:
    """The offsets of all elements of an array whose axes have these (sizes, strides), in row-major order.

    The last is repeated until there are a `multiple` of them: full tiles, the rest of which nobody looks at. The
    table is kept for the next call, and not to be written to.
    """
    total = np.zeros(1, np.int64)
    for n, stride in axes:
        total = (total[:, None] + np.arange(n, dtype=np.int64) * stride).ravel()
    return np.pad(total, (0, -len(total) % multiple), mode="edge")


def in_blocks(matrix: np.ndarray, columns: int) -> np.ndarray:
    """matrix (..., O) cut into blocks of columns, zeros where the last is not full: (blocks, K, columns)."""
    *rows, O = matrix.shape
    blocks = np.zeros((-(-O // columns), *rows, columns), np.float32)
    for i, block in enumerate(blocks):
        part = matrix[..., i * columns : (i + 1) * columns]
        block[..., : part.shape[-1]] = part
    return blocks.reshape(len(blocks), -1, columns)
