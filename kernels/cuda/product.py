"""How a matrix product is cut for the kernels that are built on tile.cuh: into which tiles, and into how many parts."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import cupy as cp
import numpy as np

from .launch import Constants, empty, launch, multiprocessors, sum_type
from .parts import sum_parts

THREADS = 128  # of a block, as in tile.cuh
TILES = [(32, 64), (32, 128), (64, 128)]  # rows and columns
# By dtype, where more are not worth the time to compile: float64 is for checking gradients.
ONE_TILE = {np.dtype(np.float64): TILES[0], np.dtype(np.float16): TILES[1]}
SMALLEST_PART = 128  # terms
RESIDENT = 3  # blocks of the largest tile that a multiprocessor runs at once


class Size(NamedTuple):
    """`products` products of (rows, terms) by (terms, columns)."""

    rows: int
    columns: int
    products: int
    terms: int


class Plan(NamedTuple):
    """The tile, how many blocks there are, and the parts that the terms are cut into."""

    rows: int
    columns: int
    blocks: int
    parts: int


def constants(rows: int, columns: int) -> Constants:
    """What tile.cuh wants to have in front."""
    return ("ROWS", rows), ("COLUMNS", columns)


def tiles_for(dtype: np.dtype) -> list[tuple[int, int]]:
    """The tiles that there are for arrays of `dtype`."""
    return [ONE_TILE[dtype]] if dtype in ONE_TILE else TILES


@functools.cache
def plan(size: Size, dtype: np.dtype, device: int) -> Plan:
    """The fastest way, by a rough model of a multiprocessor (in multiply-adds, of which it does 128 a cycle).

    Its two numbers of a tile, 2900 and 64, are fitted to measurements on an H100.
    """
    plans, processors = [], multiprocessors(device)
    for rows, columns in tiles_for(dtype):
        tiles = size.products * -(-size.rows // rows) * -(-size.columns // columns)
        parts = 1
        while parts == 1 or (tiles * parts <= 8 * processors and size.terms // parts >= SMALLEST_PART):
            rounds = -(-tiles * parts // processors)
            rounds += rounds % RESIDENT == 1  # the last block is alone, and cannot keep a multiprocessor busy
            cost = rounds * (rows * columns + 2900) * (size.terms / parts + 64)
            if parts > 1:  # another launch, and the partial sums to and from memory
                cost += 650_000 + 80 * parts * size.products * size.rows * size.columns / processors
            plans.append((cost, Plan(rows, columns, tiles * parts, parts)))
            parts *= 2
    return min(plans)[1]


def product(
    file: str,
    name: str,
    size: Size,
    inputs: tuple[Any, ...],
    out: cp.ndarray,
    *more: Any,
    bias: cp.ndarray | None = None,
    relu: bool | None = None,
) -> None:
    """Run kernel `name` of kernels/`file` with the arguments (*inputs, out, partial, parts, *more).

    A kernel that can add a bias and apply ReLU is given `relu`, and takes both as its last arguments. Where the terms
    are cut into parts, sum_parts does that.
    """
    cut = plan(size, out.dtype, cp.cuda.runtime.getDevice())
    partial = empty((cut.parts, *out.shape), sum_type(out.dtype)) if cut.parts > 1 else None
    last = () if relu is None else (None, 0) if cut.parts > 1 else (bias, int(relu))
    arguments = (*inputs, out, partial, cut.parts, *more, *last)
    shape: dict[str, Any] = {
        "per_block": 1,
        "threads": THREADS,
        "capped": False,
        "constants": constants(cut.rows, cut.columns),
    }
    launch(file, name, out.dtype, cut.blocks, *arguments, **shape)
    if partial is not None:
        sum_parts(partial, out, bias, bool(relu))
