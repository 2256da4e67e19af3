"""How tensors print, against PyTorch's own repr."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_mnist as tg

VALUES = [
    1.0,
    -2.5,
    [1.0, 2.0],
    [0.5, 100.25],
    [1e-8, 1.0],
    [1e-5],
    [1e8, 1.0],
    [2e8],
    [1.0, 2000.0, 0.1],
    [1.5, 1500.0],
    [float("nan"), 1.0, float("-inf")],
    [float("inf"), 0.25],
    [0.0, -0.0],
    [1, -20, 300],
    [True, False],
    [],
    [[], []],
    [[1.0, 2.0], [3.0, 4.5]],
    [[[1, 2], [3, 4]], [[5, 6], [7, 8]]],
    np.zeros((2, 0, 3)),
    np.zeros((0,), np.int64),
    np.float32([1.1, 2]),
    np.array([1.5], np.float16),
    np.array([1, 255], np.uint8),
    np.arange(30.0),
    np.arange(40).reshape(2, 20) * 1000,
    np.arange(1001),
    np.linspace(-1, 1, 2000).reshape(40, 50),
    np.arange(3000.0).reshape(3, 10, 100),
    np.arange(1200.0).reshape(2, 2, 3, 100),
    np.ones((1, 1, 1, 1)),
]


def one_line(text):
    """Whether the dtype fits on the last line differs: PyTorch writes dtype=torch.float64."""
    return re.sub(r",\n +dtype=", ", dtype=", text.replace("torch.", ""))


def ours(value):
    return one_line(repr(tg.as_tensor(value)))


def theirs(value):
    return one_line(repr(torch.as_tensor(value)))


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_as_pytorch(value):
    assert ours(value) == theirs(value)


@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.int64, np.bool_]),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=12),
    )
)
def test_any_array_as_pytorch(array):
    assert ours(array) == theirs(array)


@pytest.mark.parametrize("shape", [(2,), (2, 2), (12,), (11,)])
def test_history_as_pytorch(shape):
    x, other = (lib.ones(shape, requires_grad=True) for lib in (tg, torch))
    assert repr(x) == repr(other)
    assert repr(x * 1.5) == repr(other * 1.5)
    assert one_line(repr(x.double().detach())) == one_line(repr(other.double().detach()))
    assert one_line(repr(x.double() * 1.23456)) == one_line(repr(other.double() * 1.23456))


def test_options():
    x = np.linspace(0, 1, 50)
    try:
        for options in ({"precision": 2}, {"edgeitems": 2, "threshold": 10}, {"linewidth": 40}, {"sci_mode": True}):
            tg.set_printoptions(**options)
            torch.set_printoptions(**options)
            assert ours(x) == theirs(x)
            torch.set_printoptions(profile="default")
            tg.set_printoptions(precision=4, threshold=1000, edgeitems=3, linewidth=80)
    finally:
        torch.set_printoptions(profile="default")
        tg.set_printoptions(precision=4, threshold=1000, edgeitems=3, linewidth=80)


def test_format():
    assert f"{tg.tensor(1.23456):.2f}" == "1.23"
    assert f"{tg.tensor([1.0])}" == "tensor([1.])"
    assert str(tg.tensor(2)) == "tensor(2)"


def test_size():
    size, more = tg.ones(2, 3, 4).shape, (5,)
    assert repr(size) == repr(torch.ones(2, 3, 4).shape).removeprefix("torch.")
    assert (size.numel(), size[1:], size[-1], size + more) == (24, (3, 4), 4, (2, 3, 4, 5))
    assert isinstance(size[1:], tg.Size)
    assert isinstance(size + more, tg.Size)
