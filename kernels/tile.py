"""The loop that all compiled convolutions spend their time in, written with LLVM's vector instructions.

`tile` computes MR rows and NR vectors of columns of a matrix product,

    c[i, j] = init[i, j] + sum over s, k of a[rows[i] + segments[s] + k * a_step] * b[s * run + k, j]

with its MR x NR sums in vector registers; `low_tile` computes LOW_MR rows, `wide_tile` WIDE_MR rows and WIDE_NR
vectors, `panel_tile` PANEL_MR and PANEL_NR, `narrow_tile` WIDE_MR and one, with sums apart for WIDE_NR neighbouring k,
so that none waits for another. Each step of k loads NR vectors of b, spreads one number of a over a vector for each
row, and does MR x NR fused multiply-adds. Compilers do not find this by themselves.

Design: Goto and van de Geijn, Anatomy of High-Performance Matrix Multiplication (2008),
https://doi.org/10.1145/1356052.1356053
"""

from __future__ import annotations

import itertools
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .ahead import prefetch
from .llvm import for_range


def _shape_for(features: dict[str, bool]) -> tuple[int, int, int]:  # pragma: no cover  (one branch a CPU)
    """Numbers in a vector, rows and vectors of a tile, so that all sums fit into the CPU's registers."""
    if features.get("avx512f"):
        return 16, 12, 2  # 32 registers of 16 numbers
    if features.get("fma"):
        return 8, 6, 2  # 16 registers of 8
    return 4, 8, 2  # 32 registers of 4 (ARM's NEON)


LANES, MR, NR = _shape_for(binding.get_host_cpu_features())
COLUMNS = NR * LANES
LOW_MR = MR - 1  # of 32, 64 or 128 rows, tiles of 11 leave fewer over than tiles of 12
WIDE_MR, WIDE_NR = (6, 2) if LANES == 8 else (6, 4)  # rows of a may lie 4 KB apart, for which a cache has 8 places
WIDE = WIDE_NR * LANES
PANEL_MR, PANEL_NR = (6, 2) if LANES == 8 else (8, 3)
PANEL = PANEL_NR * LANES
STEPS_AHEAD = 4  # of k: how far ahead of what it reads of b `copying_tile` asks for memory

Float, Int = ir.FloatType(), ir.IntType(64)
Vector = ir.VectorType(Float, LANES)


# The rest runs while Numba compiles, whose result is cached on disk, so that coverage may or may not see it.


def at(builder: Any, pointer: Any, *indices: Any) -> Any:  # pragma: no cover
    """The address so many elements further on."""
    for index in indices:
        pointer = builder.gep(pointer, [Int(index) if isinstance(index, int) else index])
    return pointer


def load(builder: Any, pointer: Any) -> Any:  # pragma: no cover
    """The vector of LANES numbers there."""
    value = builder.load(builder.bitcast(pointer, Vector.as_pointer()))
    value.align = 4
    return value


def store(builder: Any, vector: Any, pointer: Any) -> None:  # pragma: no cover
    builder.store(vector, builder.bitcast(pointer, Vector.as_pointer())).align = 4


def _spread(builder: Any, number: Any) -> Any:  # pragma: no cover
    undefined = ir.Constant(Vector, ir.Undefined)
    first = builder.insert_element(undefined, number, ir.IntType(32)(0))
    lanes = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(first, undefined, lanes)


def _multiply_add(builder: Any) -> Any:  # pragma: no cover
    kind = ir.FunctionType(Vector, [Vector] * 3)
    return cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{LANES}f32")


def _tile(rows_of_tile: int, vectors: int, phases: int = 1, unroll: bool = True) -> Any:  # pragma: no cover
    @intrinsic
    def tile(
        typing_context: Any, c: Any, c_stride: Any, init: Any, init_stride: Any, a: Any, rows: Any, a_step: Any,
        segments: Any, n_segments: Any, run: Any, b: Any, b_stride: Any,
    ) -> Any:  # fmt: skip
        """See above. c, init, a, b are addresses of float32, rows and segments of int64; strides count elements."""

        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            _emit_tile(builder, rows_of_tile, vectors, phases, unroll, *args)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 12), emit

    return tile


