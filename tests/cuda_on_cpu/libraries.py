"""cuBLAS, cuRAND and Thrust's sort in NumPy, behind the calls that CuPy makes. Pointers are addresses of CPU memory."""

import ctypes
import sys
import types
from functools import partial
from typing import Any

import numpy as np

DTYPES = {0: np.float32, 1: np.float64, 2: np.float16}  # by cudaDataType
OP_N, OP_T = 0, 1
COMPUTE_32F, COMPUTE_32F_FAST_TF32 = 68, 77


def array(pointer: int, shape: tuple[int, ...], dtype: Any, strides: tuple[int, ...] | None = None) -> np.ndarray:
    """The memory at `pointer` as an array."""
    dtype = np.dtype(dtype)
    strides = strides or tuple(np.empty(shape, dtype).strides)
    size = sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) + dtype.itemsize
    return np.ndarray(shape, dtype, (ctypes.c_char * size).from_address(pointer), 0, strides)


def matrix(pointer: int, rows: int, columns: int, leading: int, dtype: Any) -> np.ndarray:
    """A column-major matrix, as cuBLAS takes them."""
    if leading < max(1, rows):
        raise RuntimeError(f"CUBLAS_STATUS_INVALID_VALUE: leading dimension {leading} < {rows} rows")
    dtype = np.dtype(dtype)
    return array(pointer, (rows, columns), dtype, (dtype.itemsize, leading * dtype.itemsize))


def operand(pointer: int, op: int, rows: int, columns: int, leading: int, dtype: Any) -> np.ndarray:
    """op(matrix), of shape (rows, columns)."""
    if op == OP_N:
        return matrix(pointer, rows, columns, leading, dtype)
    return matrix(pointer, columns, rows, leading, dtype).T


