"""Normalisation against PyTorch in float64 and by hand, in every layout, on every path."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tinygrad_mnist.kernels import compiled, parallel
from tinygrad_mnist.kernels.relu import SMALL

from tinygrad_mnist import kernels


def channels_last(a):
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1)


def readonly(a):
    a = channels_last(a)
    a.flags.writeable = False
    return a


LAYOUTS = {
    "contiguous": lambda a: a,
    "channels_last": channels_last,
    "readonly": readonly,
    "strided": lambda a: np.repeat(channels_last(a), 2, axis=0)[::2],
    "reversed": lambda a: a[..., ::-1],
}
SHAPES = [(7, 3), (2, 1, 3, 3), (1, 3, 2, 5), (3, 5, 7), (3, 17, 5, 4), (2, 65, 3, 2, 2), (9, 40, 30, 21)]
LARGE = SHAPES[-1]
assert np.prod(LARGE) > SMALL  # more than one thread, and more than one piece for each
TOLERANCE = {np.float32: 2e-6, np.float64: 1e-13}  # of the largest number


def close(got, expected, tolerance):
    assert got.shape == expected.shape
    assert np.abs(got - expected).max(initial=0.0) <= tolerance * np.abs(expected).max(initial=1.0)


def double(a):
    return None if a is None else torch.tensor(np.array(a), dtype=torch.float64, requires_grad=True)


def agree(ours, theirs, arrays, dy):
    """Ours (y, *gradients) against theirs, differentiated in float64."""
    tensors = [double(a) for a in arrays]
    y = theirs(*tensors)
    wanted = [t for t in tensors if t is not None]
    gradients = torch.autograd.grad(y, wanted, torch.tensor(np.array(dy), dtype=torch.float64))
    for a, b in zip(ours, (y, *gradients), strict=False):
        assert a.dtype == dy.dtype
        close(a, b.detach().numpy(), TOLERANCE[dy.dtype.type])


def batch_norm_all(x, w, b, dy):
    y, mean, var = kernels.batch_norm(x, w, b, 1e-3)
    return (y, *kernels.batch_norm_grad(dy, x, w, mean, var, 1e-3))


def torch_batch_norm(x, *parameters):
    return F.batch_norm(x, None, None, *parameters, training=True, eps=1e-3)


def layer_norm_all(x, w, b, dy):
    y, mean, r = kernels.layer_norm(x, w, b, 1e-3)
    return (y, *kernels.layer_norm_grad(dy, x, w, mean, r))


def draw(rng, shape, width, dtype, layout="contiguous"):
    x, dy = (LAYOUTS[layout](rng.normal(1, 2, shape).astype(dtype)) for _ in range(2))
    return x, *rng.normal(size=(2, width)).astype(dtype), dy


@pytest.mark.parametrize("weights", ["both", "weight", "none"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_batch_norm_agrees_with_pytorch(shape, layout, dtype, weights, path, rng):
    x, w, b, dy = draw(rng, shape, shape[1], dtype, layout)
    w, b = (None if weights == "none" else w), (b if weights == "both" else None)
    agree(batch_norm_all(x, w, b, dy), torch_batch_norm, (x, w, b), dy)
    _, mean, var = kernels.batch_norm(x, w, b, 1e-3)
    axes = 0, *range(2, x.ndim)
    close(mean, x.mean(axis=axes, dtype=np.float64), 1e-13)
    close(var, x.astype(np.float64).var(axis=axes), 1e-13)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_batch_norm_with_any_number_of_threads(shape, layout, path, threads, rng):
    x, w, b, dy = draw(rng, shape, shape[1], np.float32, layout)
    results = batch_norm_all(x, w, b, dy)
    agree(results, torch_batch_norm, (x, w, b), dy)
    for first, again in zip(results, batch_norm_all(x, w, b, dy), strict=True):
        np.testing.assert_array_equal(first, again)


def test_same_bits_where_the_other_threads_are_busy(threads, rng):
    """With another call of the user's, or with a block of which this is a part."""
    x, w, b, dy = draw(rng, LARGE, LARGE[1], np.float32, "channels_last")

    def everything(*_):
        return *kernels.batch_norm(x, w, b, 1e-3), *batch_norm_all(x, w, b, dy)

    alone = everything()
    with parallel._workers.team.lock:
        busy = everything()
    for results in busy, *parallel.for_blocks(everything, 1 + threads):
        for again, first in zip(results, alone, strict=True):
            np.testing.assert_array_equal(again, first)


