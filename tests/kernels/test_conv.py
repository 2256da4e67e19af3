"""Convolution and its adjoints against a loop over every number, PyTorch and each other."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tinygrad_mnist.kernels import (
    compiled,
    conv,
    conv_direct,
    conv_few,
    conv_patches,
    conv_taps,
    fused,
    parallel,
    winograd,
)

from tinygrad_mnist import kernels

# N, C, H, W, O, kernel, stride, padding, dilation, groups: sizes that fill tiles, leave some over, or are tiny
GEOMETRIES = [
    (3, 4, 7, 9, 5, (3, 3), (1, 1), (0, 0), (1, 1), 1),
    (2, 1, 28, 28, 32, (3, 3), (1, 1), (0, 0), (1, 1), 1),
    (4, 32, 26, 26, 64, (3, 3), (1, 1), (0, 0), (1, 1), 1),
    (3, 4, 7, 9, 6, (3, 2), (2, 1), (1, 0), (1, 1), 2),
    (3, 4, 9, 9, 6, (3, 3), (2, 3), (2, 1), (2, 1), 1),
    (3, 6, 9, 11, 105, (2, 3), (1, 2), (0, 3), (1, 2), 3),
    (5, 3, 8, 8, 33, (1, 1), (2, 2), (0, 0), (1, 1), 1),
    (2, 8, 10, 10, 16, (3, 3), (1, 1), (4, 4), (1, 1), 1),
    (1, 3, 32, 32, 64, (7, 7), (2, 2), (3, 3), (1, 1), 1),
    (2, 4, 4, 4, 4, (4, 4), (1, 1), (0, 0), (1, 1), 4),
    (2, 3, 5, 5, 2, (2, 2), (3, 3), (0, 0), (1, 1), 1),
    (1, 2, 1, 1, 3, (1, 1), (2, 2), (0, 0), (1, 1), 1),
    # the rest by Winograd's tiles
    (3, 16, 7, 9, 16, (3, 3), (1, 1), (1, 2), (1, 1), 1),
    (2, 40, 4, 3, 20, (3, 3), (1, 1), (2, 0), (1, 1), 1),
    (5, 17, 6, 7, 33, (3, 3), (1, 1), (0, 1), (1, 1), 1),
    (151, 16, 3, 4, 17, (3, 3), (1, 1), (0, 0), (1, 1), 1),
]
LAYOUTS = {
    "contiguous": lambda a: a,
    "channels_last": lambda a: np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
    "every second": lambda a: np.repeat(np.repeat(a, 2, 1), 2, 3)[:, ::2, :, ::2],
    "reversed": lambda a: a[:, :, ::-1, ::-1].copy()[:, :, ::-1, ::-1],
    "read-only": lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
}
# error of one product, relative; a sum multiplies it by the root of its length
DTYPES = {np.float32: 2e-6, np.float64: 1e-14}


@pytest.fixture(params=["numpy", "compiled", "taps"])
def path(request, monkeypatch):
    """Patches, compiled loops, and a product for each tap of the kernel, however few the weights."""
    before = compiled.use_compiled(request.param == "compiled")
    if request.param == "taps":
        monkeypatch.setattr(conv_taps, "WEIGHTS", 1e-9)
        monkeypatch.setattr(conv_taps, "FEWEST", 0)
        monkeypatch.setattr(conv, "PIXELS", 0)
    yield request.param
    compiled.use_compiled(before)


def draw(geometry, dtype, seed=0):
    """x, w, b, dy and the arguments after them."""
    N, C, H, W, O, kernel, stride, padding, dilation, groups = geometry
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((N, C, H, W)).astype(dtype)
    w = rng.standard_normal((O, C // groups, *kernel)).astype(dtype)
    b = rng.standard_normal(O).astype(dtype)
    shape = F.conv2d(torch.zeros(x.shape), torch.zeros(w.shape), None, stride, padding, dilation, groups).shape
    return x, w, b, rng.standard_normal(tuple(shape)).astype(dtype), (stride, padding, dilation, groups)


def assert_close(got, expected, terms):
    """Equal up to the rounding of sums of `terms` products of numbers of size one."""
    assert got.shape == expected.shape
    tolerance = DTYPES[got.dtype.type] * (1 + np.sqrt(terms)) * 4
    error = np.abs(got - expected).max(initial=0.0)
    assert not np.isnan(got).any()
    assert error <= tolerance, f"off by {error}, expected at most {tolerance}"


def slow_conv2d(x, w, b, stride, padding, dilation, groups):
    """One number at a time."""
    N, _, H, W = x.shape
    O, CG, KH, KW = w.shape
    OH = (H + 2 * padding[0] - dilation[0] * (KH - 1) - 1) // stride[0] + 1
    OW = (W + 2 * padding[1] - dilation[1] * (KW - 1) - 1) // stride[1] + 1
    y = np.zeros((N, O, OH, OW))
    for n, o, i, j in np.ndindex(N, O, OH, OW):
        y[n, o, i, j] = b[o]
        for c, k, l in np.ndindex(CG, KH, KW):
            h, v = i * stride[0] - padding[0] + k * dilation[0], j * stride[1] - padding[1] + l * dilation[1]
            if 0 <= h < H and 0 <= v < W:
                y[n, o, i, j] += w[o, c, k, l] * x[n, o // (O // groups) * CG + c, h, v]
    return y


@pytest.mark.parametrize("geometry", [g for g in GEOMETRIES if np.prod(g[:5]) < 20_000])
def test_conv2d_is_the_sum_that_the_formula_says(geometry, path):
    x, w, b, _, args = draw(geometry, np.float32)
    assert_close(kernels.conv2d(x, w, b, *args), slow_conv2d(x, w, b, *args), w[0].size)


def torch_gradients(x, w, b, dy, args):
    """y, dx, dw in float64."""
    tx, tw, tb = (torch.tensor(np.ascontiguousarray(a), dtype=torch.float64, requires_grad=True) for a in (x, w, b))
    y = F.conv2d(tx, tw, tb, *args)
    y.backward(torch.tensor(dy, dtype=torch.float64))
    return y.detach().numpy(), tx.grad.numpy(), tw.grad.numpy()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_conv2d_and_gradients_agree_with_pytorch(geometry, dtype, path, threads):
    x, w, b, dy, args = draw(geometry, dtype)
    y, dx, dw = torch_gradients(x, w, b, dy, args)
    assert_close(kernels.conv2d(x, w, b, *args), y, w[0].size)
    assert_close(kernels.conv2d(x, w, None, *args), y - b.astype(np.float64)[:, None, None], w[0].size)
    assert_close(kernels.conv2d_input_grad(dy, w, x.shape, *args), dx, w[:, 0].size)
    got = kernels.conv2d_weight_grad(dy, x, w.shape, *args)
    assert_close(got, dw, dy[:, 0].size)
    assert got.transpose(0, 2, 3, 1).flags.c_contiguous


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("geometry", [GEOMETRIES[0], GEOMETRIES[3], GEOMETRIES[-2]])
def test_memory_layout_changes_nothing(geometry, layout, path):
    x, w, b, dy, args = draw(geometry, np.float32)
    y, dx, dw = torch_gradients(x, w, b, dy, args)
    x, w, dy = (LAYOUTS[layout](a) for a in (x, w, dy))
    assert_close(kernels.conv2d(x, w, b, *args), y, w[0].size)
    assert_close(kernels.conv2d_input_grad(dy, w, x.shape, *args), dx, w[:, 0].size)
    assert_close(kernels.conv2d_weight_grad(dy, x, w.shape, *args), dw, dy[:, 0].size)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    N=st.integers(0, 3), groups=st.integers(1, 3), CG=st.integers(1, 3), OG=st.integers(1, 4),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)), kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)), padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)), dtype=st.sampled_from(list(DTYPES)),
)  # fmt: skip
def test_drawn_convolutions_agree_with_pytorch(
    path, N, groups, CG, OG, size, kernel, stride, padding, dilation, dtype
):
    assume(all(s + 2 * p > d * (k - 1) for s, k, p, d in zip(size, kernel, padding, dilation, strict=True)))
    geometry = (N, groups * CG, *size, groups * OG, kernel, stride, padding, dilation, groups)
    x, w, b, dy, args = draw(geometry, dtype, seed=sum(size))
    y, dx, dw = torch_gradients(x, w, b, dy, args)
    assert_close(kernels.conv2d(x, w, b, *args), y, w[0].size)
    assert_close(kernels.conv2d_input_grad(dy, w, x.shape, *args), dx, w[:, 0].size)
    assert_close(kernels.conv2d_weight_grad(dy, x, w.shape, *args), dw, max(1, dy[:, 0].size))


@settings(max_examples=40, deadline=None)
@given(
    N=st.integers(1, 4), C=st.integers(16, 35), O=st.integers(16, 35), threads=st.integers(1, 3),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)), padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
)  # fmt: skip
def test_drawn_winograd_convolutions_agree_with_pytorch(N, C, O, threads, size, padding):
    assume(all(s + 2 * p > 2 for s, p in zip(size, padding, strict=True)))
    x, w, b, dy, args = draw((N, C, *size, O, (3, 3), (1, 1), padding, (1, 1), 1), np.float32, seed=sum(size))
    assert winograd.suits(w.shape, *args)
    y, dx, dw = torch_gradients(x, w, b, dy, args)
    before = parallel.get_num_threads()
    parallel.set_num_threads(threads)
    try:
        assert_close(kernels.conv2d(x, w, b, *args), y, w[0].size)
        assert_close(kernels.conv2d_input_grad(dy, w, x.shape, *args), dx, w[:, 0].size)
        assert_close(kernels.conv2d_weight_grad(dy, x, w.shape, *args), dw, dy[:, 0].size)
    finally:
        parallel.set_num_threads(before)


def test_winograd_is_as_exact_as_the_direct_convolution(monkeypatch):
    """Its largest error, against float64, over that of the direct sums: the same size."""
    x, w, b, dy, args = draw((4, 64, 16, 16, 64, (3, 3), (1, 1), (1, 1), (1, 1), 1), np.float32)
    exact = torch_gradients(x, w, b, dy, args)

    def errors():
        got = (
            kernels.conv2d(x, w, b, *args),
            kernels.conv2d_input_grad(dy, w, x.shape, *args),
            kernels.conv2d_weight_grad(dy, x, w.shape, *args),
        )
        return np.array([np.abs(a - e).max() / np.abs(e).max() for a, e in zip(got, exact, strict=True)])

    by_tiles = errors()
    monkeypatch.setattr(winograd, "suits", lambda *args: False)
    direct = errors()
    assert (by_tiles != direct).all()  # they are two ways
    assert (by_tiles <= 1e-6).all()
    assert (by_tiles <= 3 * direct).all()


def test_room_for_more_windows_is_not_for_winograd(path):
    """x with a row and a column that no kernel reaches: the gradients treat them as the direct sums do."""
    x, w, _, dy, args = draw((2, 16, 6, 7, 16, (3, 3), (1, 1), (0, 0), (1, 1), 1), np.float32)
    dy = np.ascontiguousarray(dy[:, :, :-1, :-1])
    _, dx, dw = torch_gradients(x[:, :, :-1, :-1], w, np.zeros(16, np.float32), dy, args)
    dx = np.pad(dx, ((0, 0), (0, 0), (0, 1), (0, 1)))
    assert_close(kernels.conv2d_input_grad(dy, w, x.shape, *args), dx, w[:, 0].size)
    assert_close(kernels.conv2d_weight_grad(dy, x, w.shape, *args), dw, dy[:, 0].size)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_gradients_are_adjoints(geometry):
    """<conv(x), c> = <x, conv_input_grad(c)> = <w, conv_weight_grad(c)>, in float64."""
    x, w, _, c, args = draw(geometry, np.float64)
    product = np.vdot(kernels.conv2d(x, w, None, *args), c)
    scale = np.sqrt(c.size) * np.sqrt(w[0].size)
    assert abs(product - np.vdot(x, kernels.conv2d_input_grad(c, w, x.shape, *args))) <= 1e-10 * scale
    assert abs(product - np.vdot(w, kernels.conv2d_weight_grad(c, x, w.shape, *args))) <= 1e-10 * scale


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_col2im_is_the_adjoint_of_im2col(geometry, rng):
    N, C, H, W, _, kernel, stride, padding, dilation, _ = geometry
    x = rng.standard_normal((N, C, H, W))
    cols = kernels.im2col(x, kernel, stride, padding, dilation)
    c = rng.standard_normal(cols.shape)
    back = kernels.col2im(c, x.shape, stride, padding, dilation)
    assert abs(np.vdot(cols, c) - np.vdot(x, back)) <= 1e-10 * np.sqrt(c.size)


def test_im2col_by_hand():
    x = np.arange(6.0).reshape(1, 1, 2, 3)
    cols = kernels.im2col(x, (2, 2), (1, 1), (0, 1), (1, 1))  # one column of zeros on either side
    np.testing.assert_array_equal(cols.reshape(4, 4), [[0, 0, 0, 3], [0, 1, 3, 4], [1, 2, 4, 5], [2, 0, 5, 0]])


@pytest.mark.parametrize("geometry", [*GEOMETRIES[:5], *GEOMETRIES[-2:]])
def test_same_bits_from_run_to_run(geometry, path, threads):
    x, w, b, dy, args = draw(geometry, np.float32)
    for kernel, arguments in [
        (kernels.conv2d, (x, w, b, *args)),
        (kernels.conv2d_input_grad, (dy, w, x.shape, *args)),
        (kernels.conv2d_weight_grad, (dy, x, w.shape, *args)),
    ]:
        first = kernel(*arguments).tobytes()
        assert all(kernel(*arguments).tobytes() == first for _ in range(3))


def test_nan_and_inf_reach_only_the_pixels_that_see_them(path):
    x, w, b, _, args = draw(GEOMETRIES[0], np.float32)
    x[0, 1, 2, 3] = np.nan
    y = kernels.conv2d(x, w, b, *args)
    seen = np.zeros(y.shape, bool)
    seen[0, :, 0:3, 1:4] = True
    np.testing.assert_array_equal(np.isnan(y), seen)


def test_where_many_weights_and_few_pixels_go(monkeypatch):
    """As NumPy's patches compute them, with weights that lie row-major and channels-last."""
    geometry = (2, 128, 3, 2, 130, (3, 3), (1, 1), (1, 1), (1, 1), 1)
    x, w, b, dy, args = draw(geometry, np.float32)
    y, dx, dw = torch_gradients(x, w, b, dy, args)
    calls = []
    for module, name in (
        (conv, "_one_product"),
        (conv_few, "conv2d"),
        (conv, "_one_product_input_grad"),
        (conv, "_one_product_weight_grad"),
        (conv_taps, "conv2d_input_grad"),
        (conv_taps, "conv2d_weight_grad"),
    ):
        kernel = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, kernel=kernel: (calls.append(kernel.__name__), kernel(*a))[1])
    for lies in (w, LAYOUTS["channels_last"](w)):
        assert_close(kernels.conv2d(x, lies, b, *args), y, w[0].size)
        assert_close(kernels.conv2d(x, lies, None, *args), y - b[:, None, None], w[0].size)
        assert_close(kernels.conv2d_input_grad(dy, lies, x.shape, *args), dx, w[:, 0].size)
    assert_close(kernels.conv2d_weight_grad(dy, x, w.shape, *args), dw, dy[:, 0].size)
    assert calls[::3] == ["_one_product", "conv2d", "_one_product_weight_grad"]
    monkeypatch.setattr(conv, "PRODUCT", 12 * w.size - 1)
    assert_close(kernels.conv2d_input_grad(dy, w, x.shape, *args), dx, w[:, 0].size)
    assert_close(kernels.conv2d_weight_grad(dy, x, w.shape, *args), dw, dy[:, 0].size)
    assert calls[-2:] == ["conv2d_input_grad", "conv2d_weight_grad"]
    before = compiled.use_compiled(False)
    assert_close(kernels.conv2d(x, LAYOUTS["channels_last"](w), b, *args), y, w[0].size)
    compiled.use_compiled(before)
    assert calls[-1] == "_one_product"
    assert not conv_taps.suits((200, *x.shape[1:]), w.shape, *args)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("channels", [(32, 64), (64, 32), (32, 48)])
