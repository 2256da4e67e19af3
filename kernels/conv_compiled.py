"""The compiled convolutions: one image at a time, without a matrix of patches.

A convolution multiplies a matrix of patches with a matrix of weights, and the first need not be built: the
element of output pixel p and patch place q lies at x[pixel[p] + patch[q]], for two short tables of offsets.
`tile` computes MR rows and NR vectors of columns of such a product,

    c[i, j] = init[i, j] + sum over s, k of a[rows[i] + segments[s] + k * a_step] * b[s * run + k, j]

with its MR x NR sums in vector registers. Each step of k loads NR vectors of b, spreads one number of a over a
vector for each row, and does MR x NR fused multiply-adds. Compilers do not find this by themselves, so `tile`
writes LLVM's vector instructions itself. The same loop serves

- the forward pass: rows are output pixels, k runs over the patch, b holds the weights;
- the input gradient: the same with the kernel flipped;
- the weight gradient: rows are patch places, k runs over output pixels, b holds the output's gradient.

The rest is done while an image is in the cache: its result goes through the fused step (`_finish`), a gradient
back through it (`_fill`). Arrays are channels-last, contiguous float32: x (N, H, W, C), y and dy (N, OH, OW, O).
`conv_direct` makes the tables and shares out the images; it imports this only when Numba is there. Coverage
cannot look into compiled functions: the tests compare each with NumPy. All compiled
code is in this file, since Numba's cache looks at the file of a function, and not at what that imports.

Design: Goto and van de Geijn, Anatomy of High-Performance Matrix Multiplication (2008),
https://doi.org/10.1145/1356052.1356053
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import float32, int64, njit, types, uint8, void
from numba.core import cgutils
from numba.extending import intrinsic

from .conv_direct import NONE, RELU, RELU_POOL


def _shape_for(features: dict[str, bool]) -> tuple[int, int, int]:  # pragma: no cover  (one branch a CPU)
    """Numbers in a vector, rows and vectors of a tile, so that all sums fit into the CPU's registers."""
    if features.get("avx512f"):
        return 16, 12, 2  # 32 registers of 16 numbers
    if features.get("fma"):
        return 8, 6, 2  # 16 registers of 8
    return 4, 8, 2  # 32 registers of 4 (ARM's NEON)


LANES, MR, NR = _shape_for(binding.get_host_cpu_features())
COLUMNS = NR * LANES

_float, _int = ir.FloatType(), ir.IntType(64)
_vector = ir.VectorType(_float, LANES)


@intrinsic
def tile(
    typing_context: Any, c: Any, c_stride: Any, init: Any, init_stride: Any, a: Any, rows: Any, a_step: Any,
    segments: Any, n_segments: Any, run: Any, b: Any, b_stride: Any,
) -> Any:  # fmt: skip  # pragma: no cover
    """See above. c, init, a, b are addresses of float32, rows and segments of int64; strides count elements."""
    # Runs while Numba compiles, whose result is cached on disk, so that coverage may or may not see it.
    return types.void(*[types.intp] * 12), _emit_tile


def _emit_tile(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # pragma: no cover  (see `tile`)
    c, c_stride, init, init_stride, a, rows, a_step, segments, n_segments, run, b, b_stride = args
    c, init, a, b = (builder.inttoptr(p, _float.as_pointer()) for p in (c, init, a, b))
    rows, segments = (builder.inttoptr(p, _int.as_pointer()) for p in (rows, segments))
    multiply_add = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(_vector, [_vector] * 3), f"llvm.fma.v{LANES}f32"
    )

    def at(pointer: Any, *indices: Any) -> Any:
        for index in indices:
            pointer = builder.gep(pointer, [_int(index) if isinstance(index, int) else index])
        return pointer

    def vector_at(pointer: Any) -> Any:
        return builder.bitcast(pointer, _vector.as_pointer())

    def load(pointer: Any) -> Any:
        value = builder.load(vector_at(pointer))
        value.align = 4
        return value

    def spread(number: Any) -> Any:
        undefined = ir.Constant(_vector, ir.Undefined)
        first = builder.insert_element(undefined, number, ir.IntType(32)(0))
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return builder.shuffle_vector(first, undefined, lanes)

    tile_rows, tile_columns = range(MR), range(NR)
    sums = [[cgutils.alloca_once(builder, _vector) for _ in tile_columns] for _ in tile_rows]
    for i in tile_rows:
        for j in tile_columns:
            builder.store(ir.Constant(_vector, [0.0] * LANES), sums[i][j])
    row = [builder.load(at(rows, i)) for i in tile_rows]
    with cgutils.for_range(builder, n_segments) as s:
        a_segment = at(a, builder.load(at(segments, s.index)))
        b_segment = at(b, builder.mul(builder.mul(s.index, run), b_stride))
        a_row = [at(a_segment, row[i]) for i in tile_rows]
        with cgutils.for_range(builder, run) as k:
            b_row = at(b_segment, builder.mul(k.index, b_stride))
            b_vectors = [load(at(b_row, j * LANES)) for j in tile_columns]
            a_offset = builder.mul(k.index, a_step)
            for i in tile_rows:
                a_vector = spread(builder.load(at(a_row[i], a_offset)))
                for j in tile_columns:
                    more = builder.call(multiply_add, [a_vector, b_vectors[j], builder.load(sums[i][j])])
                    builder.store(more, sums[i][j])
    for i in tile_rows:
        for j in tile_columns:
            start = load(at(init, builder.mul(init_stride, _int(i)), j * LANES))
            total = builder.fadd(builder.load(sums[i][j]), start)
            builder.store(total, vector_at(at(c, builder.mul(c_stride, _int(i)), j * LANES))).align = 4
    return context.get_dummy_value()


