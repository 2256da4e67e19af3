"""The compiled convolutions: one image at a time, without a matrix of patches.

A convolution multiplies a matrix of patches with a matrix of weights, and the first need not be built: the
element of output pixel p and patch place q lies at x[pixel[p] + patch[q]], for two short tables of offsets, which
`tile` follows. The same loop serves

- the forward pass: rows are output pixels, k runs over the patch, b holds the weights;
- the input gradient: the same with the kernel flipped (`conv`), or the patches' gradients, added up (`scatter`);
- the weight gradient: rows are patch places, k runs over output pixels, b holds the output's gradient.

The rest is done while an image is in the cache: its result goes through the fused step (`finish`), a gradient
back through it (`fill`). Arrays are channels-last, contiguous float32: x (N, H, W, C), y and dy (N, OH, OW, O).
`conv_direct` makes the tables and shares out the images; it imports this only when Numba is there. Coverage
cannot look into compiled functions: the tests compare each with NumPy.
"""

from __future__ import annotations

import numpy as np
from numba import float32, int64, njit, uint64, void

from .fused import NONE
from .fused_compiled import add_pixels, choices, copy, fill, finish, four, images, inner, options, table
from .tile import COLUMNS, MR, tile

_blocks = float32[:, :, ::1]


@njit(void(float32[:, ::1], uint64, table, int64, table, int64, _blocks, float32[::1]), **inner)
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


@njit(
    void(
        images, images, choices, int64, four, table, int64, table, int64, _blocks, float32[::1],
        images, choices, int64, int64, four,
    ),
    **options,
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
    sums = np.empty((1, len(pixels), len(bias)), np.float32)[0]  # as three axes, like all, so that one version serves
    for n in range(N):
        if framed:
            fill(image, x[n], x_out[n % len(x_out)], x_choice[n % len(x_choice)], undo, frame[2], frame[3])
            a = image.ctypes.data
        else:
            a = x[n].ctypes.data
        _product(sums, a, pixels, step, segments, run, w, bias)
        finish(y[n], choice[n % len(choice)], sums, epilogue, width, grid)


@njit(**options)  # compiled when it is first called: few convolutions need it
def scatter(
    dy: np.ndarray, dy_out: np.ndarray, dy_choice: np.ndarray, undo: int, size: tuple[int, ...], pixels: np.ndarray,
    starts: np.ndarray, taps: np.ndarray, run: int, w: np.ndarray, frame: tuple[int, ...], dx: np.ndarray,
) -> None:  # fmt: skip  # pragma: no cover
    """dx = the patches dy · w, added up where they lie, with w (column blocks, O, COLUMNS).

    dy is carried back through the step into an image of `size` (height, width, 0, 0). The patch of pixel p begins at
    starts[p] in x framed by zeros, and has a run of numbers at each of `taps`.
    """
    N, H, W, C = dx.shape
    gradient = np.zeros((size[0], size[1], dy.shape[3]), np.float32)
    patches = np.empty((len(pixels), w.shape[0] * COLUMNS), np.float32)
    image, no_bias = np.empty((frame[0], frame[1], C), np.float32), np.zeros(patches.shape[1], np.float32)
    numbers, start = image.reshape(-1), np.zeros(1, np.int64)
    for n in range(N):
        fill(gradient, dy[n], dy_out[n % len(dy_out)], dy_choice[n % len(dy_choice)], undo, size[2], size[3])
        _product(patches, gradient.ctypes.data, pixels, 1, start, dy.shape[3], w, no_bias)
        numbers[:] = 0
        for pixel in range(len(starts)):
            for tap in range(len(taps)):
                sums = numbers[starts[pixel] + taps[tap] :]
                more = patches[pixel, tap * run :]
                for k in range(run):
                    sums[k] += more[k]
        for h in range(H):
            for v in range(W):
                for c in range(C):
                    dx[n, h, v, c] = image[h + frame[2], v + frame[3], c]


@njit(
    void(images, four, images, images, choices, int64, int64, table, int64, table, int64, _blocks, float32[:, ::1]),
    **options,
)
def weight_grad(
    x: np.ndarray, frame: tuple[int, ...], dy: np.ndarray, dy_out: np.ndarray, dy_choice: np.ndarray, undo: int,
    width: int, patch: np.ndarray, step: int, segments: np.ndarray, run: int, dw: np.ndarray, db: np.ndarray,
) -> None:  # fmt: skip  # pragma: no cover
    """dw (column blocks, patch, COLUMNS) += patches of x, transposed, · dy; db[0] += dy, db[1] is `add_pixels`' room.

    A row of dy has `width` pixels.
    """
    N, H, W, C = x.shape
    framed = frame[0] != H or frame[1] != W
    image = np.zeros((frame[0], frame[1], C) if framed else (0, 0, 0), np.float32)
    columns = dw.shape[0] * COLUMNS
    as_it_is = undo == NONE and dy.shape[3] == columns
    room = np.zeros((0 if as_it_is else len(segments), width, columns), np.float32)
    for n in range(N):
        if framed:
            copy(image, x[n], frame[2], frame[3])
            a = image.ctypes.data
        else:
            a = x[n].ctypes.data
        if not as_it_is:
            fill(room, dy[n], dy_out[n % len(dy_out)], dy_choice[n % len(dy_choice)], undo, 0, 0)
        gradient = dy[n] if as_it_is else room
        add_pixels(db, gradient)
        for block in range(dw.shape[0]):
            b = gradient[0, 0, block * COLUMNS :].ctypes.data
            for row in range(0, len(patch), MR):
                c = dw[block, row].ctypes.data
                tile(
                    c, COLUMNS, c, COLUMNS,
                    a, patch[row:].ctypes.data, step, segments.ctypes.data, len(segments), run, b, columns,
                )  # fmt: skip
