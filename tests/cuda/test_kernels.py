"""Every CUDA kernel against its NumPy twin: drawn shapes, strides and options, several orders of blocks."""

import inspect
from typing import Any

import cupy
import numpy as np
import pytest
from cuda import every_kernel
from cuda.compare import TOLERANCE, assert_same, close
from cuda_on_cpu.compiler import SANITIZERS
from hypothesis import given, settings
from hypothesis import strategies as st
from tinygrad_mnist.kernels import cuda
from tinygrad_mnist.kernels.cuda import product
from tinygrad_mnist.kernels.cuda.launch import LaunchError
from tinygrad_mnist.kernels.cuda.matmul import own_matmul

import tinygrad_mnist as tg
from tinygrad_mnist import kernels

FLOATS = (np.float32, np.float64)
DTYPES = (*FLOATS, np.float16)
few = settings(max_examples=5 if SANITIZERS else 25, deadline=None)  # no deadline: the first example builds


def pair(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    """Two numbers, one for H and one for W."""
    return st.tuples(st.integers(low, high), st.integers(low, high))


def numbers(draw: Any, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Random numbers, in one of several memory layouts."""
    values = np.random.default_rng(draw(st.integers(0, 9))).standard_normal(shape).astype(dtype)
    if draw(st.booleans()) and len(shape) == 4:
        return np.ascontiguousarray(values.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    return values


@st.composite
def convolutions(draw: Any) -> tuple[Any, ...]:
    """x, w, b, dy and the geometry of a convolution."""
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    CG, OG, N = draw(st.integers(1, 5)), draw(st.integers(1, 5)), draw(st.integers(0, 3))
    kernel, stride, padding, dilation = draw(pair(1, 3)), draw(pair(1, 3)), draw(pair(0, 2)), draw(pair(1, 2))
    size = [
        draw(st.integers(max(1, d * (k - 1) + 1 - 2 * p), 9)) for k, p, d in zip(kernel, padding, dilation, strict=True)
    ]
    dtype = draw(st.sampled_from(DTYPES))
    x = numbers(draw, (N, CG * groups, *size), dtype)
    w = numbers(draw, (OG * groups, CG, *kernel), dtype)
    b = draw(st.sampled_from([None, numbers(draw, (OG * groups,), dtype)]))
    out = kernels.conv_patches.out_sizes(x.shape, kernel, stride, padding, dilation)
    dy = numbers(draw, (N, OG * groups, *out), dtype)
    return x, w, b, dy, (stride, padding, dilation), groups


@given(case=convolutions())
@few
def test_convolution(case: tuple[Any, ...]) -> None:
    x, w, b, dy, geometry, groups = case
    terms = w[0].size
    assert_same("conv2d", x, w, b, *geometry, groups, terms=terms)
    assert_same("conv2d_input_grad", dy, w, x.shape, *geometry, groups, terms=w.size)
    assert_same("conv2d_weight_grad", dy, x, w.shape, *geometry, groups, terms=dy.size + 1)


@given(case=convolutions())
@few
def test_im2col(case: tuple[Any, ...]) -> None:
    x, w, _, _, geometry, _ = case
    assert_same("im2col", x, w.shape[2:], *geometry)
    cols = kernels.im2col(x, w.shape[2:], *geometry)
    assert_same(
        "col2im", np.random.default_rng(0).standard_normal(cols.shape).astype(x.dtype), x.shape, *geometry, terms=9
    )


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize(
    ("dtype", "rows", "columns"), [(t, *sizes) for t in DTYPES for sizes in product.tiles_for(np.dtype(t))]
)
def test_convolution_in_every_tile(
    dtype: Any, rows: int, columns: int, parts: int, stride: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several tiles in each direction, none of them full, with sums that are whole or cut into parts."""

    def plan(size: product.Size, *_: Any) -> product.Plan:
        blocks = size.products * -(-size.rows // rows) * -(-size.columns // columns) * parts
        return product.Plan(rows, columns, blocks, parts)

    monkeypatch.setattr(product, "plan", plan)
    rng = np.random.default_rng(0)
    x, w, b = (rng.standard_normal(shape).astype(dtype) for shape in ((2, 3, 9, 8), (70, 3, 3, 4), (70,)))
    geometry = (stride, stride), (1, 2), (1, 1), 1
    y = kernels.conv2d(x, w, b, *geometry)
    assert_same("conv2d", x, w, b, *geometry, terms=36)
    assert_same("conv2d_input_grad", y, w, x.shape, *geometry, terms=36 * 70)
    assert_same("conv2d_weight_grad", y, x, w.shape, *geometry, terms=y.size)
    if stride == 1:  # lines of four, which are stored at once
        dy = np.ascontiguousarray(y[..., :8])
        assert_same("conv2d_weight_grad", dy, x[:, :, :, :7], (70, 3, 3, 4), (1, 1), (1, 2), (1, 1), 1, terms=y.size)


def test_a_convolution_with_more_terms_than_a_table_holds() -> None:
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((1, 90, 4, 3), (5, 90, 3, 3)))
    assert_same("conv2d", x, w, None, (1, 1), (1, 1), (1, 1), 1, terms=810)


def test_plans_fill_the_device() -> None:
    """Whole sums where there are tiles enough, parts where there are not; small tiles for few rows."""
    float32 = np.dtype(np.float32)
    large, small = product.Size(64, 300_000, 1, 288), product.Size(64, 128, 1, 9216)
    assert product.plan(large, float32, 0).parts == 1
    assert product.plan(large, float32, 0)[:2] == (64, 128)
    assert product.plan(small, float32, 0).blocks >= 108
    assert product.plan(product.Size(32, 300_000, 1, 288), float32, 0).rows == 32
    assert product.plan(product.Size(0, 10, 1, 9), float32, 0).blocks == 0


@st.composite
def poolings(draw: Any) -> tuple[Any, ...]:
    """x and the geometry of a pooling; padding up to half the window, as PyTorch wants it."""
    kernel, stride, dilation = draw(pair(1, 4)), draw(pair(1, 3)), draw(pair(1, 2))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    size = [
        draw(st.integers(max(1, d * (k - 1) + 1 - 2 * p), 9)) for k, p, d in zip(kernel, padding, dilation, strict=True)
    ]
    x = numbers(draw, (draw(st.integers(0, 3)), draw(st.integers(1, 3)), *size), draw(st.sampled_from(DTYPES)))
    if draw(st.booleans()):
        x = x.round()  # equal elements
    if draw(st.booleans()):
        x[..., -1:, :1] = np.nan
    return x, kernel, stride, padding, dilation, draw(st.booleans())


def like(a: np.ndarray) -> np.ndarray:
    """Random numbers of the shape and dtype of `a`."""
    return np.random.default_rng(1).standard_normal(a.shape).astype(a.dtype)


@given(case=poolings())
@few
def test_max_pool2d(case: tuple[Any, ...]) -> None:
    x, *geometry, ceil_mode = case
    assert_same("max_pool2d", x, *geometry, ceil_mode)
    y, index = kernels.max_pool2d(x, *geometry, ceil_mode)
    assert_same("max_pool2d_input_grad", like(y), index, x.shape, *geometry, terms=16)
    assert_same("max_pool2d_at", x, index)
    assert_same("max_pool2d_at", x, index.astype(np.int64))
    assert_same("max_unpool2d", like(y), index, x.shape[2:], terms=16)


@given(
    x=st.composite(
        lambda draw: numbers(draw, (draw(st.integers(0, 2)), 3, *draw(pair(1, 9))), draw(st.sampled_from(DTYPES)))
    )(),
    size=pair(1, 9),
)
@few
def test_adaptive_pooling(x: np.ndarray, size: tuple[int, int]) -> None:
    assert_same("adaptive_max_pool2d", x, size)
    assert_same("adaptive_avg_pool2d", x, size, terms=81)
    assert_same("adaptive_avg_pool2d_input_grad", like(np.empty((len(x), 3, *size), x.dtype)), x.shape, terms=81)
    x[:, :, -1, -1] = np.nan
    assert_same("adaptive_max_pool2d", x, size)


@given(case=poolings(), count_include_pad=st.booleans(), divisor_override=st.sampled_from([None, 3]))
@few
def test_avg_pool2d(case: tuple[Any, ...], count_include_pad: bool, divisor_override: int | None) -> None:
    x, kernel, stride, padding, _, ceil_mode = case
    options = count_include_pad, divisor_override
    assert_same("avg_pool2d", x, kernel, stride, padding, ceil_mode, *options, terms=16)
    y = kernels.avg_pool2d(x, kernel, stride, padding, ceil_mode, *options)
    assert_same("avg_pool2d_input_grad", like(y), x.shape, kernel, stride, padding, *options, terms=16)


SHAPES = [(3, 4), (), (0, 5), (5000,), (2, 3, 3, 3)]  # one of several chunks


def parameters(seed: int, dtype: Any = np.float32, positive: bool = False) -> list[np.ndarray]:
    """A list with an array of each shape; one float64 among them, as lists may be mixed."""
    rng = np.random.default_rng(seed)
    arrays = [np.asarray(rng.standard_normal(s)).astype(dtype) for s in SHAPES] + [rng.standard_normal(4)]
    return [np.asarray(abs(a)) for a in arrays] if positive else arrays


@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_optimizers(weight_decay: float, maximize: bool) -> None:
    p, g, m, b = (parameters(seed) for seed in range(4))
    v, u = parameters(4, positive=True), parameters(5, positive=True)
    large = [np.asarray(a + 1) for a in parameters(6, positive=True)]  # centered: v - a² stays positive
    steps = [1, 2, 3, 4, 5, 60]
    assert_same("sgd", p, g, [], 0.1, 0.0, 0.0, weight_decay, False, maximize)
    for nesterov in (False, True):
        assert_same("sgd", p, g, b, 0.1, 0.9, 0.0 if nesterov else 0.2, weight_decay, nesterov, maximize)
    for decoupled in (False, True):
        assert_same("adam", p, g, m, v, [], steps, 0.01, 0.9, 0.999, 1e-8, weight_decay, decoupled, False, maximize)
        assert_same("adam", p, g, m, v, u, steps, 0.01, 0.9, 0.999, 1e-8, weight_decay, decoupled, True, maximize)
    small = [np.asarray(a * a.dtype.type(0.01)) for a in m]
    for momentum in (0.0, 0.9):
        buffers = b if momentum else []
        assert_same("rmsprop", p, g, v, [], buffers, 0.01, 0.9, 1e-8, weight_decay, momentum, False, maximize)
        options = 0.01, 0.99, 1e-8, weight_decay, momentum, True, maximize
        assert_same("rmsprop", p, g, [np.asarray(25 * a) for a in large], small, buffers, *options, terms=10)
    assert_same("adadelta", p, g, v, u, 1.0, 0.9, 1e-6, weight_decay, maximize)
    assert_same("adagrad", p, g, v, steps, 0.1, 0.01, weight_decay, 1e-10, maximize)
    half = [parameters(seed, np.float16) for seed in range(3)]
    assert_same("sgd", *half, 0.1, 0.9, 0.0, weight_decay, False, maximize)


def test_optimizers_take_more_tensors_than_a_table_holds() -> None:
    p = [np.full((2,), float(i), np.float32) for i in range(100)]
    g = [np.full((2,), 2.0 * i, np.float32) for i in range(100)]
    assert_same("sgd", p, g, [], 0.1, 0.0, 0.0, 0.0, False, False)


def test_both_packages_offer_the_same_functions() -> None:
    extra = {"check"}  # reads what kernels found wrong in the data; NumPy's kernels raise at once
    assert set(cuda.__all__) - extra == set(kernels.__all__)
    for name in kernels.__all__:
        ours, twin = (inspect.signature(getattr(module, name)) for module in (cuda, kernels))
        assert list(ours.parameters) == list(twin.parameters), name


@pytest.mark.parametrize("dtype", FLOATS)
def test_erf(dtype: Any) -> None:
    assert_same("erf", np.linspace(-7, 7, 300).astype(dtype).reshape(3, 100), terms=4)
    assert_same("erf", np.array([0.0, -0.0, np.inf, -np.inf, np.nan], dtype))
    assert_same("erf", np.zeros((0, 2), dtype))


@pytest.mark.parametrize("dtype", [*DTYPES, np.int64])
@pytest.mark.parametrize("count", [0, 1, 700])
def test_scatter_sum(dtype: Any, count: int) -> None:
    rng = np.random.default_rng(count)
    values = (100 * rng.standard_normal(count)).astype(dtype)
    assert_same("scatter_sum", rng.integers(0, 20, count), values, 30)
    assert_same("scatter_sum", rng.integers(0, 20, (count, 1)), values[:, None], 30)


@given(st.integers(0, 70), st.integers(1, 70), st.sampled_from(DTYPES), st.sampled_from([np.int64, np.int32, np.uint8]))
@few
def test_softmax_cross_entropy(M: int, C: int, dtype: Any, label_dtype: Any) -> None:
    rng = np.random.default_rng(M + C)
    x = (5 * rng.standard_normal((M, C))).astype(dtype)
    t = rng.integers(0, C, M).astype(label_dtype)
    if label_dtype != np.uint8:
        t[::3] = -1
    for smoothing in (0.0, 0.2):
        assert_same("softmax_cross_entropy", x, t, smoothing, terms=4 * C)
        lse = kernels.softmax_cross_entropy(x, t)[1]
        dy = rng.standard_normal(M).astype(dtype)
        assert_same("softmax_cross_entropy_grad", dy, x, t, lse, smoothing, terms=C)
        if M:
            shared = cupy.broadcast_to(cupy.asarray(dy[:1]), (M,))
            arrays = (cupy.asarray(a) for a in (x, t, lse))
            got = cuda.softmax_cross_entropy_grad(shared, *arrays, smoothing).get()
            expected = kernels.softmax_cross_entropy_grad(np.repeat(dy[:1], M), x, t, lse, smoothing)
            assert close(got, expected, TOLERANCE[np.dtype(dtype)], C)


@given(st.integers(0, 700), st.integers(1, 70), st.sampled_from(DTYPES), st.sampled_from([0.0, 0.2]))
@few
def test_mean_cross_entropy(M: int, C: int, dtype: Any, smoothing: float) -> None:
    rng = np.random.default_rng(M + C)
    x = (5 * rng.standard_normal((M, C))).astype(dtype)
    t = rng.integers(0, C, M)
    t[::3] = -7
    with np.errstate(invalid="ignore"):
        assert_same("mean_cross_entropy", x, t, -7, smoothing, terms=4 * (C + M))
        _, labels, lse, count = kernels.mean_cross_entropy(x, t, -7, smoothing)
    dy = np.array(0.3, dtype)
    if count:
        assert_same("mean_cross_entropy_grad", dy, x, labels, lse, count, smoothing, terms=C)


@given(st.integers(0, 70), st.integers(1, 70), st.sampled_from(DTYPES), st.sampled_from([0.0, 0.2]))
@few
def test_soft_cross_entropy(M: int, C: int, dtype: Any, smoothing: float) -> None:
    rng = np.random.default_rng(M + C)
    x, p = ((5 * rng.standard_normal((M, C))).astype(dtype) for _ in range(2))
    assert_same("soft_cross_entropy", x, p, smoothing, terms=100 * C)
    lse = kernels.soft_cross_entropy(x, p, smoothing)[1]
    assert_same("soft_cross_entropy_grad", rng.standard_normal(M).astype(dtype), x, p, lse, smoothing, terms=100 * C)


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8])
def test_class_labels(dtype: Any) -> None:
    t = np.array([[0, 1, 2], [9, 2, 2]], dtype)
    for ignore_index in (-100, 2, 9):
        assert_same("class_labels", t, 10, ignore_index)
    assert_same("class_labels", t, 9, 9)
    assert_same("class_labels", t[:0], 3, -100)


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, 2, 5, 4), (4, 3), (0, 2, 3, 3), (1, 1, 1), (70, 2, 9, 11), (5, 300)])
def test_batch_norm(shape: tuple[int, ...], dtype: Any, weighted: bool) -> None:
    rng = np.random.default_rng(0)
    x = 10 + rng.standard_normal(shape).astype(dtype)
    dy = rng.standard_normal(shape).astype(dtype)
    w, b = (rng.standard_normal(shape[1]).astype(dtype) if weighted else None for _ in range(2))
    count = x.size // shape[1] + 1
    assert_same("batch_norm", x, w, b, 1e-5, terms=count)
    _, mean, var = kernels.batch_norm(x, w, b, 1e-5)
    assert_same("batch_norm_grad", dy, x, w, mean, var, 1e-5, terms=count)


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, 70), (0, 4), (50, 1), (9, 32)])
def test_layer_norm(shape: tuple[int, int], dtype: Any, weighted: bool) -> None:
    rng = np.random.default_rng(0)
    x, dy = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    w, b = (rng.standard_normal(shape[1]).astype(dtype) if weighted else None for _ in range(2))
    assert_same("layer_norm", x, w, b, 1e-5, terms=shape[1])
    _, mean, r = kernels.layer_norm(x, w, b, 1e-5)
    assert_same("layer_norm_grad", dy, x, w, mean, r, terms=100)