@pytest.mark.parametrize("x_layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dy_layout", ["contiguous", "channels_last", "broadcast"])
def test_gradient_in_another_layout(x_layout, dy_layout, path, threads, rng):
    x, w, b, dy = draw(rng, LARGE, LARGE[1], np.float32, x_layout)
    dy = np.broadcast_to(np.float32(3), LARGE) if dy_layout == "broadcast" else LAYOUTS[dy_layout](dy.copy("C"))
    agree(batch_norm_all(x, w, b, dy), torch_batch_norm, (x, w, b), dy)


def unaligned(a):
    memory = np.zeros(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
    memory[...] = a
    return memory


@pytest.mark.parametrize("change", [np.asfortranarray, unaligned])
def test_rows_that_compiled_code_must_copy(change, path, rng):
    plain_x, w, b, plain_dy = draw(rng, (7, 3), 3, np.float32)
    for x, dy in [(plain_x, change(plain_dy)), (change(plain_x), plain_dy)]:
        agree(batch_norm_all(x, w, b, dy), torch_batch_norm, (x, w, b), dy)
        agree(layer_norm_all(x, w, b, dy), lambda x, *p: F.layer_norm(x, (3,), *p, eps=1e-3), (x, w, b), dy)


def test_results_keep_the_layout(path, rng):
    for layout in "contiguous", "channels_last":
        x, w, b, dy = draw(rng, (3, 4, 5, 6), 4, np.float32, layout)
        y, dx, _, _ = batch_norm_all(x, w, b, dy)
        assert y.strides == dx.strides == x.strides


@pytest.mark.parametrize("shape", [(4, 3, 5), (4000, 3, 5)])
def test_batch_norm_of_awkward_numbers(shape, path):
    """The mean far from 0, a first element far from all others, no variance."""
    rng = np.random.default_rng(0)
    x = channels_last(rng.normal(size=shape).astype(np.float32))
    x[:, 0] += 1e4
    x[0, 1, 0] = 1e4
    x[:, 2] = 0.1
    y, mean, var = kernels.batch_norm(x, None, np.array([0, 0, 7], np.float32), 1e-5)
    exact = x.astype(np.float64)
    close(mean, exact.mean(axis=(0, 2)), 1e-13)
    expected = exact.var(axis=(0, 2))
    np.testing.assert_allclose(var[:2], expected[:2], rtol=1e-9)
    assert var[2] == 0
    np.testing.assert_array_equal(y[:, 2], np.full(shape[::2], 7))
    # The mean is rounded to float32 before it is subtracted: 1e4 · 2⁻²⁵, in units of the deviation.
    close(y[:, 0], (exact - mean[:, None])[:, 0] / np.sqrt(var[0] + 1e-5), 1e-3)


def test_nan_stays_in_its_channel(path):
    x = channels_last(np.arange(24, dtype=np.float32).reshape(2, 3, 4))
    x[1, 1, 2] = np.nan
    y, mean, var = kernels.batch_norm(x, None, None, 1e-5)
    assert np.isnan([mean, var]).tolist() == [[False, True, False]] * 2
    dx, dw, db = kernels.batch_norm_grad(np.ones_like(x), x, None, mean, var, 1e-5)
    for found in (y, dx):
        np.testing.assert_array_equal(np.isnan(found), np.broadcast_to([[False], [True], [False]], x.shape))
    assert np.isnan(dw).tolist() == [False, True, False]
    np.testing.assert_array_equal(db, [8, 8, 8])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(0, 3), (0, 3, 4, 4), (2, 3, 0, 4), (2, 0, 4)])
