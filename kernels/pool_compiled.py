"""The compiled pooling: channels-last images, float32, each image by one thread. Contract: `pool.py`.

The window of a maximum is passed as (KH, KW, SH, SW, PH, PW, DH, DW). The inner loops run over channels, which lie
side by side, and choose without branching, so that the compiler makes vector instructions of them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import float32, int32, int64, njit, types, void
from numba.core import cgutils
from numba.extending import intrinsic

from .team_compiled import handed_over
from .tile import LANES, Float, Vector, at, load, store

_images, _indices = float32[:, :, :, ::1], int32[:, :, :, ::1]
_window = types.UniTuple(int64, 8)
LOWEST = np.float32(-np.inf)
Places = ir.VectorType(ir.IntType(32), LANES)


@intrinsic
def greatest(
    typing_context: Any, y: Any, index: Any, x: Any, first: Any, taps: Any, x_steps: Any, place: Any, place_steps: Any
) -> Any:  # pragma: no cover
    """The greatest of x[k * x_steps[0] + l * x_steps[1]] for the taps (k, l), taps[0] x taps[1] of them, to y, and its
    place + k * place_steps[0] + l * place_steps[1] to index, for LANES channels at addresses. From -inf and `first`."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        y, index, x, first, taps, x_steps, place, place_steps = args
        y, x, index = (builder.inttoptr(p, Float.as_pointer()) for p in (y, x, index))
        index = builder.bitcast(index, Places.as_pointer())
        taps, x_steps, place_steps = (cgutils.unpack_tuple(builder, pair) for pair in (taps, x_steps, place_steps))
        best, chosen = (cgutils.alloca_once(builder, kind) for kind in (Vector, Places))
        builder.store(ir.Constant(Vector, [-math.inf] * LANES), best)
        builder.store(_everywhere(builder, first), chosen)
        with cgutils.for_range(builder, taps[0]) as k, cgutils.for_range(builder, taps[1]) as l:
            to, here = (
                builder.add(builder.mul(k.index, steps[0]), builder.mul(l.index, steps[1]))
                for steps in (x_steps, place_steps)
            )
            value, old = load(builder, at(builder, x, to)), builder.load(best)
            wins = builder.or_(
                builder.fcmp_ordered(">", value, old), builder.fcmp_unordered("uno", value, value)
            )  # a NaN is greater than everything, and the first one stays
            now = _everywhere(builder, builder.add(place, here))
            builder.store(builder.select(wins, value, old), best)
            builder.store(builder.select(wins, now, builder.load(chosen)), chosen)
        store(builder, builder.load(best), y)
        builder.store(builder.load(chosen), index).align = 4
        return context.get_dummy_value()

    pair = types.UniTuple(types.int64, 2)
    return types.void(*[types.int64] * 4, pair, pair, types.int64, pair), emit


def _everywhere(builder: Any, number: Any) -> Any:  # pragma: no cover
    """A vector of that int64 alone, as int32."""
    kind = ir.IntType(32)
    one = builder.insert_element(ir.Constant(Places, ir.Undefined), builder.trunc(number, kind), kind(0))
    return builder.shuffle_vector(one, one, ir.Constant(Places, [0] * LANES))


