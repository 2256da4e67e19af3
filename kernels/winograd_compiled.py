"""Winograd's convolution for 3x3 kernels with stride 1: 16 multiplications for 4 output pixels instead of 36.

A tile of 2x2 output pixels is seen from 4x4 input pixels d. With the kernel g (3x3),

    y = Aᵀ ((G g Gᵀ) ∘ (Bᵀ d B)) A

where ∘ multiplies element by element. Summed over input channels, each of the 16 elements is a matrix product of its
own: tiles x input channels times input channels x output channels. The transforms by A and B are additions alone;
G g Gᵀ is made once a call. The weight gradient is the adjoint of this in g:

    dg = Gᵀ ((A dy Aᵀ) ∘ (Bᵀ d B)) G

whose 16 products sum over the tiles, and the input gradient that in d. The two share A dy Aᵀ:

    dd = B ((A dy Aᵀ) ∘ (G g Gᵀ)) Bᵀ, added up where tiles overlap

Tiles are transformed a block at a time, so that all that a block needs stays in
the cache.

Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks (2015), https://arxiv.org/abs/1509.09308
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite.ir import Constant
from numba import float32, int64, njit, types, void
from numba.extending import intrinsic

from .fused_compiled import add_pixels, choices, clear, copy, fill, finish, four, images, options, product, table
from .room import give_back, image_at, take
from .team_compiled import handed_over
from .tile import COLUMNS, LANES, LOW_MR, MR, Float, Vector, at, load, low_tile, store

BLOCK = 4 * MR  # tiles that are transformed together
ONE_ONE = 5  # element (1, 1) of 4x4: Aᵀ (element) A has it in all four pixels, so that a bias goes there
EVERY_PIXEL = (0, 1, 0, 1)
HALF = Constant(Vector, [0.5] * LANES)


def _transform(along: Callable[..., list[Any]], size: int, add: bool = False) -> Any:  # pragma: no cover
    """to = `along` applied to the columns and to the rows of a size x size square, for LANES channels at once.

    The function made takes the square's address and the distances of its rows and columns, and the same for the
    result, in elements. With `add`, the result is added to what is there. This runs while Numba compiles.
    """

    @intrinsic
    def transform(
        typing_context: Any, square: Any, row: Any, column: Any, to: Any, to_row: Any, to_column: Any
    ) -> Any:
        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            square, row, column, to, to_row, to_column = args
            square, to = (builder.inttoptr(p, Float.as_pointer()) for p in (square, to))

            def place(start: Any, row: Any, i: int, column: Any, j: int) -> Any:
                return at(builder, start, builder.mul(row, row.type(i)), builder.mul(column, column.type(j)))

            numbers = [[load(builder, place(square, row, i, column, j)) for j in range(size)] for i in range(size)]
            half = [along(builder, *line) for line in numbers]
            for j, line in enumerate(zip(*half, strict=True)):
                for i, number in enumerate(along(builder, *line)):
                    target = place(to, to_row, i, to_column, j)
                    store(builder, builder.fadd(load(builder, target), number) if add else number, target)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 6), emit

    return transform


def _b_transposed(ir: Any, a: Any, b: Any, c: Any, d: Any) -> list[Any]:  # pragma: no cover
    return [ir.fsub(a, c), ir.fadd(b, c), ir.fsub(c, b), ir.fsub(b, d)]


def _a_transposed(ir: Any, a: Any, b: Any, c: Any, d: Any) -> list[Any]:  # pragma: no cover
    return [ir.fadd(a, ir.fadd(b, c)), ir.fsub(ir.fsub(b, c), d)]


def _b(ir: Any, a: Any, b: Any, c: Any, d: Any) -> list[Any]:  # pragma: no cover
    return [a, ir.fadd(ir.fsub(b, c), d), ir.fsub(ir.fadd(b, c), a), ir.fneg(d)]


def _a(ir: Any, a: Any, b: Any) -> list[Any]:  # pragma: no cover
    return [a, ir.fadd(a, b), ir.fsub(a, b), ir.fsub(ir.fsub(b, b), b)]


def _g(ir: Any, a: Any, b: Any, c: Any) -> list[Any]:  # pragma: no cover
    outer, inner = ir.fmul(ir.fadd(a, c), HALF), ir.fmul(b, HALF)
    return [a, ir.fadd(outer, inner), ir.fsub(outer, inner), c]


def _g_transposed(ir: Any, a: Any, b: Any, c: Any, d: Any) -> list[Any]:  # pragma: no cover
    both = ir.fmul(ir.fadd(b, c), HALF)
    return [ir.fadd(a, both), ir.fmul(ir.fsub(b, c), HALF), ir.fadd(both, d)]


kernel_transform = _transform(_g, 3)  # G g Gᵀ
kernel_adjoint = _transform(_g_transposed, 4)  # Gᵀ du G
input_transform = _transform(_b_transposed, 4)  # Bᵀ d B
output_transform = _transform(_a_transposed, 4)  # Aᵀ m A
gradient_transform = _transform(_a, 2)  # A dy Aᵀ
adjoint_transform = _transform(_b, 4, add=True)  # + B m Bᵀ


@njit(
    void(
        int64, images, four, table, table, int64, table, float32[:, :, :, ::1], float32[:, ::1],
        images, choices, int64,
    ),
    **options,
)  # fmt: skip
def conv(
    slot: int,
    x: np.ndarray, frame: tuple[int, ...], tiles: np.ndarray, outs: np.ndarray, per_image: int, rows: np.ndarray,
    u: np.ndarray, bias: np.ndarray, y: np.ndarray, choice: np.ndarray, epilogue: int,
) -> None:  # fmt: skip  # pragma: no cover
    """y = epilogue(x * kernel + bias[0]), with u (16, column blocks, C, COLUMNS) = G g Gᵀ; bias[1] is zero.

    `frame` is that of conv_compiled.conv. `tiles` and `outs` say where tiles begin in a group of framed images and in
    their results, `per_image` of them in each, and `rows` where those of a block begin in their transform.
    """
    if handed_over(slot):
        return
    (N, H, W, C), (height, width, top, left) = x.shape, frame
    columns, blocks, channels, group = bias.shape[1], u.shape[1], C + -C % LANES, len(tiles) // per_image
    pixels = (height - 2) * (width - 2)
    framed = height != H or width != W or channels != C
    room_at, v_at = take(group * height * width * channels if framed else 0), take(16 * BLOCK * channels)
    m_at, sums_at = take(16 * BLOCK * columns), take(group * pixels * columns)
    x_at, u_at, rows_at, bias_at = x.ctypes.data, u.ctypes.data, rows.ctypes.data, bias.ctypes.data
    room = image_at(room_at, group * height if framed else 0, width, channels)
    sums = image_at(sums_at, group, pixels, columns)
    clear(room)
    for start in range(0, N, group):
        count = min(group, N - start)
        a = x_at + 4 * start * H * W * C
        if framed:
            a = room_at
            for n in range(count):
                copy(room, n * height + top, left, x[start + n], 0, 0, H, W)
        for t in range(0, count * per_image, BLOCK):
            size = min(BLOCK, count * per_image - t)
            for i in range(size):
                for c in range(0, channels, LANES):
                    input_transform(
                        a + 4 * (tiles[t + i] + c), width * channels, channels,
                        v_at + 4 * (i * channels + c), 4 * BLOCK * channels, BLOCK * channels,
                    )  # fmt: skip
            for e in range(16):
                init = bias_at if e == ONE_ONE else bias_at + 4 * columns
                for block in range(blocks):
                    column = block * COLUMNS
                    product(
                        size, m_at + 4 * (e * BLOCK * columns + column), columns, init + 4 * column, 0,
                        v_at + 4 * e * BLOCK * channels, rows_at, 1, rows_at, 1, C,
                        u_at + 4 * (e * blocks + block) * C * COLUMNS, COLUMNS,
                    )  # fmt: skip
            for i in range(size):
                for c in range(0, columns, LANES):
                    output_transform(
                        m_at + 4 * (i * columns + c), 4 * BLOCK * columns, BLOCK * columns,
                        sums_at + 4 * (outs[t + i] + c), (width - 2) * columns, columns,
                    )  # fmt: skip
        for n in range(count):
            finish(y[start + n], choice[(start + n) % len(choice)], sums[n], epilogue, width - 2, EVERY_PIXEL)
    give_back(room_at)
    give_back(v_at)
    give_back(m_at)
    give_back(sums_at)


@njit(
    void(
        int64, images, four, images, images, choices, int64, table, table, int64, table, table, float32[:, :, :, ::1],
        images, float32[:, :, ::1], float32[:, ::1],
    ),
    **options,
)  # fmt: skip
def gradients(
    slot: int,
    x: np.ndarray, frame: tuple[int, ...], dy: np.ndarray, dy_out: np.ndarray, dy_choice: np.ndarray, undo: int,
    tiles: np.ndarray, outs: np.ndarray, per_image: int, d_rows: np.ndarray, rows: np.ndarray, u: np.ndarray,
    dx: np.ndarray, du: np.ndarray, db: np.ndarray,
) -> None:  # fmt: skip  # pragma: no cover
    """du (16, C or more, O or more) = (Bᵀ x B)ᵀ · (A dy Aᵀ) over all tiles, db[0] += dy; dx = B ((A dy Aᵀ) · u) Bᵀ.

    u (16, column blocks, O, COLUMNS) = (G g Gᵀ)ᵀ; dx is left out if it is empty, du and db if du is; db[1] is
    `add_pixels`' room. d_rows and rows are where a tile's rows begin: in A dy Aᵀ, and in the transpose of Bᵀ x B.
    Other arguments are as for `conv`.
    """
    if handed_over(slot):
        return
    (N, H, W, C), (height, width, top, left) = x.shape, frame
    columns, O, blocks, channels, group = du.shape[2], u.shape[2], u.shape[1], C + -C % LANES, len(tiles) // per_image
    v_columns, framed_size = max(channels, blocks * COLUMNS), group * height * width * channels
    framed = height != H or width != W or channels != C
    room_at, dx_room_at = take(framed_size if framed and du.size else 0), take(framed_size if framed and dx.size else 0)
    gradient_at = take(group * (height - 2) * (width - 2) * columns)
    v_at, d_at = take(16 * BLOCK * v_columns), take(16 * BLOCK * columns)
    x_at, dx_at, u_at, du_at = x.ctypes.data, dx.ctypes.data, u.ctypes.data, du.ctypes.data
    rows_at, d_rows_at, zeros_at = rows.ctypes.data, d_rows.ctypes.data, db[1].ctypes.data
    room = image_at(room_at, group * height if framed and du.size else 0, width, channels)
    dx_room = image_at(dx_room_at, group * height if framed and dx.size else 0, width, channels)
    gradient = image_at(gradient_at, group * (height - 2), width - 2, columns)
    clear(room)
    clear(gradient)
    clear(du)
    for start in range(0, N, group):
        count = min(group, N - start)
        a = room_at if room.size else x_at + 4 * start * H * W * C
        to = dx_room_at if dx_room.size else dx_at + 4 * start * H * W * C
        if dx_room.size:
            clear(dx_room)
        for n in range(count):
            if room.size:
                copy(room, n * height + top, left, x[start + n], 0, 0, H, W)
            from_, by = dy_out[(start + n) % len(dy_out)], dy_choice[(start + n) % len(dy_choice)]
            fill(gradient, dy[start + n], from_, by, undo, n * (height - 2), 0)
            if dx.size and not dx_room.size:
                clear(dx[start + n])
        if du.size:
            add_pixels(db, gradient[: count * (height - 2)])
        for t in range(0, count * per_image, BLOCK):
            size = min(BLOCK, count * per_image - t)
            for i in range(size):
                for c in range(0, columns, LANES):
                    gradient_transform(
                        gradient_at + 4 * (outs[t + i] + c), (width - 2) * columns, columns,
                        d_at + 4 * (i * columns + c), 4 * BLOCK * columns, BLOCK * columns,
                    )  # fmt: skip
                for c in range(0, channels if du.size else 0, LANES):
                    input_transform(
                        a + 4 * (tiles[t + i] + c), width * channels, channels,
                        v_at + 4 * (i * v_columns + c), 4 * BLOCK * v_columns, BLOCK * v_columns,
                    )  # fmt: skip
            for e in range(len(du)):
                for column in range(0, columns, COLUMNS):
                    for row in range(0, len(rows), LOW_MR):
                        c = du_at + 4 * ((e * len(rows) + row) * columns + column)
                        low_tile(
                            c, columns, c, columns,
                            v_at + 4 * e * BLOCK * v_columns, rows_at + 8 * row, v_columns, rows_at, 1, size,
                            d_at + 4 * (e * BLOCK * columns + column), columns,
                        )  # fmt: skip
            if not dx.size:
                continue
            for e in range(16):
                for block in range(blocks):
                    product(
                        size, v_at + 4 * (e * BLOCK * v_columns + block * COLUMNS), v_columns, zeros_at, 0,
                        d_at + 4 * e * BLOCK * columns, d_rows_at, 1, rows_at, 1, O,
                        u_at + 4 * (e * blocks + block) * O * COLUMNS, COLUMNS,
                    )  # fmt: skip
            for i in range(size):
                for c in range(0, channels, LANES):
                    adjoint_transform(
                        v_at + 4 * (i * v_columns + c), 4 * BLOCK * v_columns, BLOCK * v_columns,
                        to + 4 * (tiles[t + i] + c), width * channels, channels,
                    )  # fmt: skip
        if dx_room.size:
            for n in range(count):
                copy(dx[start + n], 0, 0, dx_room, n * height + top, left, H, W)
    give_back(room_at)
    give_back(dx_room_at)
    give_back(gradient_at)
    give_back(v_at)
    give_back(d_at)
