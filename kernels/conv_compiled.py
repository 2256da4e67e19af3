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
from numba import float32, int64, njit, void

from .fused import NONE
from .fused_compiled import add_pixels, choices, clear, copy, fill, finish, four, images, options, product, table
from .room import give_back, image_at, take
from .team_compiled import handed_over
from .tile import COLUMNS

_blocks = float32[:, :, ::1]


@njit(
    void(
        int64, images, images, choices, int64, four, table, int64, table, int64, _blocks, float32[::1],
        images, choices, int64, int64, four,
    ),
    **options,
)  # fmt: skip
def conv(
    slot: int,
    x: np.ndarray, x_out: np.ndarray, x_choice: np.ndarray, undo: int, frame: tuple[int, ...], pixels: np.ndarray,
    step: int, segments: np.ndarray, run: int, w: np.ndarray, bias: np.ndarray, y: np.ndarray, choice: np.ndarray,
    epilogue: int, width: int, grid: tuple[int, ...],
) -> None:  # fmt: skip  # pragma: no cover
    """y[:, h0::SH, w0::SW] = epilogue(patches of x · w + bias), with grid = (h0, SH, w0, SW).

    w (column blocks, patch, COLUMNS). frame = (height, width, top, left) says in what larger image, zero around it, x
    is laid; `undo` is the epilogue that x, a gradient, is carried back through on the way there.
    """
    if handed_over(slot):
        return
    (N, H, W, C), columns = x.shape, len(bias)
    height, width_of_frame, top, left = frame
    framed = height != H or width_of_frame != W or undo != NONE
    framed_at, sums_at = take(height * width_of_frame * C if framed else 0), take(len(pixels) * columns)
    x_at, w_at, bias_at = x.ctypes.data, w.ctypes.data, bias.ctypes.data
    pixels_at, segments_at = pixels.ctypes.data, segments.ctypes.data
    image = image_at(framed_at, height if framed else 0, width_of_frame, C)
    sums = image_at(sums_at, 1, len(pixels), columns)[0]
    clear(image)
    for n in range(N):
        a = x_at + 4 * n * H * W * C
        if framed:
            fill(image, x[n], x_out[n % len(x_out)], x_choice[n % len(x_choice)], undo, top, left)
            a = framed_at
        for block in range(w.shape[0]):
            column = block * COLUMNS
            product(
                len(pixels), sums_at + 4 * column, columns, bias_at + 4 * column, 0,
                a, pixels_at, step, segments_at, len(segments), run, w_at + 4 * column * w.shape[1], COLUMNS,
            )  # fmt: skip
        finish(y[n], choice[n % len(choice)], sums, epilogue, width, grid)
    give_back(framed_at)
    give_back(sums_at)


@njit(**options)  # compiled when it is first called: few convolutions need it
def scatter(
    slot: int,
    dy: np.ndarray, dy_out: np.ndarray, dy_choice: np.ndarray, undo: int, size: tuple[int, int], pixels: np.ndarray,
    starts: np.ndarray, taps: np.ndarray, run: int, w: np.ndarray, frame: tuple[int, ...], dx: np.ndarray,
) -> None:  # fmt: skip  # pragma: no cover
    """dx = the patches dy · w, added up where they lie, with w (column blocks, O, COLUMNS).

    dy is carried back through the step into an image of `size` (height, width), multiplied into patches, and those are
    added up in one like `conv`'s frame. The patch of pixel p begins at starts[p] there, and has a run of numbers at
    each of `taps`.
    """
    if handed_over(slot):
        return
    N, H, W, C = dx.shape
    columns, O = w.shape[0] * COLUMNS, dy.shape[3]
    no_bias, start = np.zeros(COLUMNS, np.float32), np.zeros(1, np.int64)
    gradient = np.zeros((size[0], size[1], O), np.float32)
    patches, framed = np.empty((len(pixels), columns), np.float32), np.empty((frame[0], frame[1], C), np.float32)
    numbers = framed.reshape(-1)
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
        copy(dx[n], 0, 0, framed, frame[2], frame[3], H, W)


@njit(
    void(
        int64, images, four, images, images, choices, int64, table, int64, table, int64, _blocks, float32[:, ::1],
    ),
    **options,
)  # fmt: skip
def weight_grad(
    slot: int,
    x: np.ndarray, frame: tuple[int, ...], dy: np.ndarray, dy_out: np.ndarray, dy_choice: np.ndarray, undo: int,
    patch: np.ndarray, step: int, segments: np.ndarray, run: int, dw: np.ndarray, db: np.ndarray,
) -> None:  # fmt: skip  # pragma: no cover
    """dw (column blocks, patch, COLUMNS) += patches of x, transposed, · dy; db[0] += dy, db[1] is `add_pixels`' room.

    x is laid into a frame, and dy carried back, as in `conv`.
    """
    if handed_over(slot):
        return
    (N, H, W, C), (_, OH, OW, O) = x.shape, dy.shape
    columns, (height, width, top, left) = dw.shape[0] * COLUMNS, frame
    framed, as_it_is = height != H or width != W, undo == NONE and columns == O
    framed_at = take(height * width * C if framed else 0)
    gradient_at = take(0 if as_it_is else len(segments) * run * columns)
    x_at, dy_at, dw_at, patch_at, segments_at = (
        x.ctypes.data, dy.ctypes.data, dw.ctypes.data, patch.ctypes.data, segments.ctypes.data
    )  # fmt: skip
    image = image_at(framed_at, height if framed else 0, width, C)
    gradient = image_at(gradient_at, 0 if as_it_is else len(segments), run, columns)
    clear(image)
    clear(gradient)
    for n in range(N):
        a, b = x_at + 4 * n * H * W * C, dy_at + 4 * n * OH * OW * O
        if framed:
            copy(image, top, left, x[n], 0, 0, H, W)
            a = framed_at
        if not as_it_is:
            fill(gradient, dy[n], dy_out[n % len(dy_out)], dy_choice[n % len(dy_choice)], undo, 0, 0)
            b = gradient_at
        add_pixels(db, dy[n] if as_it_is else gradient)
        for block in range(dw.shape[0]):
            c = dw_at + 4 * block * len(patch) * COLUMNS
            product(
                len(patch), c, COLUMNS, c, COLUMNS,
                a, patch_at, step, segments_at, len(segments), run, b + 4 * block * COLUMNS, columns,
            )  # fmt: skip
    give_back(framed_at)
    give_back(gradient_at)