def to_tf32(x: np.ndarray) -> np.ndarray:
    """x with the 10-bit mantissa that tensor cores read when CUPY_TF32=1."""
    bits = np.ascontiguousarray(x).view(np.uint32)
    return ((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)


def gemm(
    op_a: int, op_b: int, m: int, n: int, k: int, alpha: int, a: int, a_type: int, lda: int,
    b: int, b_type: int, ldb: int, beta: int, c: int, c_type: int, ldc: int, compute: int = COMPUTE_32F,
) -> None:  # fmt: skip
    """C = alpha op(A) op(B) + beta C"""
    if not (m and n and k):
        return
    scale_type = np.float64 if c_type == 1 else np.float32
    alpha_value, beta_value = (array(p, (), scale_type)[()] for p in (alpha, beta))
    left = operand(a, op_a, m, k, lda, DTYPES[a_type]).astype(scale_type)
    right = operand(b, op_b, k, n, ldb, DTYPES[b_type]).astype(scale_type)
    if compute == COMPUTE_32F_FAST_TF32:
        left, right = to_tf32(left), to_tf32(right)
    result = matrix(c, m, n, ldc, DTYPES[c_type])
    product = alpha_value * (left @ right)
    result[...] = product if beta_value == 0 else product + beta_value * result


def gemm_strided_batched(
    op_a: int, op_b: int, m: int, n: int, k: int, alpha: int, a: int, a_type: int, lda: int, stride_a: int,
    b: int, b_type: int, ldb: int, stride_b: int, beta: int, c: int, c_type: int, ldc: int, stride_c: int,
    count: int, compute: int, algorithm: int,
) -> None:  # fmt: skip
    """`count` products at equal distances."""
    size_a, size_b, size_c = (np.dtype(DTYPES[t]).itemsize for t in (a_type, b_type, c_type))
    for i in range(count):
        gemm(
            op_a, op_b, m, n, k, alpha, a + i * stride_a * size_a, a_type, lda,
            b + i * stride_b * size_b, b_type, ldb, beta, c + i * stride_c * size_c, c_type, ldc, compute,
        )  # fmt: skip


def gemm_batched(
    dtype: int, op_a: int, op_b: int, m: int, n: int, k: int, alpha: int, a: int, lda: int, b: int, ldb: int,
    beta: int, c: int, ldc: int, count: int,
) -> None:  # fmt: skip
    """`count` products, from arrays of pointers."""
    pointers = (array(p, (count,), np.uintp) for p in (a, b, c))
    for pa, pb, pc in zip(*pointers, strict=True):
        gemm(
            op_a, op_b, m, n, k, alpha, int(pa), dtype, lda, int(pb), dtype, ldb, beta, int(pc), dtype, ldc
        )  # fmt: skip


def geam(
    dtype: int, op_a: int, op_b: int, m: int, n: int, alpha: int, a: int, lda: int, beta: int, b: int, ldb: int,
    c: int, ldc: int,
) -> None:  # fmt: skip
    """C = alpha op(A) + beta op(B)"""
    real = DTYPES[dtype]
    alpha_value, beta_value = (array(p, (), real)[()] for p in (alpha, beta))
    result = np.zeros((m, n), real)
    if alpha_value:
        result += alpha_value * operand(a, op_a, m, n, lda, real)
    if beta_value:
        result += beta_value * operand(b, op_b, m, n, ldb, real)
    matrix(c, m, n, ldc, real)[...] = result


def refuse_capture(counters: Any, what: str) -> None:
    """The libraries cannot be captured into a graph: CuPy 14 refuses cuBLAS and cuRAND, and Thrust's sort waits."""
    if counters.capturing:
        raise NotImplementedError(f"calling {what} during stream capture is currently unsupported")


def cublas(counters: Any) -> types.ModuleType:
    """What CuPy uses of cupy_backends.cuda.libs.cublas; calls are counted."""

    def counted(function: Any) -> Any:
        def call(handle: int, *arguments: Any) -> None:
            refuse_capture(counters, "cuBLAS API")
            counters.library_calls += 1
            function(*arguments)

        return call

    module = types.ModuleType("cupy_backends.cuda.libs.cublas")

    def typed(dtype: int) -> Any:
        def call(oa: int, ob: int, m: int, n: int, k: int, alpha: int, a: int, lda: int, b: int, ldb: int,
                 beta: int, c: int, ldc: int) -> None:  # fmt: skip
            gemm(oa, ob, m, n, k, alpha, a, dtype, lda, b, dtype, ldb, beta, c, dtype, ldc)

        return counted(call)

    def nothing(*_: Any) -> None:
        return None

    members: dict[str, Any] = {
        "create": lambda: 1, "destroy": nothing, "setStream": nothing, "setMathMode": nothing,
        "setPointerMode": nothing, "getPointerMode": lambda h: 0, "getMathMode": lambda h: 0,
        "sgemm": typed(0), "dgemm": typed(1),
        "sgemmEx": counted(gemm), "gemmEx": counted(lambda *a: gemm(*a[:-1])),
        "gemmStridedBatchedEx": counted(gemm_strided_batched),
        "sgemmBatched": counted(partial(gemm_batched, 0)), "dgemmBatched": counted(partial(gemm_batched, 1)),
        "sgeam": counted(partial(geam, 0)), "dgeam": counted(partial(geam, 1)),
        "CUBLAS_GEMM_DEFAULT": -1, "CUBLAS_GEMM_DEFAULT_TENSOR_OP": 99, "CUBLAS_COMPUTE_32F": COMPUTE_32F,
        "CUBLAS_COMPUTE_32F_PEDANTIC": 69, "CUBLAS_COMPUTE_32F_FAST_TF32": COMPUTE_32F_FAST_TF32,
        "CUBLAS_COMPUTE_64F": 70, "CUBLAS_COMPUTE_64F_PEDANTIC": 71, "CUBLAS_TENSOR_OP_MATH": 1,
        "CUBLAS_DEFAULT_MATH": 0, "CUBLAS_OP_N": OP_N, "CUBLAS_OP_T": OP_T, "CUBLAS_POINTER_MODE_HOST": 0,
        "CUBLAS_POINTER_MODE_DEVICE": 1,
    }  # fmt: skip
    vars(module).update(members)
    return module


def curand(counters: Any) -> types.ModuleType:
    """What CuPy uses of cupy_backends.cuda.libs.curand: seeded, but not the numbers a GPU would give."""
    module = types.ModuleType("cupy_backends.cuda.libs.curand")
    generators: dict[int, np.random.Generator] = {}

    def create(kind: int) -> int:
        generators[len(generators) + 1] = np.random.default_rng(0)
        return len(generators)

    def seed(generator: int, value: int) -> None:
        generators[generator] = np.random.default_rng(int(value))

    def fill(dtype: Any, draw: Any) -> Any:
        def call(generator: int, pointer: int, n: int, *arguments: float) -> None:
            refuse_capture(counters, "cuRAND API")
            array(pointer, (n,), dtype)[...] = draw(generators[generator], n, *arguments)

        return call

    def nothing(*_: Any) -> None:
        return None

    members: dict[str, Any] = {
        "createGenerator": create, "destroyGenerator": nothing, "setPseudoRandomGeneratorSeed": seed,
        "setGeneratorOffset": nothing, "setStream": nothing,
        "generate": fill("u4", lambda g, n: g.integers(0, 2**32, n, dtype=np.uint32)),
        "generateUniform": fill("f4", lambda g, n: 1 - g.random(n, dtype=np.float32)),
        "generateUniformDouble": fill("f8", lambda g, n: 1 - g.random(n)),
        "generateNormal": fill("f4", lambda g, n, mean, std: g.normal(mean, std, n)),
        "generateNormalDouble": fill("f8", lambda g, n, mean, std: g.normal(mean, std, n)),
        "CURAND_RNG_PSEUDO_DEFAULT": 100, "CURAND_RNG_PSEUDO_XORWOW": 101, "CURAND_RNG_PSEUDO_MRG32K3A": 121,
        "CURAND_RNG_PSEUDO_MTGP32": 141, "CURAND_RNG_PSEUDO_MT19937": 142, "CURAND_RNG_PSEUDO_PHILOX4_32_10": 161,
    }  # fmt: skip
    vars(module).update(members)
    return module


def sort(dtype: Any, data: int, keys: int, shape: tuple[int, ...]) -> None:
    """Sort along the last axis, in place."""
    array(data, tuple(shape), dtype).sort(axis=-1, kind="stable")


def argsort(dtype: Any, indices: int, data: int, keys: int, shape: tuple[int, ...]) -> None:
    """The indices that sort along the last axis; the data end up sorted too."""
    values = array(data, tuple(shape), dtype)
    array(indices, tuple(shape), np.int64)[...] = values.argsort(axis=-1, kind="stable")
    values.sort(axis=-1, kind="stable")


def install_sort(counters: Any) -> None:
    """Thrust's sort comes as machine code for GPUs: replace it. After cupy is imported."""
    from cupy.cuda import thrust

    def uncaptured(function: Any) -> Any:
        def call(*arguments: Any) -> None:
            refuse_capture(counters, "Thrust's sort")
            function(*arguments)

        return call

    thrust.sort, thrust.argsort = uncaptured(sort), uncaptured(argsort)


def install(counters: Any) -> None:
    """CuPy imports cuBLAS and cuRAND by name when it first needs them: put ours there before."""
    import cupy_backends.cuda.libs as libraries

    for module in (cublas(counters), curand(counters)):
        sys.modules[module.__name__] = module
        setattr(libraries, module.__name__.rpartition(".")[2], module)