def _emit_tile(
    builder: Any, rows_of_tile: int, vectors: int, phases: int, unroll: bool, c: Any, c_stride: Any, init: Any,
    init_stride: Any, a: Any, rows: Any, a_step: Any, segments: Any, n_segments: Any, run: Any, b: Any, b_stride: Any,
    copy: Any = None,
) -> None:  # fmt: skip  # pragma: no cover
    c, init, a, b = (builder.inttoptr(p, Float.as_pointer()) for p in (c, init, a, b))
    rows, segments = (builder.inttoptr(p, Int.as_pointer()) for p in (rows, segments))
    multiply_add = _multiply_add(builder)
    tile_rows, tile_columns = range(rows_of_tile), range(vectors)
    sums = [[[cgutils.alloca_once(builder, Vector) for _ in range(phases)] for _ in tile_columns] for _ in tile_rows]
    for i, j, phase in itertools.product(tile_rows, tile_columns, range(phases)):
        builder.store(ir.Constant(Vector, [0.0] * LANES), sums[i][j][phase])
    row = [builder.load(at(builder, rows, i)) for i in tile_rows]
    with cgutils.for_range(builder, n_segments) as s:
        a_segment = at(builder, a, builder.load(at(builder, segments, s.index)))
        b_segment = at(builder, b, builder.mul(builder.mul(s.index, run), b_stride))
        a_row = [at(builder, a_segment, row[i]) for i in tile_rows]
        with for_range(builder, builder.udiv(run, Int(phases)), unroll) as step:
            for phase in range(phases):
                k = builder.add(builder.mul(step, Int(phases)), Int(phase))
                b_row = at(builder, b_segment, builder.mul(k, b_stride))
                b_vectors = [load(builder, at(builder, b_row, j * LANES)) for j in tile_columns]
                if copy is not None:
                    start = builder.inttoptr(copy, Float.as_pointer())
                    to = at(builder, start, builder.mul(k, Int(vectors * LANES)))
                    for j, vector in enumerate(b_vectors):
                        store(builder, vector, at(builder, to, j * LANES))
                        prefetch(builder, at(builder, b_row, builder.mul(b_stride, Int(STEPS_AHEAD)), j * LANES))
                a_offset = builder.mul(k, a_step)
                for i in tile_rows:
                    a_vector = _spread(builder, builder.load(at(builder, a_row[i], a_offset)))
                    for j in tile_columns:
                        place = sums[i][j][phase]
                        more = builder.call(multiply_add, [a_vector, b_vectors[j], builder.load(place)])
                        builder.store(more, place)
    for i, j in itertools.product(tile_rows, tile_columns):
        total = load(builder, at(builder, init, builder.mul(init_stride, Int(i)), j * LANES))
        for place in sums[i][j]:
            total = builder.fadd(builder.load(place), total)
        store(builder, total, at(builder, c, builder.mul(c_stride, Int(i)), j * LANES))


# Unrolled, these loops need more registers than there are, and the last turn of an odd number is slow: convolutions'
# runs are short.
tile = _tile(MR, NR, unroll=False)
low_tile = _tile(LOW_MR, NR, unroll=False)
wide_tile = _tile(WIDE_MR, WIDE_NR)
narrow_tile = _tile(WIDE_MR, 1, WIDE_NR)
panel_tile = _tile(PANEL_MR, PANEL_NR)


