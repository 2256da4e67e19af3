"""The one inner loop of the compiled convolutions: a small matrix product held in registers.

A convolution multiplies a matrix of patches with a matrix of weights, and the patch matrix need not be built:
the element of output pixel p and patch place q lies at x[pixel[p] + patch[q]], for two short tables of offsets.
`tile` computes MR rows and NR vectors of columns of such a product,

    c[i, j] = init[i, j] + sum over s, k of a[rows[i] + segments[s] + k * a_step] * b[s * run + k, j]

with its MR × NR sums in vector registers. Each step of k loads NR vectors of b, spreads one number of a over a
vector for each row, and does MR × NR fused multiply-adds. Compilers do not find this by themselves, so the
function writes LLVM's vector instructions itself. The same loop serves

- the forward pass: rows are output pixels, k runs over the patch, b holds the weights;
- the input gradient: the same with the kernel flipped;
- the weight gradient: rows are patch places, k runs over output pixels, b holds the output's gradient.

Only imported when Numba is there. Design: Goto and van de Geijn, Anatomy of High-Performance Matrix
Multiplication (2008), https://doi.org/10.1145/1356052.1356053
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


def _shape_for(features: dict[str, bool]) -> tuple[int, int, int]:
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
    typing_context: Any, c: Any, c_stride: Any, init: Any, init_stride: Any, a: Any, rows: Any, a_step: Any, segments: Any,
    n_segments: Any, run: Any, b: Any, b_stride: Any,
) -> Any:  # fmt: skip
    """See the module. c, init, a, b are addresses of float32, rows and segments of int64; strides count elements."""
    return types.void(*[types.intp] * 12), _emit_tile


def _emit_tile(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # pragma: no cover  (runs while compiling)
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
