"""The compiled convolution of few pixels by many weights. Contract: `conv_few.py`."""

from __future__ import annotations

import numpy as np
from numba import boolean, float32, int64, njit, void

from .fused_compiled import clear, copy, four, images, options, table
from .matmul_compiled import CHUNK
from .room import give_back, image_at, take
from .team_compiled import handed_over
from .tile import (
    DOT_COLUMNS,
    DOT_ROWS,
    DOTS,
    LANES,
    WIDE,
    WIDE_MR,
    copy_vector,
    dot_tile,
    narrow_tile,
    turn_rows,
    wide_tile,
)  # fmt: skip

ZERO, ONE = np.float32(0), np.float32(1)
ROOM = 5 * 2**14  # numbers of patches that `patches_turned` takes at a time: beside the weights they fit into the L2

_row = float32[::1]
_signature = void(
    int64, images, four, int64[:, ::1], table, int64[:, ::1], boolean[:, ::1], float32[:, ::1], int64[:, ::1],
    float32[:, :], _row, _row, _row, _row, float32, float32[:, :], boolean,
)  # fmt: skip


@njit(inline="always")
def _framed(x: np.ndarray, frame: tuple[int, ...]) -> int:  # pragma: no cover
    """The images in larger ones of zeros, frame = (height, width, top, left): an address, to be given back."""
    (N, H, W, C), (height, width, top, left) = x.shape, frame
    address = take(N * height * width * C)
    for n in range(N):
        larger = image_at(address + 4 * n * height * width * C, height, width, C)
        clear(larger)
        copy(larger, top, left, x[n], 0, 0, H, W)
    return address


@njit(inline="always")
def _affine(
    mean: np.float32, var: np.float32, weight: np.float32, bias: np.float32, eps: np.float32
) -> tuple[np.float32, np.float32]:  # pragma: no cover
    """What the norm multiplies a sum by, and adds."""
    scale = ONE / np.sqrt(var + eps) * weight
    return scale, bias - mean * scale


@njit(inline="always")
def _finish(
    out: np.ndarray, m: int, n: int, y: np.float32, plus: np.ndarray, relu: bool
) -> None:  # pragma: no cover
    """out[m, n] = y + plus[m, n], after ReLU if asked for."""
    if len(plus) > 0:
        y += plus[m, n]
    out[m, n] = ZERO if relu and y <= ZERO else y  # NaN stays


