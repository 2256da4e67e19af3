"""The compiled convolutions: one image at a time, without a matrix of patches.

A convolution multiplies a matrix of patches with a matrix of weights, and the first need not be built: the
element of output pixel p and patch place q lies at x[pixel[p] + patch[q]], for two short tables of offsets, which
`tile` follows. The same loop serves

- the forward pass: rows are output pixels, k runs over the patch, b holds the weights;
- the input gradient: the same with the kernel flipped (`conv`), or the patches' gradients, added up (`scatter`);
- the weight gradient: rows are patch places, k runs over output pixels, b holds the output's gradient.

The rest is done while an image is in the cache: its result goes through the fused step (`finish`), a gradient
back through it (`fill`). Room for what is made on the way comes from the caller: to compile code that takes memory
takes long. Arrays are channels-last, contiguous float32: x (N, H, W, C), y and dy (N, OH, OW, O).
`conv_direct` makes the tables and shares out the images; it imports this only when Numba is there. Coverage
cannot look into compiled functions: the tests compare each with NumPy.
"""

from __future__ import annotations

import numpy as np
from numba import float32, int64, njit, void

from .fused_compiled import add_pixels, choices, clear, copy, fill, finish, four, image, images, options, product, table
from .team_compiled import handed_over
from .tile import COLUMNS

_blocks = float32[:, :, ::1]


@njit(
    void(
        int64, images, images, choices, int64, int64, int64, table, int64, table, int64, _blocks, float32[::1],
        images, choices, int64, int64, four, image, float32[:, ::1],
    ),
    **options,
)  # fmt: skip
def conv(
    slot: int,
    x: np.ndarray, x_out: np.ndarray, x_choice: np.ndarray, undo: int, top: int, left: int, pixels: np.ndarray,
    step: int, segments: np.ndarray, run: int, w: np.ndarray, bias: np.ndarray, y: np.ndarray, choice: np.ndarray,
    epilogue: int, width: int, grid: tuple[int, ...], framed: np.ndarray, sums: np.ndarray,
) -> None:  # fmt: skip  # pragma: no cover
    """y[:, h0::SH, w0::SW] = epilogue(patches of x · w + bias), with grid = (h0, SH, w0, SW).

    w (column blocks, patch, COLUMNS). x is laid into `framed`, zero around it, with its corner at (top, left), if
    that is not empty; `undo` is the epilogue that x, a gradient, is carried back through on the way there. `sums`
    (pixels, columns) is room.
    """
    if handed_over(slot):
        return
    N, H, W, C = x.shape
    columns = len(bias)
    x_at, framed_at, w_at, bias_at = x.ctypes.data, framed.ctypes.data, w.ctypes.data, bias.ctypes.data
    pixels_at, segments_at, sums_at = pixels.ctypes.data, segments.ctypes.data, sums.ctypes.data
    clear(framed)
    for n in range(N):
        a = x_at + 4 * n * H * W * C
        if framed.size:
            fill(framed, x[n], x_out[n % len(x_out)], x_choice[n % len(x_choice)], undo, top, left)
            a = framed_at
        for block in range(w.shape[0]):
            column = block * COLUMNS
            product(
                len(pixels), sums_at + 4 * column, columns, bias_at + 4 * column, 0,
                a, pixels_at, step, segments_at, len(segments), run, w_at + 4 * column * w.shape[1], COLUMNS,
            )  # fmt: skip
        finish(y[n], choice[n % len(choice)], sums, epilogue, width, grid)


@njit(**options)  # compiled when it is first called: few convolutions need it
def scatter(
    slot: int,
    dy: np.ndarray, dy_out: np.ndarray, dy_choice: np.ndarray, undo: int, pixels: np.ndarray, starts: np.ndarray,
    taps: np.ndarray, run: int, w: np.ndarray, top: int, left: int, dx: np.ndarray, gradient: np.ndarray,
    patches: np.ndarray, framed: np.ndarray,
) -> None:  # fmt: skip  # pragma: no cover
    """dx = the patches dy · w, added up where they lie, with w (column blocks, O, COLUMNS).

    dy is carried back through the step into `gradient`, multiplied into `patches`, and those are added up in `framed`,
    where dx has its corner at (top, left). The patch of pixel p begins at starts[p] there, and has a run of numbers at
    each of `taps`.
    """
    if handed_over(slot):
        return
    N, H, W, _ = dx.shape
    columns, O = patches.shape[1], dy.shape[3]
    no_bias, start = np.zeros(COLUMNS, np.float32), np.zeros(1, np.int64)
    numbers = framed.reshape(-1)
    clear(gradient)
    for n in range(N):
        fill(gradient, dy[n], dy_out[n % len(dy_out)], dy_choice[n % len(dy_choice)], undo, 0, 0)
        for block in range(w.shape[0]):
            product(
                len(pixels), patches.ctypes.data + 4 * block * COLUMNS, columns, no_bias.ctypes.data, 0,
                gradient.ctypes.data, pixels.ctypes.data, 1, start.ctypes.data, 1, O, w[block].ctypes.data, COLUMNS,
            )  # fmt: skip
        numbers[:] = 0
        for pixel in range(len(starts)):
            for tap in range(len(taps)):
                sums = numbers[starts[pixel] + taps[tap] :]
                more = patches[pixel, tap * run :]
                for k in range(run):
                    sums[k] += more[k]
        copy(dx[n], 0, 0, framed, top, left, H, W)


@njit(
    void(
        int64, images, int64, int64, images, images, choices, int64, table, int64, table, int64, _blocks,
        float32[:, ::1], image, image,
    ),
    **options,
)  # fmt: skip
def weight_grad(
    slot: int, x: np.ndarray, top: int, left: int, dy: np.ndarray, dy_out: np.ndarray, dy_choice: np.ndarray, undo: int,
    patch: np.ndarray, step: int, segments: np.ndarray, run: int, dw: np.ndarray, db: np.ndarray, framed: np.ndarray,
    gradient: np.ndarray,
) -> None:  # fmt: skip  # pragma: no cover
    """dw (column blocks, patch, COLUMNS) += patches of x, transposed, · dy; db[0] += dy, db[1] is `add_pixels`' room.

    x is laid into `framed`, and dy carried back into `gradient`, if they are not empty, as in `conv`.
    """
    if handed_over(slot):
        return
    (N, H, W, C), (_, OH, OW, O) = x.shape, dy.shape
    columns = dw.shape[0] * COLUMNS
    x_at, framed_at, dy_at, gradient_at = x.ctypes.data, framed.ctypes.data, dy.ctypes.data, gradient.ctypes.data
    dw_at, patch_at, segments_at = dw.ctypes.data, patch.ctypes.data, segments.ctypes.data
    clear(framed)
    clear(gradient)
    for n in range(N):
        a, b = x_at + 4 * n * H * W * C, dy_at + 4 * n * OH * OW * O
        if framed.size:
            copy(framed, top, left, x[n], 0, 0, H, W)
            a = framed_at
        if gradient.size:
            fill(gradient, dy[n], dy_out[n % len(dy_out)], dy_choice[n % len(dy_choice)], undo, 0, 0)
            b = gradient_at
        add_pixels(db, gradient if gradient.size else dy[n])
        for block in range(dw.shape[0]):
            c = dw_at + 4 * block * len(patch) * COLUMNS
            product(
                len(patch), c, COLUMNS, c, COLUMNS,
                a, patch_at, step, segments_at, len(segments), run, b + 4 * block * COLUMNS, columns,
            )  # fmt: skip