@pytest.mark.parametrize("dtype", [*DTYPES, np.int32])
@pytest.mark.parametrize("shape", [(1,), (0, 3), (5, 1000), (2, 3, 4, 5)])
def test_relu(shape: tuple[int, ...], dtype: Any) -> None:
    rng = np.random.default_rng(0)
    x, dy = (np.asarray(rng.standard_normal(shape) * 3).astype(dtype) for _ in range(2))
    if np.dtype(dtype).kind == "f":
        x[..., :1], dy[..., 1:2] = np.nan, np.inf
        assert_same("relu_grad", dy, kernels.relu(x))
        assert_same("add_relu", x, dy)
    assert_same("relu", x)


@pytest.mark.parametrize("shapes", [((3, 4), (4, 5)), ((2, 3, 4), (4, 5)), ((0, 4), (4, 5)), ((3, 0), (0, 2))])
def test_matmul(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    rng = np.random.default_rng(0)
    assert_same("matmul", *(rng.standard_normal(shape).astype(np.float32) for shape in shapes), terms=4)


@pytest.mark.parametrize("transposed", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize(
    "shapes",
    [((70, 33), (33, 140)), ((2, 3, 4, 5), (3, 5, 6)), ((3, 4, 5), (5, 6)), ((0, 4), (4, 5)), ((3, 0), (0, 2)),
     ((3, 900), (900, 2))],
)  # fmt: skip
@pytest.mark.parametrize("dtype", FLOATS)
def test_own_matmul(shapes: tuple[tuple[int, ...], ...], transposed: tuple[bool, ...], dtype: Any) -> None:
    """Our own kernel, which stands in for cuBLAS in CUDA graphs, with the operands in both memory orders."""
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal(shape).astype(dtype) for shape in shapes)
    on_device = [
        cupy.ascontiguousarray(cupy.asarray(a).swapaxes(-1, -2)).swapaxes(-1, -2) if t else cupy.asarray(a)
        for a, t in zip((x, y), transposed, strict=True)
    ]
    got = own_matmul(*on_device)
    assert close(got.get(), kernels.matmul(x, y), TOLERANCE[np.dtype(dtype)], terms=x.shape[-1])
    assert got.tobytes() == own_matmul(*on_device).tobytes()


@pytest.mark.parametrize("fill", [0, 0.5, [1.0, 2.0, 3.0]])
@pytest.mark.parametrize("dtype", [*FLOATS, np.uint8])
def test_sample(dtype: Any, fill: Any) -> None:
    rng = np.random.default_rng(0)
    x = (100 * rng.random((2, 3, 7, 5))).astype(dtype)
    u, v = (9 * rng.random((2, 6, 8)) - 2 for _ in range(2))
    u[0, 0], v[1, 1] = 100, -100  # far outside
    assert_same("sample", x, u, v, True, fill)
    if np.dtype(dtype).kind == "f":
        assert_same("sample", x, u, v, False, fill, terms=100)
        assert_same("sample", x, u.astype(np.float32), v.astype(np.float32), False, fill, terms=10000)


@pytest.mark.parametrize("nearest", [False, True])
@pytest.mark.parametrize("fill", [0, 0.5, np.array([1.0, 200.0, 3.0])])
@pytest.mark.parametrize("dtype", [*FLOATS, np.uint8])
def test_maps(dtype: Any, fill: Any, nearest: bool) -> None:
    rng = np.random.default_rng(0)
    x = (200 * rng.random((3, 3, 7, 5))).astype(dtype)
    maps = np.eye(3) + 0.2 * rng.standard_normal((3, 3, 3))
    assert_same("warp", x, maps, nearest, fill, terms=10000)
    low, high = np.array([-40, -2, -2, 0.7, -20, -10]), np.array([40, 2, 2, 1.5, 20, 10])
    for n in (3, 0):
        assert_same_affine(x[:n], low, high, np.array([2.5, 3.5]), nearest, fill, 2**63 + 5, 7)


def assert_same_affine(x: np.ndarray, low: np.ndarray, high: np.ndarray, center: np.ndarray, *rest: Any) -> None:
    """`assert_same` for random_affine, whose ranges stay on the host."""
    expected = kernels.random_affine(x, low, high, center, *rest)
    got = cuda.random_affine(cupy.asarray(x), low, high, center, *rest).get()
    if x.dtype == np.uint8:  # a value that is rounded may fall to the other side
        assert np.abs(got.astype(int) - expected).max(initial=0) <= 1
        assert (got != expected).mean() <= 0.01 if x.size else got.shape == expected.shape
    else:
        assert close(got, expected, TOLERANCE[x.dtype], 10000)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("block", [0, 2**40])
@pytest.mark.parametrize(
    ("shape", "channels"), [((3, 1001), False), ((4, 3, 5, 7), True), ((0, 2), False), ((7,), False)]
)
def test_dropout(shape: tuple[int, ...], channels: bool, block: int, dtype: Any) -> None:
    """The same numbers are dropped on both devices."""
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    x[..., :1] = np.nan
    kept_shape = (*shape[:2], 1, 1) if channels else shape
    for p in (0.0, 0.4, 1.0):
        assert_same("dropout", x, kept_shape, p, 1.3, 2**63 + 1, block)
    assert_same("dropout_kept", x, np.arange(np.prod(kept_shape)).reshape(kept_shape) % 3 > 0, 1.3)


@pytest.mark.parametrize("dtype", [*DTYPES, np.int64, np.uint8])
def test_rows(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    index, x = np.array([3, 0, 3, -1, 4, -5]), (100 * rng.random((5, 7, 6))).astype(dtype)
    assert_same("take_rows", x, index)
    assert_same("take_rows", x[:, 0, 0], index[:0])
    for channels in (1, 3):
        images = rng.integers(0, 256, (5, 7, 6, channels)).astype(np.uint8)
        table = (100 * rng.random((channels, 256))).astype(dtype)
        assert_same("look_up_rows", images, index, table)
        assert_same("look_up_rows", images.transpose(0, 2, 1, 3), None, table)


@pytest.mark.parametrize("dtype", DTYPES)
def test_biases_and_right_answers(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    for shape in [(5, 3), (0, 3), (70, 33), (2000, 40), (3, 5, 7, 9), (0, 2, 3, 3), (200, 2, 9, 40), (1, 600, 2)]:
        y = rng.standard_normal(shape).astype(dtype)
        assert_same("bias_grad", y, terms=1 + y.size // shape[1])
        if y.ndim == 2:
            for bias in (rng.standard_normal(shape[1]).astype(dtype), None):
                assert_same("add_bias", y, bias, True)
            assert_same("add_bias", y, rng.standard_normal(shape[1]).astype(dtype))
            w = rng.standard_normal((4, shape[1])).astype(dtype)
            for bias, relu in ((rng.standard_normal(4).astype(dtype), True), (None, False)):
                assert_same("linear", y, w, bias, relu, terms=shape[1])
            x = y.round()  # several largest elements in a row
            x[::5, 1:] = np.nan
            assert_same("count_correct", x, x.argmax(1) - np.arange(len(x)) % 3 // 2)
    assert_same("count_correct", np.zeros((4, 2), dtype), np.array([0, 1, -1, 2]))


HALF = {
    "erf": lambda x: (x,),
    "im2col": lambda x: (x, (2, 3), (2, 1), (1, 1), (1, 1)),
    "col2im": lambda x: (x.reshape(1, 2, 3, 2, 2, 10), (1, 10, 3, 4), (1, 1), (0, 0), (1, 1)),
    "max_unpool2d": lambda x: (x, cupy.zeros(x.shape, np.int32), (3, 3)),
    "warp": lambda x: (x, cupy.asarray(np.tile(np.eye(3) + 0.1, (4, 1, 1))), False, 0.5),
    "own_matmul": lambda x: (x[0], x[0].swapaxes(1, 2)),
}


@pytest.mark.parametrize("name", HALF)
def test_a_kernel_that_float16_does_not_pay_for_goes_through_float32(name: str) -> None:
    kernel = own_matmul if name == "own_matmul" else getattr(cuda, name)
    x = cupy.asarray(np.random.default_rng(0).standard_normal((4, 5, 3, 4)).astype(np.float16))
    got, expected = kernel(*HALF[name](x)).get(), kernel(*HALF[name](x.astype(np.float32))).get()
    np.testing.assert_array_equal(got, expected.astype(np.float16), strict=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_channel_affine(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    for shape in ((2, 3, 4, 5), (4, 3), (0, 3, 2)):
        x, w, b = (rng.standard_normal(size).astype(dtype) for size in (shape, (3,), (3,)))
        assert_same("channel_affine", x, w, b)


@pytest.mark.parametrize("step", [0, 1, 2])
def test_fused_convolution_is_that_of_its_parts(step: int) -> None:
    """ReLU (1) and 2x2 pooling (2) as the convolution's epilogue, and the gradients before them."""
    direct, rng = cuda.conv_direct, np.random.default_rng(0)
    x, w, b = (cupy.asarray(rng.standard_normal(shape)) for shape in ((2, 2, 7, 6), (3, 2, 3, 3), (3,)))
    geometry = (1, 1), (0, 0), (1, 1), 1
    before = cuda.conv2d(x, w, b, *geometry)
    y = cuda.relu(before) if step else before
    fused = direct.conv2d(x, w, b, *geometry, step)
    if step == 2:
        y, index = cuda.max_pool2d(y, *direct.WINDOW, False)
        assert (direct.flat_index(fused) == index).all()
    assert (fused.y == y).all()
    assert fused.conv_shape == before.shape
    if step:
        g = dy = cupy.asarray(rng.standard_normal(y.shape))
        g = cuda.relu_grad(g, y)
        if step == 2:
            g = cuda.max_pool2d_input_grad(g, index, before.shape, *direct.WINDOW)
        dx, dw, db = direct.conv2d_gradients(dy, x, w, *geometry, fused, (True, True))
        assert (dx == cuda.conv2d_input_grad(g, w, x.shape, *geometry)).all()
        assert (dw == cuda.conv2d_weight_grad(g, x, w.shape, *geometry)).all()
        assert (db == cuda.bias_grad(g)).all()


def test_a_parameter_that_is_not_contiguous_is_updated_too() -> None:
    p, g = cupy.ones((3, 4)).T, cupy.arange(12.0).reshape(4, 3)
    cuda.sgd([p], [g], [], 0.5, 0.0, 0.0, 0.0, False, False)
    assert p.tolist() == (1 - 0.5 * np.arange(12.0).reshape(4, 3)).tolist()


def test_lists_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(LaunchError, match="sgd: expected float64 with 2 elements, list 0 has float64 with 3 elements"):
        cuda.sgd([cupy.ones(2)], [cupy.ones(3)], [], 0.5, 0.0, 0.0, 0.0, False, False)


def test_every_kernel_runs_in_what_compute_sanitizer_is_given() -> None:
    assert every_kernel.main() == set()


@pytest.mark.parametrize("dtype", DTYPES)
def test_check_probabilities(dtype: Any) -> None:
    assert_same("check_probabilities", np.linspace(0, 1, 300).astype(dtype).reshape(3, 100))
    assert_same("check_probabilities", np.ones((0, 2), dtype))
    for bad in (-0.001, 1.001, np.nan):
        with pytest.raises(RuntimeError, match="between 0 and 1"):
            kernels.check_probabilities(np.array([0.5, bad], dtype))
        cuda.check_probabilities(cupy.asarray(np.array([0.5, bad], dtype)))
        with pytest.raises(RuntimeError, match="between 0 and 1"):
            tg.cuda.synchronize()