@njit(_signature, **options)
def patches_by_rows(
    slot: int, x: np.ndarray, frame: tuple[int, ...], starts: np.ndarray, places: np.ndarray, tiles: np.ndarray,
    inside: np.ndarray, w: np.ndarray, rows: np.ndarray, out: np.ndarray, mean: np.ndarray, var: np.ndarray,
    weight: np.ndarray, bias: np.ndarray, eps: float, plus: np.ndarray, relu: bool,
) -> None:  # fmt: skip  # pragma: no cover
    """out (M, N) = (patches of x · rows of w - mean) / sqrt(var + eps) · weight + bias + plus, where plus (M, N) may be
    empty, for 0.

    `tiles` (T, DOT_ROWS) are patches that are multiplied together: vector v of tiles[t, i] is at starts[t, i] +
    places[v] of x in its frame. `inside` (T, parts) says which parts of them are multiplied: the others, of equal size,
    are zero. `rows` (N / DOT_COLUMNS, DOT_COLUMNS) says where those of w begin, the last repeated.
    """
    if handed_over(slot):
        return
    N, V, tall, parts, wide = out.shape[1], len(places), len(tiles), inside.shape[1], len(rows)
    chunk = CHUNK // LANES if tall > 1 else V  # long rows are read faster, but only where they are read once
    sums_at, panel_at = take(tall * wide * DOTS), take(tall * DOT_ROWS * chunk * LANES)
    x_at, w_at, rows_at, sums = _framed(x, frame), w.ctypes.data, rows.ctypes.data, image_at(sums_at, tall, wide, DOTS)
    clear(sums)
    for part in range(parts):
        end = V // parts * (part + 1)
        for start in range(V // parts * part, end, chunk):
            vectors = min(chunk, end - start)
            for t in range(tall):
                for i in range(DOT_ROWS if inside[t, part] else 0):
                    to = panel_at + 4 * LANES * (t * DOT_ROWS * chunk + i)
                    for v in range(vectors):
                        copy_vector(to + 4 * LANES * v * DOT_ROWS, x_at + 4 * (starts[t, i] + places[start + v]))
            for n in range(wide):
                for t in range(tall):
                    if inside[t, part]:
                        dot_tile(
                            sums_at + 4 * (t * wide + n) * DOTS, panel_at + 4 * LANES * t * DOT_ROWS * chunk,
                            w_at + 4 * LANES * start, rows_at + 8 * n * DOT_COLUMNS, vectors,
                        )  # fmt: skip
    for n in range(N):
        scale, shift = _affine(mean[n], var[n], weight[n], bias[n], eps)
        for t in range(tall):
            for i in range(DOT_ROWS):
                y = sums[t, n // DOT_COLUMNS, i * DOT_COLUMNS + n % DOT_COLUMNS] * scale + shift
                _finish(out, tiles[t, i], n, y, plus, relu)
    give_back(sums_at)
    give_back(panel_at)
    give_back(x_at)


@njit(_signature, **options)
def patches_turned(
    slot: int, x: np.ndarray, frame: tuple[int, ...], starts: np.ndarray, places: np.ndarray, tiles: np.ndarray,
    inside: np.ndarray, w: np.ndarray, rows: np.ndarray, out: np.ndarray, mean: np.ndarray, var: np.ndarray,
    weight: np.ndarray, bias: np.ndarray, eps: float, plus: np.ndarray, relu: bool,
) -> None:  # fmt: skip  # pragma: no cover
    """The same for tiles of LANES or WIDE patches and `rows` (N / WIDE_MR, WIDE_MR): the patches are transposed, so
    that vectors of them are multiplied by numbers of w where these lie."""
    if handed_over(slot):
        return
    N, V, (tall, width), parts, wide = out.shape[1], len(places), tiles.shape, inside.shape[1], len(rows)
    vectors = min(V // parts, max(1, ROOM // (tall * width * LANES)))
    sums_at, panel_at = take(wide * WIDE_MR * tall * width), take(tall * width * vectors * LANES)
    x_at, w_at, rows_at, starts_at = _framed(x, frame), w.ctypes.data, rows.ctypes.data, starts.ctypes.data
    sums, zero_at = image_at(sums_at, wide * WIDE_MR, tall, width), places.ctypes.data  # places begin with 0
    clear(sums)
    for part in range(parts):
        end = V // parts * (part + 1)
        for start in range(V // parts * part, end, vectors):
            run = min(vectors, end - start) * LANES
            for t in range(tall):
                for i in range(0, width if inside[t, part] else 0, LANES):
                    to, of = panel_at + 4 * (t * vectors * LANES * width + i), starts_at + 8 * (t * width + i)
                    for k in range(0, run, LANES):
                        turn_rows(to + 4 * k * width, width, x_at + 4 * places[start + k // LANES], of)
            for n in range(wide):
                for t in range(tall):
                    if inside[t, part]:
                        to, stride = sums_at + 4 * (n * WIDE_MR * tall + t) * width, tall * width
                        w_part, panel = w_at + 4 * LANES * start, panel_at + 4 * t * vectors * LANES * width
                        of = rows_at + 8 * n * WIDE_MR
                        if width == WIDE:
                            wide_tile(to, stride, to, stride, w_part, of, 1, zero_at, 1, run, panel, width)
                        else:
                            narrow_tile(to, stride, to, stride, w_part, of, 1, zero_at, 1, run, panel, width)
    for n in range(N):
        scale, shift = _affine(mean[n], var[n], weight[n], bias[n], eps)
        for t in range(tall):
            for i in range(width):
                _finish(out, tiles[t, i], n, sums[n, t, i] * scale + shift, plus, relu)
    give_back(sums_at)
    give_back(panel_at)
    give_back(x_at)