_images, _choices = float32[:, :, :, ::1], uint8[:, :, :, ::1]
_blocks, _table = float32[:, :, ::1], int64[::1]
_compile: Any = {"nogil": True, "cache": True, "error_model": "numpy"}


@njit(void(_images, float32[:, :, :, :]), **_compile)
def gather(y: np.ndarray, x: np.ndarray) -> None:  # pragma: no cover
    """y = x, where x (N, H, W, C) lies in memory in another order: one image, which fits the cache, at a time."""
    N, H, W, C = x.shape
    for n in range(N):
        for h in range(H):
            for w in range(W):
                for c in range(C):
                    y[n, h, w, c] = x[n, h, w, c]


@njit(**_compile)
def _copy(padded: np.ndarray, x: np.ndarray, top: int, left: int) -> None:  # pragma: no cover
    H, W, C = x.shape
    for h in range(H):
        for w in range(W):
            for c in range(C):
                padded[top + h, left + w, c] = x[h, w, c]


@njit(**_compile)
def _fill(
    padded: np.ndarray, dy: np.ndarray, y: np.ndarray, choice: np.ndarray, epilogue: int, top: int, left: int
) -> None:  # pragma: no cover
    """dy of one image, carried back through the epilogue, into a larger image whose rest stays as it is."""
    H, W, O = dy.shape
    if epilogue == NONE:
        _copy(padded, dy, top, left)
    elif epilogue == RELU:
        for h in range(H):
            for w in range(W):
                for o in range(O):
                    padded[top + h, left + w, o] = dy[h, w, o] if y[h, w, o] > 0 else np.float32(0)
    else:
        for h in range(H):
            for w in range(W):
                for k in range(4):
                    into = padded[top + 2 * h + k // 2, left + 2 * w + k % 2]
                    for o in range(O):
                        taken = choice[h, w, o] == k and y[h, w, o] > 0
                        into[o] = dy[h, w, o] if taken else np.float32(0)


@njit(**_compile)
def _finish(
    y: np.ndarray, choice: np.ndarray, sums: np.ndarray, epilogue: int, width: int, grid: tuple[int, ...]
) -> None:  # pragma: no cover
    """One image's sums (pixels, O or more), rows of `width` pixels, through the step into y (OH, OW, O)."""
    H, W, O = y.shape
    h0, SH, w0, SW = grid
    if epilogue == RELU_POOL:
        for h in range(H):
            for w in range(W):
                corner = 2 * h * width + 2 * w
                for o in range(O):
                    best, at = sums[corner, o], 0
                    for k in range(1, 4):
                        value = sums[corner + (k // 2) * width + k % 2, o]
                        if value > best or value != value:
                            best, at = value, k
                    y[h, w, o] = np.float32(0) if best < 0 else best
                    choice[h, w, o] = at
    else:
        pixel = 0
        for h in range(h0, H, SH):
            for w in range(w0, W, SW):
                for o in range(O):
                    value = sums[pixel, o]
                    y[h, w, o] = np.float32(0) if epilogue == RELU and value < 0 else value
                pixel += 1


@njit(**_compile)
def _product(
    sums: np.ndarray, a: int, rows: np.ndarray, step: int, segments: np.ndarray, run: int, w: np.ndarray,
    bias: np.ndarray,
) -> None:  # pragma: no cover
    """sums (rows, columns) = bias + patches · w, with w (column blocks, patch, COLUMNS)."""
    stride = sums.shape[1]
    for block in range(w.shape[0]):
        column = block * COLUMNS
        for row in range(0, len(rows), MR):
            tile(
                sums[row, column:].ctypes.data, stride, bias[column:].ctypes.data, 0,
                a, rows[row:].ctypes.data, step, segments.ctypes.data, len(segments), run,
                w[block].ctypes.data, COLUMNS,
            )  # fmt: skip


_frame = types.UniTuple(int64, 4)


@njit(
    void(
        _images, _images, _choices, int64, _frame, _table, int64, _table, int64, _blocks, float32[::1],
        _images, _choices, int64, int64, _frame,
    ),
    **_compile,
)  # fmt: skip
def conv(
    x: np.ndarray, x_out: np.ndarray, x_choice: np.ndarray, undo: int, frame: tuple[int, ...], pixels: np.ndarray,
    step: int, segments: np.ndarray, run: int, w: np.ndarray, bias: np.ndarray, y: np.ndarray, choice: np.ndarray,
    epilogue: int, width: int, grid: tuple[int, ...],
) -> None:  # fmt: skip  # pragma: no cover
    """y[:, h0::SH, w0::SW] = epilogue(patches of x · w + bias), with grid = (h0, SH, w0, SW).

    frame = (height, width, top, left) says in what larger image, zero around it, x is laid; `undo` is the
    epilogue that x, a gradient, is carried back through on the way there.
    """
    N, H, W, C = x.shape
    framed = frame[0] != H or frame[1] != W or undo != NONE
    image = np.zeros((frame[0], frame[1], C) if framed else (0, 0, 0), np.float32)
    sums = np.empty((len(pixels), len(bias)), np.float32)
    for n in range(N):
        if framed:
            _fill(image, x[n], x_out[n % len(x_out)], x_choice[n % len(x_choice)], undo, frame[2], frame[3])
            a = image.ctypes.data
        else:
            a = x[n].ctypes.data
        _product(sums, a, pixels, step, segments, run, w, bias)
        _finish(y[n], choice[n % len(choice)], sums, epilogue, width, grid)


@njit(
    void(_images, _frame, _images, _images, _choices, int64, int64, _table, int64, _table, int64, _blocks),
    **_compile,
)
def weight_grad(
    x: np.ndarray, frame: tuple[int, ...], dy: np.ndarray, dy_out: np.ndarray, dy_choice: np.ndarray, undo: int,
    width: int, patch: np.ndarray, step: int, segments: np.ndarray, run: int, dw: np.ndarray,
) -> None:  # fmt: skip  # pragma: no cover
    """dw (column blocks, patch, COLUMNS) += patches of x, transposed, · dy; a row of dy has `width` pixels."""
    N, H, W, C = x.shape
    framed = frame[0] != H or frame[1] != W
    image = np.zeros((frame[0], frame[1], C) if framed else (0, 0, 0), np.float32)
    columns = dw.shape[0] * COLUMNS
    gradient = np.zeros((len(segments), width, columns), np.float32)
    for n in range(N):
        if framed:
            _copy(image, x[n], frame[2], frame[3])
            a = image.ctypes.data
        else:
            a = x[n].ctypes.data
        _fill(gradient, dy[n], dy_out[n % len(dy_out)], dy_choice[n % len(dy_choice)], undo, 0, 0)
        for block in range(dw.shape[0]):
            b = gradient[0, 0, block * COLUMNS :].ctypes.data
            for row in range(0, len(patch), MR):
                c = dw[block, row].ctypes.data
                tile(
                    c, COLUMNS, c, COLUMNS,
                    a, patch[row:].ctypes.data, step, segments.ctypes.data, len(segments), run, b, columns,
                )  # fmt: skip


@njit(void(_images, _images, int64, float32[::1]), **_compile)
def bias_grad(dy: np.ndarray, dy_out: np.ndarray, undo: int, db: np.ndarray) -> None:  # pragma: no cover
    """db (O,) += the sum of dy over images and pixels, carried back through the epilogue."""
    N, H, W, O = dy.shape
    row = np.empty(O, np.float32)
    for n in range(N):
        row[:] = 0
        for h in range(H):
            for w in range(W):
                for o in range(O):
                    passed = undo == NONE or dy_out[n % len(dy_out), h, w, o] > 0
                    row[o] += dy[n, h, w, o] if passed else np.float32(0)
        for o in range(O):
            db[o] += row[o]
