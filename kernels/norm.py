"""Batch and layer normalisation with their gradients.

With the mean m and the biased variance v over a set of elements, r = 1 / sqrt(v + eps) and z = (x - m) r:

    y = w z + b
    db = sum dy,  dw = sum dy z,  dx = r (dy w - mean(dy w) - z mean(dy w z))

Batch norm takes m and v over all axes but the channels (axis 1), w and b (C,); layer norm over the last axis of
x (M, D), w and b (D,). w and b may be None: 1 and 0. Sums over the batch are taken in float64.

The worker threads share the batch and walk their part in pieces that stay in the cache, one step (the second half
of this file) after the other. Each step sees the channels as the last axis. Its compiled twin, of the same name in
`norm_compiled.py`, takes its place where float32 lies like that in memory.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from . import compiled
from .half import in_float32
from .memory import chunks, empty_like
from .parallel import for_blocks, get_num_threads, lead, pass_over, share
from .relu import SMALL

Array = np.ndarray

FLOAT32 = np.dtype(np.float32)
LONG = 64  # numbers in a row that are enough for the compiled loops


@in_float32()
def batch_norm(x: Array, w: Array | None, b: Array | None, eps: float) -> tuple[Array, Array, Array]:
    """y (N, C, ...), and the mean and biased variance (C,) of the batch in float64."""
    y = empty_like(x)
    if rows := _rows(x, y):
        given, moments, vectors = for_statistics(rows[0], x.shape[1], w, b, eps)
        lead(compiled.load("norm_compiled").batch_norm, pass_over(x, y), *given, moments, vectors, rows[1])
        return y, moments[0], moments[1]
    mean, var, vectors = batch_statistics(x, w, b, eps)
    return _scale_and_shift(x, vectors, y), mean, var


def batch_statistics(x: Array, w: Array | None, b: Array | None, eps: float) -> tuple[Array, Array, Array]:
    """The mean and biased variance (C,) of x (N, C, ...) in float64; the vectors of `batch_norm_scale`, (3, C)."""
    C, images = x.shape[1], _last(x)
    origin = images[(0,) * (x.ndim - 1)].astype(np.float64) if x.size else np.zeros(C)
    sums = _run(batch_norm_sums, [images], origin, summed=True)
    moments, vectors = np.empty((2, C)), np.empty((3, C), x.dtype)
    batch_norm_vectors(sums, origin, *optional_weights(w, b, C, x.dtype), eps, _count(x), moments, vectors)
    return moments[0], moments[1], vectors


def for_statistics(rows: Array, C: int, w: Array | None, b: Array | None, eps: float) -> tuple[tuple, Array, Array]:
    """What compiled code takes for the statistics of rows (M, wide), and room for what it makes: moments, vectors."""
    wide, weights = rows.shape[1], optional_weights(w, b, C, FLOAT32)
    return (rows, *weights, eps, _room(wide)), np.empty((2, C)), np.empty((3, wide), FLOAT32)


def for_gradients(
    wide: int, C: int, w: Array | None, mean: Array, var: Array, eps: float
) -> tuple[tuple, Array, Array]:
    """What compiled code takes for the gradients of rows (M, wide), and room for dw and db."""
    weight, _ = optional_weights(w, None, C, FLOAT32)
    given = weight, mean, var, eps, _room(wide), np.empty((4, wide), FLOAT32)
    return given, np.empty(C, FLOAT32), np.empty(C, FLOAT32)


@in_float32()
def channel_affine(x: Array, w: Array, b: Array) -> Array:
    """y = w x + b with w and b (C,): batch norm by a mean and variance that are known before."""
    if x.size >= SMALL:
        return _scale_and_shift(x, np.array([np.zeros_like(w), w, b], x.dtype), empty_like(x))
    per_channel = -1, *(1,) * (x.ndim - 2)
    y = x * w.astype(x.dtype, copy=False).reshape(per_channel)
    y += b.astype(x.dtype, copy=False).reshape(per_channel)
    return y


@in_float32()
def batch_norm_grad(
    dy: Array, x: Array, w: Array | None, mean: Array, var: Array, eps: float
) -> tuple[Array, Array, Array]:
    """dx (N, C, ...), dw (C,), db (C,)."""
    dx = empty_like(x)
    if rows := _rows(x, dy, dx):
        given, dw, db = for_gradients(rows[0].shape[1], x.shape[1], w, mean, var, eps)
        lead(compiled.load("norm_compiled").batch_norm_grad, pass_over(x, dy, dx), *rows[:2], *given, rows[2], dw, db)
        return dx, dw, db
    arrays = [_last(x), _last(dy)]
    sums = _run(batch_norm_grad_sums, arrays, mean, summed=True)
    vectors, dw, db = batch_gradients(sums, x, w, mean, var, eps)
    _run(batch_norm_input_grad, [*arrays, _last(dx)], *vectors)
    return dx, dw, db


def batch_gradients(
    sums: Array, x: Array, w: Array | None, mean: Array, var: Array, eps: float
) -> tuple[Array, Array, Array]:
    """The vectors of `batch_norm_input_grad`, (4, C), then dw and db, from the sums of `batch_norm_grad_sums`."""
    C = x.shape[1]
    vectors, dw, db = np.empty((4, C), x.dtype), np.empty(C, x.dtype), np.empty(C, x.dtype)
    weight, _ = optional_weights(w, None, C, x.dtype)
    batch_norm_grad_vectors(sums, mean, var, weight, eps, _count(x), vectors, dw, db)
    return vectors, dw, db


@in_float32(1)
def layer_norm(x: Array, w: Array | None, b: Array | None, eps: float) -> tuple[Array, Array, Array]:
    """y (M, D), and the mean and r of each row, (M, 1)."""
    y, (mean, r) = empty_like(x), np.empty((2, len(x), 1), x.dtype)
    _run(layer_norm_rows, [x, y, mean, r], *optional_weights(w, b, x.shape[1], x.dtype), eps)
    return y, mean, r


@in_float32()
def layer_norm_grad(dy: Array, x: Array, w: Array | None, mean: Array, r: Array) -> tuple[Array, Array, Array]:
    """dx (M, D), dw (D,), db (D,)."""
    dx, weights = empty_like(x), optional_weights(w, None, x.shape[1], x.dtype)
    db, dw = _run(layer_norm_rows_grad, [x, dy, dx, mean, r], weights[0], summed=True)
    return dx, dw.astype(x.dtype), db.astype(x.dtype)


def _scale_and_shift(x: Array, vectors: Array, y: Array) -> Array:
    _run(batch_norm_scale, [_last(x), _last(y)], *vectors)
    return y


def optional_weights(w: Array | None, b: Array | None, n: int, dtype: np.dtype) -> tuple[Array, Array]:
    """w and b, in memory of our own; 1 and 0 where there are none."""
    return np.ones(n, dtype) if w is None else w.astype(dtype), np.zeros(n, dtype) if b is None else b.astype(dtype)


def _last(x: Array) -> Array:
    """x (N, C, ...) with its channels as the last axis."""
    return x.transpose(_channels_last(x.ndim))


@functools.cache
def _channels_last(ndim: int) -> tuple[int, ...]:
    return 0, *range(2, ndim), 1


def _rows(*arrays: Array) -> list[Array] | None:
    """Arrays (N, C, ...) as rows (M, wide) of pixels, if the first lies like that and compiled code takes it."""
    x, C = arrays[0], arrays[0].shape[1]
    if x.dtype != FLOAT32 or not x.size or not _last(x).flags.c_contiguous or not compiled.load("norm_compiled"):
        return None
    wide, rows = pixels(C, x.size) * C, []
    for a in arrays:
        last = _last(a)
        rows.append((last if last.flags.carray else np.require(last, None, ["C", "A", "W"])).reshape(-1, wide))
    return rows


def pixels(C: int, size: int) -> int:
    """How many pixels are taken as one row, with the vectors repeated: loops are slow with short rows."""
    return 1 if size < SMALL else math.gcd(size // C, 1 << ((LONG - 1) // C).bit_length())


def _room(wide: int) -> Array:
    """Where compiled code makes its sums, three rows for each thread."""
    return np.empty((3 * get_num_threads(), wide))


def _count(x: Array) -> int:
    """Elements of a channel; 1 if there are none, whose sums are 0."""
    return max(x.size // max(x.shape[1], 1), 1)


def _run(step: Callable[..., None], arrays: list[Array], *others: Array | float, summed: bool = False) -> Any:
    """step(*arrays, *others) on pieces of the arrays along their first axis, or at once by its compiled twin where that
    serves.

    `summed`: the step has one more argument, to which it adds its sums (2, C); their total is returned.
    """
    x, work = arrays[0], pass_over(*arrays)
    C = x.shape[-1]
    code = compiled.load("norm_compiled") if x.dtype == FLOAT32 and x.flags.c_contiguous and x.size else None
    if code:
        arrays = [a if a.flags.carray else np.require(a, requirements=["C", "A", "W"]) for a in arrays]
    wide = 1  # pixels taken as one row, with the vectors repeated: loops are slow with short rows
    if x.ndim > 2 and x.size and (code or all(a.flags.c_contiguous for a in arrays)):
        wide = x.shape[-2] if code is None else pixels(C, x.size)
        arrays = [a.reshape(-1, wide * C) for a in arrays]
    if wide > 1:
        others = tuple(np.tile(v, wide) for v in others)

    def arguments(start: int, stop: int) -> tuple[Any, ...]:
        sums = [np.zeros((2, wide * C))] if summed else ()
        return *[a[start:stop] for a in arrays], *others, *sums

    def run(start: int, stop: int) -> tuple[Any, ...]:
        call = arguments(start, stop)
        for piece in chunks(0, stop - start, 2 * arrays[0][:1].size):
            step(*(a[piece] for a in call[: len(arrays)]), *call[len(arrays) :])
        return call

    n, compiled_step = len(arrays[0]), getattr(code, step.__name__, None)
    calls = share(compiled_step, arguments, n, work) if code else for_blocks(run, n, work, blas=False)
    if not summed:
        return None
    total = functools.reduce(np.add, [call[-1] for call in calls])
    return total.reshape(2, wide, C).sum(axis=1) if wide > 1 else total


def batch_norm_sums(x: Array, origin: Array, sums: Array) -> None:
    """sums (2, C) += the sums of x - origin and of its square, in float64."""
    d = x.astype(np.float64)
    d -= origin
    sums[0] += _channel_sum(d)
    d *= d
    sums[1] += _channel_sum(d)


def batch_norm_vectors(
    sums: Array, origin: Array, w: Array, b: Array, eps: float, count: int, moments: Array, vectors: Array
) -> None:
    """moments (2, C): mean and biased variance; vectors (3, C): mean, scale and shift of `batch_norm_scale`."""
    total, squares = sums / count
    moments[0] = origin + total
    # Not negative: the origin is one of the elements, so total² is at most count times the variance.
    moments[1] = squares - total * total
    vectors[0], vectors[1], vectors[2] = moments[0], 1 / np.sqrt(moments[1] + eps) * w, b


def batch_norm_scale(x: Array, y: Array, mean: Array, scale: Array, shift: Array) -> None:
    """y = (x - mean) scale + shift"""
    np.subtract(x, mean, out=y)
    y *= scale
    y += shift


def batch_norm_grad_sums(x: Array, dy: Array, mean: Array, sums: Array) -> None:
    """sums (2, C) += the sums of dy and of dy (x - mean), in float64."""
    d = dy.astype(np.float64)
    sums[0] += _channel_sum(d)
    z = x.astype(np.float64)
    z -= mean
    d *= z
    sums[1] += _channel_sum(d)


def batch_norm_grad_vectors(
    sums: Array, mean: Array, var: Array, w: Array, eps: float, count: int, vectors: Array, dw: Array, db: Array
) -> None:
    """vectors (4, C): mean, constant, slope and scale of `batch_norm_input_grad`; dw and db (C,)."""
    r = 1 / np.sqrt(var + eps)
    total, slope = sums[0], sums[1] * r
    vectors[0], vectors[1], vectors[2], vectors[3] = mean, total / count, slope * r / count, r * w
    dw[:], db[:] = slope, total


def batch_norm_input_grad(
    x: Array, dy: Array, dx: Array, mean: Array, constant: Array, slope: Array, scale: Array
) -> None:
    """dx = (dy - constant - (x - mean) slope) scale"""
    np.subtract(x, mean, out=dx)
    dx *= -slope
    dx += dy
    dx -= constant
    dx *= scale


def layer_norm_rows(x: Array, y: Array, mean: Array, r: Array, w: Array, b: Array, eps: float) -> None:
    """y (M, D), mean (M, 1), r (M, 1)"""
    mean[...] = x.mean(axis=1, keepdims=True)
    np.subtract(x, mean, out=y)
    r[...] = 1 / np.sqrt((y * y).mean(axis=1, keepdims=True) + x.dtype.type(eps))
    y *= r
    y *= w
    y += b


def layer_norm_rows_grad(x: Array, dy: Array, dx: Array, mean: Array, r: Array, w: Array, sums: Array) -> None:
    """dx (M, D); sums (2, D) += the sums of dy and of dy z, in float64."""
    z = x - mean
    z *= r
    sums[0] += dy.sum(axis=0, dtype=np.float64)
    sums[1] += (dy * z).sum(axis=0, dtype=np.float64)
    np.multiply(dy, w, out=dx)
    along_z = (dx * z).mean(axis=1, keepdims=True)
    dx -= dx.mean(axis=1, keepdims=True)
    z *= along_z
    dx -= z
    dx *= r


def _channel_sum(x: Array) -> Array:
    """The sums (C,) of x (N, ..., C), which lies in the cache."""
    axes = list(range(x.ndim))
    return np.einsum(x, axes, axes[-1:])