@njit(inline="always")
def _inside(first: int, taps: int, dilation: int, size: int) -> tuple[int, int]:  # pragma: no cover
    """Which taps, `dilation` pixels apart from `first` on, lie inside an image of `size`: the first, and the end."""
    return max(0, -(first // dilation)), min(taps, (size - 1 - first) // dilation + 1)


@njit(void(int64, _images, _images, _indices, int32[:, ::1], _window), nogil=True, cache=True)
def max_pool(
    slot: int, x: np.ndarray, y: np.ndarray, index: np.ndarray, first: np.ndarray, window: tuple[int, ...]
) -> None:  # pragma: no cover
    """y and index, from -inf and the first place of each window that is inside the image, (OH, OW)."""
    if handed_over(slot):
        return
    KH, KW, SH, SW, PH, PW, DH, DW = window
    (N, OH, OW, C), (_, H, W, _) = y.shape, x.shape
    vectors = C - C % LANES
    for n in range(N):
        for i in range(OH):
            k, k_end = _inside(i * SH - PH, KH, DH, H)
            for j in range(OW):
                l, l_end = _inside(j * SW - PW, KW, DW, W)
                place = (i * SH - PH + k * DH) * W + j * SW - PW + l * DW
                out, start = 4 * ((n * OH + i) * OW + j) * C, 4 * (n * H * W + place) * C
                for c in range(0, vectors, LANES):
                    greatest(
                        y.ctypes.data + out + 4 * c, index.ctypes.data + out + 4 * c, x.ctypes.data + start + 4 * c,
                        first[i, j], (k_end - k, l_end - l), (DH * W * C, DW * C), place, (DH * W, DW),
                    )  # fmt: skip
                best, chosen = y[n, i, j, vectors:], index[n, i, j, vectors:]
                best[:], chosen[:] = LOWEST, first[i, j]
                for h in range(i * SH - PH + k * DH, i * SH - PH + k_end * DH, DH):
                    for w in range(j * SW - PW + l * DW, j * SW - PW + l_end * DW, DW):
                        for c in range(C - vectors):
                            value = x[n, h, w, vectors + c]
                            wins = value > best[c] or value != value
                            best[c] = value if wins else best[c]
                            chosen[c] = np.int32(h * W + w) if wins else chosen[c]


@njit(void(int64, _images, _indices, _images, _window), nogil=True, cache=True)
def max_pool_grad(
    slot: int, dy: np.ndarray, index: np.ndarray, dx: np.ndarray, window: tuple[int, ...]
) -> None:  # pragma: no cover
    """dx from dy: for each place of each window, what was taken there."""
    if handed_over(slot):
        return
    KH, KW, SH, SW, PH, PW, DH, DW = window
    N, OH, OW, C = dy.shape
    H, W = dx.shape[1], dx.shape[2]
    for n in range(N):
        dx[n] = 0
        for i in range(OH):
            for j in range(OW):
                for k in range(KH):
                    h = i * SH - PH + k * DH
                    if h < 0 or h >= H:
                        continue
                    for l in range(KW):
                        w = j * SW - PW + l * DW
                        if w < 0 or w >= W:
                            continue
                        place = h * W + w
                        for c in range(C):
                            dx[n, h, w, c] += dy[n, i, j, c] if index[n, i, j, c] == place else np.float32(0)


@njit(nogil=True, cache=True, error_model="numpy")
def avg_pool(
    slot: int, x: np.ndarray, y: np.ndarray, rows: np.ndarray, columns: np.ndarray, divisor: np.ndarray
) -> None:  # pragma: no cover
    """Output (i, j) looks at x from rows[i, 0] to rows[i, 1] and columns[j, 0] to columns[j, 1]."""
    if handed_over(slot):
        return
    N, OH, OW, C = y.shape
    for n in range(N):
        for i in range(OH):
            for j in range(OW):
                for c in range(C):
                    y[n, i, j, c] = 0
                for h in range(rows[i, 0], rows[i, 1]):
                    for w in range(columns[j, 0], columns[j, 1]):
                        for c in range(C):
                            y[n, i, j, c] += x[n, h, w, c]
                for c in range(C):
                    y[n, i, j, c] /= divisor[i, j]


@njit(nogil=True, cache=True, error_model="numpy")
def avg_pool_grad(
    slot: int, dy: np.ndarray, dx: np.ndarray, rows: np.ndarray, columns: np.ndarray, divisor: np.ndarray
) -> None:  # pragma: no cover
    if handed_over(slot):
        return
    N, OH, OW, C = dy.shape
    share = np.empty(C, np.float32)
    for n in range(N):
        dx[n] = 0
        for i in range(OH):
            for j in range(OW):
                for c in range(C):
                    share[c] = dy[n, i, j, c] / divisor[i, j]
                for h in range(rows[i, 0], rows[i, 1]):
                    for w in range(columns[j, 0], columns[j, 1]):
                        for c in range(C):
                            dx[n, h, w, c] += share[c]