def test_winograd_reads_channels_last_weights_where_they_lie(channels):
    """The same bits as from weights that lie row-major; the last ones do not fill blocks of columns."""
    x, w, b, dy, args = draw((5, channels[0], 4, 5, channels[1], (3, 3), (1, 1), (1, 1), (1, 1), 1), np.float32)
    w_last = LAYOUTS["channels_last"](w)
    np.testing.assert_array_equal(*(conv_direct.conv2d(x, lies, b, *args).y for lies in (w_last, w)))
    both = (conv_direct.conv2d_gradients(dy, x, lies, *args, None, (True, True)) for lies in (w_last, w))
    for got, expected in zip(*both, strict=True):
        np.testing.assert_array_equal(got, expected)
    dw = conv_direct.conv2d_gradients(dy, x, w_last, *args, None, (False, True))[1]
    assert_close(dw, torch_gradients(x, w, b, dy, args)[2], dy[:, 0].size)
    assert dw.transpose(0, 2, 3, 1).flags.c_contiguous


def test_many_weights_go_by_winograd_from_enough_tiles_on(monkeypatch):
    """Not where an image has one tile, nor weight gradients."""
    calls = []
    for name in ("conv2d", "conv2d_input_grad"):
        way = getattr(winograd, name)
        monkeypatch.setattr(winograd, name, lambda *a, way=way: (calls.append(way.__name__), way(*a))[1])
    for N, H, tiles in ((12, 4, True), (11, 4, False), (48, 2, False)):
        x, w, b, dy, args = draw((N, 128, H, H, 256, (3, 3), (1, 1), (1, 1), (1, 1), 1), np.float32)
        assert conv_taps.suits(x.shape, w.shape, *args)
        y, dx, _ = torch_gradients(x, w, b, dy, args)
        assert_close(kernels.conv2d(x, w, b, *args), y, w[0].size)
        assert_close(kernels.conv2d_input_grad(dy, w, x.shape, *args), dx, w[:, 0].size)
        assert calls == (["conv2d", "conv2d_input_grad"] if tiles else [])
        calls.clear()


