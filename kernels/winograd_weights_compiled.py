"""The compiled transforms of Winograd's kernels, and of their gradients, LANES at once. Contract: `winograd.py`.

`kernels` and `kernels_grad` are for copies of them that lie side by side, the others for weights (O, 3, 3, C) that lie
so in memory, where O and C are multiples of COLUMNS: they are read and written there, and squares of LANES by LANES are
turned on the way.
"""

from __future__ import annotations

import numpy as np
from numba import float32, int64, njit, void

from .fused_compiled import options
from .room import give_back, take
from .team_compiled import handed_over
from .tile import COLUMNS, LANES, turn
from .winograd_compiled import kernel_adjoint, kernel_transform


@njit(void(int64, float32[:, ::1], float32[:, ::1], int64, int64), **options)
def kernels(slot: int, g: np.ndarray, u: np.ndarray, first: int, last: int) -> None:  # pragma: no cover
    """u (16, K) = G g Gᵀ of kernels that lie side by side, g (9, K): of LANES at once, from first to last."""
    if handed_over(slot):
        return
    g_at, u_at, K = g.ctypes.data, u.ctypes.data, g.shape[1]
    for k in range(first * LANES, last * LANES, LANES):
        kernel_transform(g_at + 4 * k, 3 * K, K, u_at + 4 * k, 4 * K, K)


@njit(void(int64, float32[:, ::1], float32[:, ::1], int64, int64), **options)
def kernels_grad(slot: int, du: np.ndarray, dg: np.ndarray, first: int, last: int) -> None:  # pragma: no cover
    """dg (9, K) = Gᵀ du G, the adjoint of `kernels`."""
    if handed_over(slot):
        return
    du_at, dg_at, K = du.ctypes.data, dg.ctypes.data, du.shape[1]
    for k in range(first * LANES, last * LANES, LANES):
        kernel_adjoint(du_at + 4 * k, 4 * K, K, dg_at + 4 * k, 3 * K, K)


@njit(**options)  # compiled when it is first called, like the next two: few networks have weights that lie so
def kernels_for_input(
    slot: int, w: np.ndarray, u: np.ndarray, first: int, last: int
) -> None:  # pragma: no cover
    """u (16, blocks of columns c, O, COLUMNS) = G g Gᵀ of w (O, 3, 3, C), for o from first to last."""
    if handed_over(slot):
        return
    (O, _, _, C), w_at, u_at, E = w.shape, w.ctypes.data, u.ctypes.data, u[0].size
    for o in range(first, last):
        for c in range(0, C, LANES):
            to = u_at + 4 * ((c // COLUMNS * O + o) * COLUMNS + c % COLUMNS)
            kernel_transform(w_at + 4 * (9 * o * C + c), 3 * C, C, to, 4 * E, E)


@njit(**options)
def kernels_for_output(
    slot: int, w: np.ndarray, u: np.ndarray, first: int, last: int
) -> None:  # pragma: no cover
    """u (16, blocks of columns o, C, COLUMNS) = G g Gᵀ of w (O, 3, 3, C), for LANES o at once, from first to last."""
    if handed_over(slot):
        return
    C, w_at, u_at, E, square = w.shape[3], w.ctypes.data, u.ctypes.data, u[0].size, LANES * LANES
    room_at = take(9 * square)
    for o in range(first * LANES, last * LANES, LANES):
        for c in range(0, C, LANES):
            for k in range(9):
                turn(room_at + 4 * k * square, LANES, w_at + 4 * ((9 * o + k) * C + c), 9 * C, w_at + 4 * w.size)
            for i in range(LANES):
                to = u_at + 4 * ((o // COLUMNS * C + c + i) * COLUMNS + o % COLUMNS)
                kernel_transform(room_at + 4 * i * LANES, 3 * square, square, to, 4 * E, E)
    give_back(room_at)


@njit(**options)
def kernels_grad_of(slot: int, du: np.ndarray, dw: np.ndarray, first: int, last: int) -> None:  # pragma: no cover
    """dw (O, 3, 3, C) = Gᵀ du G, for LANES o at once, from first to last. du (parts, 16, C or more, O) is to be added
    up: that leaves the sum in the first part."""
    if handed_over(slot):
        return
    (O, _, _, C), dw_at, du_at, E, square = dw.shape, dw.ctypes.data, du.ctypes.data, du[0, 0].size, LANES * LANES
    for part in range(1, len(du)):
        for e in range(16):
            for c in range(C):
                for o in range(first * LANES, last * LANES):
                    du[0, e, c, o] += du[part, e, c, o]
    room_at = take(9 * square)
    for o in range(first * LANES, last * LANES, LANES):
        for c in range(0, C, LANES):
            for i in range(LANES):
                to = room_at + 4 * i * LANES
                kernel_adjoint(du_at + 4 * ((c + i) * O + o), 4 * E, E, to, 3 * square, square)
            for k in range(9):
                turn(dw_at + 4 * ((9 * o + k) * C + c), 9 * C, room_at + 4 * k * square, LANES, room_at + 36 * square)
    give_back(room_at)