@intrinsic
def copying_tile(
    typing_context: Any, c: Any, c_stride: Any, init: Any, init_stride: Any, a: Any, rows: Any, a_step: Any,
    segments: Any, n_segments: Any, run: Any, b: Any, b_stride: Any, copy: Any,
) -> Any:  # fmt: skip  # pragma: no cover
    """A `panel_tile` of one segment that leaves b's vectors at the address `copy`, one behind the other."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _emit_tile(builder, PANEL_MR, PANEL_NR, 1, True, *args)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 13), emit


# Tiles of dot products: rows of a times rows of b, whose elements lie side by side in memory.
DOT_ROWS, DOT_COLUMNS = (2, 4) if LANES == 8 else (4, 6)  # 8 of 16 registers, or 24 of 32
DOTS = -(-DOT_ROWS * DOT_COLUMNS // LANES) * LANES  # numbers that a tile writes: in whole vectors


@intrinsic
def dot_tile(typing_context: Any, sums: Any, a: Any, b: Any, rows: Any, vectors: Any) -> Any:  # pragma: no cover
    """sums[i * DOT_COLUMNS + j] += sum over k < vectors * LANES of a[i, k] * b[rows[j] + k]

    a is in the order of use: a vector of its first row, of its second, ..., then the next vectors.
    """

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        sums, a, b, rows, vectors = args
        sums, a, b = (builder.inttoptr(p, Float.as_pointer()) for p in (sums, a, b))
        rows = builder.inttoptr(rows, Int.as_pointer())
        zero = ir.Constant(Vector, [0.0] * LANES)
        total = [cgutils.alloca_once(builder, Vector) for _ in range(DOT_ROWS * DOT_COLUMNS)]
        for place in total:
            builder.store(zero, place)
        b_row = [at(builder, b, builder.load(at(builder, rows, j))) for j in range(DOT_COLUMNS)]
        with cgutils.for_range(builder, vectors) as k:
            b_vectors = [load(builder, at(builder, row, builder.mul(k.index, Int(LANES)))) for row in b_row]
            a_rows = at(builder, a, builder.mul(k.index, Int(LANES * DOT_ROWS)))
            for i in range(DOT_ROWS):
                a_vector = load(builder, at(builder, a_rows, i * LANES))
                for place, b_vector in zip(total[i * DOT_COLUMNS :], b_vectors, strict=False):
                    more = builder.call(_multiply_add(builder), [a_vector, b_vector, builder.load(place)])
                    builder.store(more, place)
        vector = [builder.load(place) for place in total] + [zero] * (DOTS - len(total))
        while len(vector) > DOTS // LANES:
            vector = [_add_neighbours(builder, u, v) for u, v in zip(vector[::2], vector[1::2], strict=True)]
        for i, dots in enumerate(vector):
            place = at(builder, sums, i * LANES)
            store(builder, builder.fadd(dots, load(builder, place)), place)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 5), emit


def _add_neighbours(builder: Any, u: Any, v: Any) -> Any:  # pragma: no cover
    """Sums of neighbours, u's and then v's: in log2(LANES) turns, LANES vectors become the one of their sums."""
    index = ir.VectorType(ir.IntType(32), LANES)
    even, odd = (builder.shuffle_vector(u, v, ir.Constant(index, list(range(i, 2 * LANES, 2)))) for i in (0, 1))
    return builder.fadd(even, odd)


@intrinsic
def turn(typing_context: Any, to: Any, to_stride: Any, from_: Any, stride: Any, last: Any) -> Any:  # pragma: no cover
    """to[k, i] = from[i, k] for LANES rows and columns, at addresses of float32; strides count elements.

    Rows behind `last`, an address, are that one again.
    """

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        to, to_stride, from_, stride, last = args
        rows = [builder.add(from_, builder.mul(stride, Int(4 * i))) for i in range(LANES)]
        rows = [builder.select(builder.icmp_unsigned("<", row, last), row, last) for row in rows]
        _emit_turn(builder, to, to_stride, [builder.inttoptr(row, Float.as_pointer()) for row in rows])
        return context.get_dummy_value()

    return types.void(*[types.intp] * 5), emit


@intrinsic
def turn_rows(typing_context: Any, to: Any, to_stride: Any, from_: Any, rows: Any) -> Any:  # pragma: no cover
    """The same of rows that begin `rows` elements, an address of LANES int64, behind from_."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        to, to_stride, from_, rows = args
        start, table = builder.inttoptr(from_, Float.as_pointer()), builder.inttoptr(rows, Int.as_pointer())
        pointers = [at(builder, start, builder.load(at(builder, table, i))) for i in range(LANES)]
        _emit_turn(builder, to, to_stride, pointers)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 4), emit


def _emit_turn(builder: Any, to: Any, to_stride: Any, rows: list[Any]) -> None:  # pragma: no cover
    """In each of log2(LANES) turns the first half of the vectors is interleaved with the second: the bits of an
    element's row and column move on by one place."""
    half, index, vectors = LANES // 2, ir.VectorType(ir.IntType(32), LANES), [load(builder, row) for row in rows]
    halves = [[i for pair in range(start, start + half) for i in (pair, pair + LANES)] for start in (0, half)]
    for _ in range(LANES.bit_length() - 1):
        vectors = [
            builder.shuffle_vector(u, v, ir.Constant(index, interleaved))
            for u, v in zip(vectors[:half], vectors[half:], strict=True)
            for interleaved in halves
        ]
    for k, vector in enumerate(vectors):
        store(builder, vector, at(builder, builder.inttoptr(to, Float.as_pointer()), builder.mul(to_stride, Int(k))))


@intrinsic
def copy_vector(typing_context: Any, to: Any, from_: Any) -> Any:  # pragma: no cover
    """LANES numbers from one address to another."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        to, from_ = (builder.inttoptr(p, Float.as_pointer()) for p in args)
        store(builder, load(builder, from_), to)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), emit