def test_batch_norm_of_nothing(shape, dtype, path):
    x = np.zeros(shape, dtype)
    w = np.ones(shape[1], dtype)
    y, mean, var = kernels.batch_norm(x, w, w, 1e-5)
    dx, dw, db = kernels.batch_norm_grad(x, x, w, mean, var, 1e-5)
    assert y.shape == dx.shape == kernels.channel_affine(x, w, w).shape == shape
    for found in (mean, var, dw, db):
        np.testing.assert_array_equal(found, np.zeros(shape[1]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES[::3])
def test_channel_affine(shape, layout, dtype, path, threads, rng):
    x, w, b, _ = draw(rng, shape, shape[1], dtype, layout)
    per_channel = -1, *(1,) * (len(shape) - 2)
    y = kernels.channel_affine(x, w, b)
    assert y.dtype == dtype
    close(y, w.reshape(per_channel) * x + b.reshape(per_channel), TOLERANCE[dtype])


@pytest.mark.parametrize("weights", ["both", "weight", "none"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", ["contiguous", "transposed", "strided"])
@pytest.mark.parametrize("shape", [(0, 4), (3, 1), (1, 17), (5, 33), (9, 384), (70, 1000)])
def test_layer_norm_agrees_with_pytorch(shape, layout, dtype, weights, path, threads, rng):
    x, w, b, dy = draw(rng, shape, shape[1], dtype)
    if layout == "transposed":
        x, dy = np.asfortranarray(x), np.asfortranarray(dy)
    elif layout == "strided":
        x, dy = (np.repeat(a, 2, axis=1)[:, ::2] for a in (x, dy))
    w, b = (None if weights == "none" else w), (b if weights == "both" else None)
    results = layer_norm_all(x, w, b, dy)
    agree(results, lambda x, *p: F.layer_norm(x, shape[1:], *p, eps=1e-3), (x, w, b), dy)
    for first, again in zip(results, layer_norm_all(x, w, b, dy), strict=True):
        np.testing.assert_array_equal(first, again)


def test_by_hand(path):
    x = np.array([[1.0], [3.0]], np.float32)
    y, mean, var = kernels.batch_norm(x, np.float32([2]), np.float32([5]), 0.0)
    assert (y.tolist(), mean.tolist(), var.tolist()) == ([[3], [7]], [2], [1])
    dx, dw, db = kernels.batch_norm_grad(np.float32([[4], [0]]), x, np.float32([2]), mean, var, 0.0)
    assert (dx.tolist(), dw.tolist(), db.tolist()) == ([[0], [0]], [-4], [4])  # two points lie at ±1 whatever x
    y, mean, r = kernels.layer_norm(x.T, np.float32([2, 3]), np.float32([5, 0]), 0.0)
    assert (y.tolist(), mean.tolist(), r.tolist()) == ([[3, 3]], [[2]], [[1]])


@pytest.mark.parametrize(
    ("change", "calls"),
    [(channels_last, 1), (lambda x: x, 0), (lambda x: channels_last(x.astype(np.float64)), 0)],
    ids=["channels_last", "channels_first", "float64"],
)
def test_where_compiled_code_serves(change, calls, monkeypatch, rng):
    module, shapes = compiled.load("norm_compiled"), []

    def watched(function):
        def call(slots, others, x, *more):
            shapes.append(x.shape)
            return function(slots, others, x, *more)

        return call

    for name in ("batch_norm", "batch_norm_grad"):
        monkeypatch.setattr(module, name, watched(getattr(module, name)))
    x = change(rng.standard_normal((2, 3, 4, 5)).astype(np.float32))
    batch_norm_all(x, None, None, x)
    assert shapes == [(2 * 4 * 5, 3)] * 2 * calls
    x = change(rng.standard_normal((1, 3, 8, SMALL // 8)).astype(np.float32))
    batch_norm_all(x, None, None, x)
    assert {shape[1] for shape in shapes[2 * calls :]} == {32 * 3 for _ in range(calls)}  # 64 numbers or more