# ---- the convolution with the step after it


@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize("geometry", [g for g in GEOMETRIES if g[2] > 5])
def test_fused_steps_agree_with_the_separate_ones(geometry, pool, threads):
    check_fused_step(geometry, pool)


@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize("geometry", [g for g in GEOMETRIES if g[2] > 5])
@pytest.mark.parametrize("at_once", [0, conv_patches.AT_ONCE])
def test_fused_steps_on_numpy_alone(geometry, pool, at_once, monkeypatch):
    """Images one by one, and all that a thread has together."""
    monkeypatch.setattr(conv_patches, "AT_ONCE", at_once)
    before = compiled.use_compiled(False)
    try:
        check_fused_step(geometry, pool)
    finally:
        compiled.use_compiled(before)


def check_fused_step(geometry, pool):
    x, w, b, dy, args = draw(geometry, np.float32)
    tx, tw, tb = (torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in (x, w, b))
    ty = F.relu(F.conv2d(tx, tw, tb, *args))
    ty = F.max_pool2d(ty, 2) if pool else ty
    g = np.random.default_rng(5).standard_normal(ty.shape).astype(np.float32)
    ty.backward(torch.tensor(g, dtype=torch.float64))

    fused = conv_direct.conv2d(x, w, b, *args, conv_direct.RELU_POOL if pool else conv_direct.RELU)
    assert_close(fused.y, ty.detach().numpy(), w[0].size)
    for layout in (LAYOUTS["contiguous"], LAYOUTS["channels_last"]):
        dy = layout(g)
        dx = conv_direct.conv2d_input_grad(dy, w, x.shape, *args, fused)
        assert_close(dx, tx.grad.numpy(), w[:, 0].size)
        assert_close(conv_direct.conv2d_weight_grad(dy, x, w.shape, *args, fused), tw.grad.numpy(), dy[:, 0].size)
        lies = layout(w)
        for want_dx in (True, False):
            dx, dw, db = conv_direct.conv2d_gradients(dy, x, lies, *args, fused, (want_dx, True))
            assert (dx is not None) == want_dx
            assert dw.strides == np.empty_like(lies).strides  # so that optimizers copy nothing
            if want_dx:
                assert_close(dx, tx.grad.numpy(), w[:, 0].size)
            assert_close(dw, tw.grad.numpy(), dy[:, 0].size)
            assert_close(db, tb.grad.numpy(), dy[:, 0].size)
        dx, dw, db = conv_direct.conv2d_gradients(dy, x, w, *args, fused, (True, False))
        assert_close(dx, tx.grad.numpy(), w[:, 0].size)
        assert dw is db is None


