"""Indexing and assignment against PyTorch's, over drawn shapes and indices."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_mnist as tg

pytestmark = pytest.mark.usefixtures("default_device")


@st.composite
def shapes_and_indices(draw):
    """A shape, and an index as a list of ("int", 1), ("slice", ...), ("array", [..]), ("mask", [..]), ..."""
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    index, used, ellipsis = [], 0, False
    arrays = draw(st.sampled_from([None, (), (2,), (2, 3)]))
    while used < len(shape) and draw(st.integers(0, 4)):
        kinds = ["int", "slice", "none"] + ["array"] * (arrays is not None) + ["mask"] + ["ellipsis"] * (not ellipsis)
        kind, n = draw(st.sampled_from(kinds)), shape[used]
        if kind == "int":
            value = draw(st.integers(-n, n - 1))
        elif kind == "slice":
            ends = st.none() | st.integers(-n - 1, n + 1)
            value = [draw(ends), draw(ends), draw(st.sampled_from([None, 1, 2, 3]))]
        elif kind == "array":
            size = int(np.prod(arrays))
            flat = draw(st.lists(st.integers(-n, n - 1), min_size=size, max_size=size))
            value = np.array(flat, np.int64).reshape(arrays).tolist()
        elif kind == "mask":
            value = draw(st.lists(st.booleans(), min_size=n, max_size=n))
        else:
            value, ellipsis = None, ellipsis or kind == "ellipsis"
        if kind == "mask" and any(k in ("array", "mask") for k, _ in index):
            continue  # it would have to broadcast against the others
        if kind == "array" and any(k == "mask" for k, _ in index):
            continue
        index.append((kind, value))
        used += kind not in ("none", "ellipsis")
    return shape, index


def build(lib, index):
    made = {
        "int": int,
        "slice": lambda v: slice(*v),
        "none": lambda v: None,
        "ellipsis": lambda v: ...,
        "array": lambda v: lib.tensor(v, dtype=lib.int64),
        "mask": lambda v: lib.tensor(v),
    }
    return tuple(made[kind](value) for kind, value in index)


def tensor(lib, shape):
    return lib.arange(float(np.prod(shape)), dtype=lib.float64).reshape(*shape)


@settings(max_examples=300, deadline=None)
@given(shapes_and_indices())
def test_reading(case):
    shape, index = case
    try:
        x = tensor(torch, shape).requires_grad_()
        theirs = x[build(torch, index)]
        theirs.backward(theirs.detach() + 1)
    except IndexError:
        with pytest.raises(IndexError):
            tensor(tg, shape)[build(tg, index)].tolist()
        return
    y = tensor(tg, shape).requires_grad_()
    ours = y[build(tg, index)]
    assert ours.shape == tuple(theirs.shape)
    assert ours.tolist() == theirs.tolist()
    ours.backward(ours.detach() + 1)
    assert y.grad.tolist() == x.grad.tolist()


@settings(max_examples=300, deadline=None)
@given(shapes_and_indices(), st.sampled_from(["number", "full", "row"]))
def test_assigning(case, kind):
    shape, index = case
    x, y = tensor(torch, shape), tensor(tg, shape)
    try:
        part = x[build(torch, index)]
    except IndexError:
        with pytest.raises(IndexError):
            (y.__setitem__(build(tg, index), 0), y.tolist())
        return
    numbers = tensor(torch, shape)[build(torch, index)]
    if kind != "number" and numbers.unique().numel() < numbers.numel():
        return  # which of several values for one element wins is not defined
    size = tuple(part.shape) if kind == "full" else tuple(part.shape[-1:])
    value = -1.0 if kind == "number" else np.random.default_rng(0).normal(size=size)
    x[build(torch, index)] = value if kind == "number" else torch.tensor(value)
    y[build(tg, index)] = value if kind == "number" else tg.tensor(value)
    assert y.tolist() == x.tolist()


@pytest.mark.parametrize(
    "index",
    [
        [0, 2],
        ([0, 1], [1, 2]),
        np.array([0, 1]),
        (slice(None), np.array([0, 2])),
        np.int64(1),
        True,
        (),
        ...,
        None,
        (0, slice(None), [1, 2]),
    ],
    ids=repr,
)
def test_python_and_numpy_indices(index):
    x = np.arange(36.0).reshape(3, 4, 3)
    assert tg.tensor(x)[index].tolist() == torch.tensor(x)[index].tolist()


def test_tensor_indices_of_any_integer_type_and_on_the_same_device(device):
    x = tg.arange(5, device=device)
    assert x[tg.tensor([1, 3], dtype=tg.int32, device=device)].tolist() == [1, 3]
    assert x[tg.tensor(2, device=device)].tolist() == 2
    assert x[x > 2].tolist() == [3, 4]


@pytest.mark.parametrize(
    "index", [5, -4, (0, 0, 0), [0, 3], [True, False], 1.5, slice(None, None, -1), [[True] * 3] * 3]
)
def test_errors(index):
    with pytest.raises((IndexError, TypeError, ValueError)) as theirs:
        torch.ones(3, 2)[index]
    with pytest.raises(theirs.type):
        tg.ones(3, 2)[index].tolist()  # on a GPU, an index out of range shows when it is waited for


def test_slices_are_views():
    x = tg.zeros(3, 4)
    x[1:, ::2][0, 1] = 5
    assert x[1, 2] == 5
    assert x.xp.shares_memory(x[1].array, x.array)
    assert not x.xp.shares_memory(x[[1]].array, x.array)
