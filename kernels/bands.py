"""Images shared out among the threads, or, where they are fewer than the threads, bands of their rows.

Some rows of a convolution's result are a convolution of their own: of the rows of the image that they see. So are those
of an input gradient that are equal modulo the stride, of the gradient.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

from .fused import ALL, RELU_POOL
from .parallel import for_calls, share

Pair = tuple[int, int]


class Band(NamedTuple):
    """Some rows of an image's result."""

    y: slice  # after the step
    size: int  # how many they are before it
    x: slice  # the rows of the image that they see
    height: int  # of the image with zeros around it
    top: int  # rows of zeros above


@functools.lru_cache(256)
def cut(count: int, H: int, k: int, step: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> list[Band]:
    """An image's result in `count` bands, or fewer, of pairs of rows, which pooling and Winograd's tiles take whole."""
    height, reach = H + 2 * padding, dilation * (k - 1) + 1
    OH = (height - reach) // stride + 1
    pairs = -(-OH // 2)
    count = min(count, pairs)
    if count <= 1:
        return [Band(ALL, OH, ALL, height, padding)]
    edges = [2 * (pairs * i // count) for i in range(count)] + [OH]
    bands = []
    for first, last in itertools.pairwise(edges):
        top, bottom = first * stride - padding, (last - 1) * stride - padding + reach
        rows = slice(first // 2, last // 2) if step == RELU_POOL else slice(first, last)
        bands.append(Band(rows, last - first, slice(max(top, 0), max(bottom, 0)), bottom - top, max(-top, 0)))
    return bands


def for_bands(
    function: Any, arguments: Callable[[slice, Band], tuple[Any, ...]], N: int, bands: list[Band], nanoseconds: float
) -> None:
    """The compiled function(*arguments(images, band)) for all bands of N images, shared out among the threads."""
    if len(bands) > 1:
        for_calls(function, [arguments(slice(n, n + 1), band) for n in range(N) for band in bands])
    else:
        share(function, lambda start, stop: arguments(slice(start, stop), bands[0]), N, nanoseconds)


def phase(r: int, size: int, k: int, stride: int, padding: int, dilation: int) -> tuple[int, list[Pair]]:
    """How many of `size` pixels are r modulo stride, and (tap, first dy pixel) for the taps that reach them."""
    reach = [(tap, r + padding - tap * dilation) for tap in range(k)]
    return -(-(size - r) // stride), [(tap, at // stride) for tap, at in reach if at % stride == 0]


def frame_of(phases: list[tuple[int, list[Pair]]], size: int) -> Pair:
    """How large an image must be, and where dy's `size` pixels begin in it, for all taps to stay inside."""
    first = min((i for _, taps in phases for _, i in taps), default=0)
    last = max((n - 1 + i for n, taps in phases for _, i in taps), default=0)
    top = max(0, -first)
    return top + max(size, last + 1), top