@pytest.mark.parametrize("share", [0, np.inf])
@pytest.mark.parametrize("geometry", GEOMETRIES[:12])
def test_input_gradient_scattered_and_gathered(geometry, share, monkeypatch, threads):
    """Both ways for every convolution, whichever is faster."""
    monkeypatch.setattr(conv_direct, "SCATTER", share)
    monkeypatch.setattr(winograd, "suits", lambda *args: False)
    x, w, b, dy, args = draw(geometry, np.float32)
    _, expected, _ = torch_gradients(x, w, b, dy, args)
    assert_close(conv_direct.conv2d_input_grad(dy, w, x.shape, *args), expected, w[:, 0].size)


@pytest.mark.parametrize("compile", [False, True])
def test_fused_pooling_chooses_as_max_pool2d_does(rng, compile):
    x = rng.integers(-2, 3, (2, 1, 7, 9)).astype(np.float32)  # many are equal
    x[0, 0, 2, 2] = np.nan
    w = np.ones((1, 1, 1, 1), np.float32)
    before = compiled.use_compiled(compile)
    try:
        fused = conv_direct.conv2d(x, w, None, (1, 1), (0, 0), (1, 1), 1, conv_direct.RELU_POOL)
    finally:
        compiled.use_compiled(before)
    y, index = kernels.max_pool2d(x, (2, 2), (2, 2), (0, 0), (1, 1), False)
    np.testing.assert_array_equal(fused.y, np.maximum(y, 0))
    assert np.isnan(y[0, 0, 1, 1])  # through which no gradient goes
    same = conv_direct.flat_index(fused) == index
    same[0, 0, 1, 1] |= not compile
    assert same.all()


@pytest.mark.parametrize("lanes_rows_vectors", [(8, 6, 2), (4, 8, 2)])
def test_tables_are_filled_up_for_every_tile_size(lanes_rows_vectors):
    lanes, rows, vectors = lanes_rows_vectors
    for n, columns in itertools.product((1, rows - 1, rows, rows + 1), (1, lanes * vectors, lanes * vectors + 1)):
        table = fused.offsets((n, 1), multiple=rows)
        assert len(table) % rows == 0
        np.testing.assert_array_equal(table[:n], np.arange(n))
        assert set(table[n:]) <= {n - 1}
        blocks = fused.in_blocks(np.ones((3, columns), np.float32), lanes * vectors)
        assert blocks.sum() == 3 * columns
