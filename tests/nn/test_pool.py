"""Pooling layers and their functional forms, against PyTorch and by hand."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch_oracle import agree, close

import tinygrad_mnist as tg
import tinygrad_mnist.nn.functional as F
from tinygrad_mnist import nn

TF = torch.nn.functional


def images(rng, *shape):
    """All values differ, so that every maximum is unique."""
    return rng.permutation(int(np.prod(shape))).reshape(shape) / 7.0


@settings(max_examples=80, deadline=None)
@given(
    size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.one_of(st.none(), st.integers(1, 3)),
    padding=st.integers(0, 1),
    dilation=st.integers(1, 2),
    ceil_mode=st.booleans(),
    indices=st.booleans(),
    batch=st.integers(0, 2),
    seed=st.integers(0, 99),
)
def test_max_pool2d_agrees(size, kernel, stride, padding, dilation, ceil_mode, indices, batch, seed, device):
    padding = min(padding, min(kernel) // 2)
    assume(all(n + 2 * padding > dilation * (k - 1) for n, k in zip(size, kernel, strict=True)))
    arguments = kernel, stride, padding, dilation, ceil_mode
    out = F.max_pool2d(tg.zeros(1, *size), *arguments).shape[1:]
    # PyTorch writes outside its memory where a window has all its elements in the padding.
    steps = kernel if stride is None else (stride, stride)
    for n, outs, step, k in zip(size, out, steps, kernel, strict=True):
        assume(all(any(0 <= i * step - padding + j * dilation < n for j in range(k)) for i in range(outs)))
    x = images(np.random.default_rng(seed), batch, 2, *size)

    def run(functional, part):
        def pool(x):
            y = functional.max_pool2d(x, *arguments, indices)
            return y[part] if indices else y

        return pool

    agree(run(F, 0), run(TF, 0), x, device=device)
    if indices:
        close(run(F, 1)(tg.tensor(x, device=device)), run(TF, 1)(torch.tensor(x)))


@settings(max_examples=80, deadline=None)
@given(
    size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.one_of(st.none(), st.integers(1, 3)),
    padding=st.integers(0, 1),
    ceil_mode=st.booleans(),
    include=st.booleans(),
    divisor=st.sampled_from([None, 3]),
    seed=st.integers(0, 99),
)
def test_avg_pool2d_agrees(size, kernel, stride, padding, ceil_mode, include, divisor, seed, device):
    padding = min(padding, min(kernel) // 2)
    assume(all(n + 2 * padding >= k for n, k in zip(size, kernel, strict=True)))
    arguments = kernel, stride, padding, ceil_mode, include, divisor
    x = np.random.default_rng(seed).normal(size=(2, 2, *size))
    agree(lambda x: F.avg_pool2d(x, *arguments), lambda x: TF.avg_pool2d(x, *arguments), x, device=device)


@pytest.mark.parametrize("output_size", [1, 3, (2, 4), (None, 2), None])
@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (3, 5, 7), (0, 3, 5, 7)])
def test_adaptive_pools_agree(output_size, shape, device, rng):
    x = images(rng, *shape)
    theirs_size = shape[-2:] if output_size is None else output_size
    agree(
        lambda x: F.adaptive_avg_pool2d(x, output_size),
        lambda x: TF.adaptive_avg_pool2d(x, theirs_size),
        x,
        device=device,
    )
    agree(
        lambda x: F.adaptive_max_pool2d(x, output_size),
        lambda x: TF.adaptive_max_pool2d(x, theirs_size),
        x,
        device=device,
    )
    ours, indices = F.adaptive_max_pool2d(tg.tensor(x, device=device), output_size, return_indices=True)
    theirs, expected = TF.adaptive_max_pool2d(torch.tensor(x), theirs_size, return_indices=True)
    close(ours, theirs)
    close(indices, expected)


@pytest.mark.parametrize(("size", "output_size"), [((4, 6), None), ((5, 7), (5, 7)), ((5, 6), (2, 3, 5, 6))])
def test_max_unpool2d_agrees(size, output_size, device, rng):
    y, at = TF.max_pool2d(torch.tensor(images(rng, 2, 3, *size)), 2, return_indices=True)
    ours_at = tg.tensor(at.numpy(), device=device)
    agree(
        lambda y: F.max_unpool2d(y, ours_at, 2, output_size=output_size),
        lambda y: TF.max_unpool2d(y, at, 2, output_size=output_size),
        y.numpy(),
        device=device,
    )
    expected = torch.nn.MaxUnpool2d(2)(y[0], at[0], output_size)
    close(nn.MaxUnpool2d(2)(tg.tensor(y[0].numpy(), device=device), ours_at[0], output_size), expected)


def test_pools_by_hand(device):
    x = tg.tensor([[[1.0, 5.0, 2.0], [3.0, 2.0, 8.0], [0.0, 1.0, 4.0]]], device=device)
    close(F.max_pool2d(x, 2, 1), [[[5.0, 8.0], [3.0, 8.0]]])
    close(F.max_pool2d(x, 2, return_indices=True)[1], [[[1]]])
    close(F.avg_pool2d(x, 2, 1), [[[11 / 4, 17 / 4], [6 / 4, 15 / 4]]])
    close(F.avg_pool2d(x, 2, padding=1, count_include_pad=False), [[[1.0, 3.5], [1.5, 15 / 4]]])
    close(F.adaptive_avg_pool2d(x, 1), [[[26 / 9]]], 1e-6)


def test_a_nan_wins_the_maximum(device):
    x = tg.tensor([[[1.0, float("nan")], [3.0, 2.0]]], device=device)
    assert np.isnan(F.max_pool2d(x, 2).item())


POOLS = [
    lambda nn: nn.MaxPool2d(2),
    lambda nn: nn.MaxPool2d((3, 2), 2, (1, 0), 1, ceil_mode=True),
    lambda nn: nn.AvgPool2d(2),
    lambda nn: nn.AvgPool2d((3, 2), 2, (1, 0), True, False, 5),
    lambda nn: nn.AdaptiveAvgPool2d(1),
    lambda nn: nn.AdaptiveAvgPool2d((None, 3)),
    lambda nn: nn.AdaptiveMaxPool2d((2, 3)),
]


@pytest.mark.parametrize("make", POOLS)
def test_layers_are_torchs(make, device, rng):
    agree(make(nn), make(torch.nn), images(rng, 2, 3, 6, 5), device=device)
    assert repr(make(nn)) == repr(make(torch.nn))


@pytest.mark.parametrize(
    "make", [lambda nn: nn.MaxPool2d(2, return_indices=True), lambda nn: nn.AdaptiveMaxPool2d(2, True)]
)
def test_layers_return_indices(make, device, rng):
    x = images(rng, 2, 3, 6, 5)
    ours, theirs = make(nn)(tg.tensor(x, device=device)), make(torch.nn)(torch.tensor(x))
    for got, expected in zip(ours, theirs, strict=True):
        close(got, expected)
    assert repr(nn.MaxUnpool2d(2)).startswith("MaxUnpool2d(kernel_size=2, stride=2, padding=0")


def test_errors(device):
    x = tg.zeros(1, 1, 4, 4, device=device)
    at = tg.zeros(1, 1, 4, 4, dtype="int64", device=device)
    for raises, message, call in [
        (RuntimeError, r"MaxPool2d\(.*\) at '0': the window covers \(5, 5\) pixels .* \(4, 4\)",
         lambda: nn.Sequential(nn.MaxPool2d(5))(x)),
        (RuntimeError, "at most half of kernel_size", lambda: F.max_pool2d(x, 2, padding=2)),
        (RuntimeError, r"expected input \(N, C, H, W\)", lambda: F.avg_pool2d(x[0, 0], 2)),
        (RuntimeError, "floating-point input, got int64", lambda: F.max_pool2d(at, 2)),
        (RuntimeError, "divisor_override must not be 0", lambda: F.avg_pool2d(x, 2, divisor_override=0)),
        (ValueError, "expected one or two sizes", lambda: F.adaptive_avg_pool2d(x, (1, 2, 3))),
        (ValueError, "output_size must be at least 1", lambda: F.adaptive_avg_pool2d(x, 0)),
        (RuntimeError, r"empty in the batch only, got \(2, 1, 0, 4\)",
         lambda: F.adaptive_avg_pool2d(tg.zeros(2, 1, 0, 4, device=device), 1)),
        (ValueError, r"of the input's shape \(1, 1, 4, 4\), got \(4, 4\)", lambda: F.max_unpool2d(x, at[0, 0], 2)),
        (ValueError, "within one stride", lambda: F.max_unpool2d(x, at, 2, output_size=(4, 4))),
        (RuntimeError, "indices must be between 0 and 63", lambda: F.max_unpool2d(x, at + 64, 2)),
    ]:  # fmt: skip
        with pytest.raises(raises, match=message):
            call()


@pytest.mark.parametrize("window", [(2.0, 2.0), (True, 2), {2}])
def test_a_wrong_window_is_refused_also_after_one_that_compares_equal(window):
    F.max_pool2d(tg.ones(1, 1, 4, 4), (2, 2))
    F.max_pool2d(tg.ones(1, 1, 4, 4), (1, 2))
    with pytest.raises(TypeError, match="kernel_size: expected an int or two ints"):
        F.max_pool2d(tg.ones(1, 1, 4, 4), window)
