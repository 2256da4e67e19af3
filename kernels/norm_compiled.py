"""The compiled steps of normalisation, for float32. Contract: the functions of the same names in `norm.py`.

Batch norm takes x as rows of channels (M, C): channels-last images are that, whatever their other axes. Its inner
loops run over channels, which lie side by side, so that the compiler makes vector instructions of them without
changing the order of any sum; a row may hold several pixels, with vectors and totals to match. Sums take PARTS rows at
a time, or reading the vectors and totals would cost more than x: one from each part of the rows, since memory is faster
in several places at once. Layer norm's inner loops are sums themselves: their order is the compiler's
choice (`reassoc`), the same in every run.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import float32, float64, int64, njit, void

from .ahead import AHEAD, LINE, read_soon, write_soon
from .llvm import apart, widest_vectors
from .team_compiled import finish_parts, handed_over, inner, options, slot_of

PARTS = 4
ZERO: Any = np.float32(0)
SHORT = 128  # numbers of a row, up to which passes that write ask for memory ahead: too many requests at once wait
MANY = 2**17  # numbers from which on they do: fewer are in the cache

_rows, _row = float32[:, ::1], float32[::1]
_sums, _exact_row = float64[:, ::1], float64[::1]


@njit(inline="always")
def lines_ahead(M: int, C: int) -> int:  # pragma: no cover
    """How many lines of the cache to ask for before each row of an array (M, C)."""
    return -(-4 * C // LINE) if C <= SHORT and M * C >= MANY else 0


@apart
@njit(void(int64, _rows, _exact_row, _sums), fastmath={"contract"}, **inner)
def batch_norm_sums(slot: int, x: np.ndarray, origin: np.ndarray, sums: np.ndarray) -> None:  # pragma: no cover
    if handed_over(slot):
        return
    widest_vectors()
    M, C = x.shape
    total, squares, part = sums[0], sums[1], M // PARTS
    for m in range(part):
        for c in range(C):
            first = second = 0.0
            for p in range(PARTS):
                d = x[m + p * part, c] - origin[c]
                first += d
                second += d * d
            total[c] += first
            squares[c] += second
    for m in range(PARTS * part, M):
        for c in range(C):
            d = x[m, c] - origin[c]
            total[c] += d
            squares[c] += d * d


@apart
@njit(void(_sums, _exact_row, _row, _row, float64, int64, _sums, _rows), **inner)
def batch_norm_vectors(
    sums: np.ndarray, origin: np.ndarray, w: np.ndarray, b: np.ndarray, eps: float, count: int, moments: np.ndarray,
    vectors: np.ndarray,
) -> None:  # fmt: skip  # pragma: no cover
    for c in range(len(w)):
        total, squares = sums[0, c] / count, sums[1, c] / count
        mean, var = origin[c] + total, squares - total * total
        moments[0, c], moments[1, c] = mean, var
        vectors[0, c], vectors[1, c], vectors[2, c] = mean, 1 / np.sqrt(var + eps) * w[c], b[c]


@njit(void(int64, _rows, _rows, _row, _row, _row), **options)
def batch_norm_scale(
    slot: int, x: np.ndarray, y: np.ndarray, mean: np.ndarray, scale: np.ndarray, shift: np.ndarray
) -> None:  # pragma: no cover
    if handed_over(slot):
        return
    M, C = x.shape
    x_at, y_at, lines = x.ctypes.data + AHEAD, y.ctypes.data + AHEAD, lines_ahead(M, C)
    for m in range(M):
        read_soon(x_at + 4 * m * C, lines)
        write_soon(y_at + 4 * m * C, lines)
        for c in range(C):
            y[m, c] = (x[m, c] - mean[c]) * scale[c] + shift[c]


@apart
@njit(void(int64, _rows, _rows, _exact_row, _sums), fastmath={"contract"}, **inner)
def batch_norm_grad_sums(
    slot: int, x: np.ndarray, dy: np.ndarray, mean: np.ndarray, sums: np.ndarray
) -> None:  # pragma: no cover
    if handed_over(slot):
        return
    widest_vectors()
    M, C = x.shape
    total, along, part = sums[0], sums[1], M // PARTS
    for m in range(part):
        for c in range(C):
            first = second = 0.0
            for p in range(PARTS):
                g = dy[m + p * part, c]
                first += g
                second += g * (x[m + p * part, c] - mean[c])
            total[c] += first
            along[c] += second
    for m in range(PARTS * part, M):
        for c in range(C):
            total[c] += dy[m, c]
            along[c] += dy[m, c] * (x[m, c] - mean[c])


@apart
@njit(void(_sums, _exact_row, _exact_row, _row, float64, int64, _rows, _row, _row), **inner)
def batch_norm_grad_vectors(
    sums: np.ndarray, mean: np.ndarray, var: np.ndarray, w: np.ndarray, eps: float, count: int, vectors: np.ndarray,
    dw: np.ndarray, db: np.ndarray,
) -> None:  # fmt: skip  # pragma: no cover
    for c in range(len(w)):
        r = 1 / np.sqrt(var[c] + eps)
        total, slope = sums[0, c], sums[1, c] * r
        vectors[0, c], vectors[1, c] = mean[c], total / count
        vectors[2, c], vectors[3, c] = slope * r / count, r * w[c]
        dw[c], db[c] = slope, total


@apart
@njit(void(int64, _rows, _rows, _rows, _row, _row, _row, _row), **inner)
def batch_norm_input_grad(
    slot: int, x: np.ndarray, dy: np.ndarray, dx: np.ndarray, mean: np.ndarray, constant: np.ndarray, slope: np.ndarray,
    scale: np.ndarray,
) -> None:  # fmt: skip  # pragma: no cover
    if handed_over(slot):
        return
    M, C = x.shape
    x_at, dy_at, dx_at, lines = x.ctypes.data + AHEAD, dy.ctypes.data + AHEAD, dx.ctypes.data + AHEAD, lines_ahead(M, C)
    for m in range(M):
        read_soon(x_at + 4 * m * C, lines)
        read_soon(dy_at + 4 * m * C, lines)
        write_soon(dx_at + 4 * m * C, lines)
        for c in range(C):
            dx[m, c] = (dy[m, c] - constant[c] - (x[m, c] - mean[c]) * slope[c]) * scale[c]


@apart
@njit(void(_sums), **inner)
def clear(sums: np.ndarray) -> None:  # pragma: no cover
    for r in range(len(sums)):
        for c in range(sums.shape[1]):
            sums[r, c] = 0


@apart
@njit(void(_sums, int64, int64), **inner)
def add_up(room: np.ndarray, parts: int, C: int) -> None:  # pragma: no cover
    """The sums of all parts, in rows 1 and 2 of each three, added up to the first C numbers of the first ones."""
    for r in range(1, 3):
        for i in range(parts):
            for start in range(0 if i else C, room.shape[1], C):
                for c in range(C):
                    room[r, c] += room[3 * i + r, start + c]


@apart
@njit(void(_rows, int64), **inner)
def repeat(vectors: np.ndarray, C: int) -> None:  # pragma: no cover
    """The first C numbers of each vector again, to its end."""
    for r in range(len(vectors)):
        for c in range(C, vectors.shape[1]):
            vectors[r, c] = vectors[r, c - C]


_scale = apart(batch_norm_scale)  # Python calls it, too; as a part of what follows it would be compiled again


@apart
@njit(void(int64, int64, _rows, _row, _row, float64, _sums, _sums, _rows), **inner)
def batch_norm_statistics(
    slots: int, parts: int, x: np.ndarray, w: np.ndarray, b: np.ndarray, eps: float, room: np.ndarray,
    moments: np.ndarray, vectors: np.ndarray,
) -> None:  # fmt: skip  # pragma: no cover
    """`batch_norm_sums` by all threads, then `batch_norm_vectors`; the room is (3 parts, wide)."""
    M, C, parts, origin = len(x), len(w), min(parts, len(room) // 3), room[0]
    for c in range(len(origin)):
        origin[c] = x[0, c % C]
    for i in range(parts - 1, -1, -1):
        sums = room[3 * i + 1 : 3 * i + 3]
        clear(sums)
        batch_norm_sums(slot_of(slots, i), x[M * i // parts : M * (i + 1) // parts], origin, sums)
    finish_parts(slots, parts)
    add_up(room, parts, C)
    batch_norm_vectors(room[1:3], origin, w, b, eps, x.size // C, moments, vectors)
    repeat(vectors, C)


@njit(void(int64, int64, _rows, _row, _row, float64, _sums, _sums, _rows, _rows), **options)
def batch_norm(
    slots: int, parts: int, x: np.ndarray, w: np.ndarray, b: np.ndarray, eps: float, room: np.ndarray,
    moments: np.ndarray, vectors: np.ndarray, y: np.ndarray,
) -> None:  # fmt: skip  # pragma: no cover
    """All of it, without Python between the passes: it finds its own memory gone from the caches after each."""
    M = len(x)
    batch_norm_statistics(slots, parts, x, w, b, eps, room, moments, vectors)
    for i in range(parts - 1, -1, -1):
        first, last = M * i // parts, M * (i + 1) // parts
        _scale(slot_of(slots, i), x[first:last], y[first:last], vectors[0], vectors[1], vectors[2])
    finish_parts(slots, parts)


@njit(
    void(int64, int64, _rows, _rows, _row, _exact_row, _exact_row, float64, _sums, _rows, _rows, _row, _row), **options
)
def batch_norm_grad(
    slots: int, parts: int, x: np.ndarray, dy: np.ndarray, w: np.ndarray, mean: np.ndarray, var: np.ndarray,
    eps: float, room: np.ndarray, vectors: np.ndarray, dx: np.ndarray, dw: np.ndarray, db: np.ndarray,
) -> None:  # fmt: skip  # pragma: no cover
    """All gradients, like `batch_norm`."""
    M, C, parts, wide_mean = len(x), len(w), min(parts, len(room) // 3), room[0]
    for c in range(len(wide_mean)):
        wide_mean[c] = mean[c % C]
    for i in range(parts - 1, -1, -1):
        first, last, sums = M * i // parts, M * (i + 1) // parts, room[3 * i + 1 : 3 * i + 3]
        clear(sums)
        batch_norm_grad_sums(slot_of(slots, i), x[first:last], dy[first:last], wide_mean, sums)
    finish_parts(slots, parts)
    add_up(room, parts, C)
    batch_norm_grad_vectors(room[1:3], mean, var, w, eps, x.size // C, vectors, dw, db)
    repeat(vectors, C)
    for i in range(parts - 1, -1, -1):
        first, last = M * i // parts, M * (i + 1) // parts
        batch_norm_input_grad(
            slot_of(slots, i), x[first:last], dy[first:last], dx[first:last],
            vectors[0], vectors[1], vectors[2], vectors[3],
        )  # fmt: skip
    finish_parts(slots, parts)


@njit(void(int64, _rows, _rows, _rows, _rows, _row, _row, float64), fastmath={"reassoc"}, **options)
def layer_norm_rows(
    slot: int, x: np.ndarray, y: np.ndarray, mean: np.ndarray, r: np.ndarray, w: np.ndarray, b: np.ndarray, eps: float
) -> None:  # pragma: no cover
    if handed_over(slot):
        return
    M, D = x.shape
    for m in range(M):
        total = squares = 0.0
        for d in range(D):
            total += x[m, d]
        centre = total / D
        for d in range(D):
            squares += (x[m, d] - centre) ** 2
        mean[m, 0] = centre
        r[m, 0] = 1 / np.sqrt(squares / D + eps)
        for d in range(D):
            y[m, d] = (x[m, d] - mean[m, 0]) * r[m, 0] * w[d] + b[d]


@njit(void(int64, _rows, _rows, _rows, _rows, _rows, _row, _sums), fastmath={"reassoc"}, **options)
def layer_norm_rows_grad(
    slot: int,
    x: np.ndarray,
    dy: np.ndarray,
    dx: np.ndarray,
    mean: np.ndarray,
    r: np.ndarray,
    w: np.ndarray,
    sums: np.ndarray,
) -> None:  # pragma: no cover
    if handed_over(slot):
        return
    M, D = x.shape
    db, dw = sums[0], sums[1]
    for m in range(M):
        total = along = 0.0
        for d in range(D):
            z = float64((x[m, d] - mean[m, 0]) * r[m, 0])
            db[d] += dy[m, d]
            dw[d] += dy[m, d] * z
            total += dy[m, d] * w[d]
            along += dy[m, d] * w[d] * z
        constant, slope = float32(total / D), float32(along / D)
        for d in range(D):
            dx[m, d] = (dy[m, d] * w[d] - constant - (x[m, d] - mean[m, 0]) * r[m, 0] * slope) * r[m, 0]
