"""Collating samples, against PyTorch."""

from collections import namedtuple

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate as torch_collate
from torch.utils.data import default_convert as torch_convert

import tinygrad_mnist as tg
from tinygrad_mnist.utils.data import default_collate, default_convert

Point = namedtuple("Point", "x y")


def same(ours, theirs) -> bool:
    """Whether two nested structures agree: types of containers, values, dtypes, shapes."""
    if isinstance(theirs, torch.Tensor):
        return (
            isinstance(ours, tg.Tensor)
            and str(ours.dtype) == str(theirs.dtype).removeprefix("torch.")
            and tuple(ours.shape) == tuple(theirs.shape)
            and ours.tolist() == theirs.tolist()
        )
    if isinstance(theirs, dict):
        return list(ours) == list(theirs) and all(same(ours[k], theirs[k]) for k in theirs)
    if isinstance(theirs, list | tuple):
        return type(ours) is type(theirs) and len(ours) == len(theirs) and all(map(same, ours, theirs))
    return type(ours) is type(theirs) and ours == theirs


BATCHES = [
    [1, 2, 3],
    [1.5, 2.5],
    [True, False],
    ["a", "b"],
    [b"a", b"b"],
    [np.float32(1), np.float32(2)],
    [np.float64(1), np.float64(2)],
    [np.int16(1), np.int16(2)],
    [np.arange(3), np.arange(3)],
    [np.ones((2, 2), np.float32), np.zeros((2, 2), np.float32)],
    [np.uint8(np.ones((2, 0))), np.uint8(np.ones((2, 0)))],
    [(1, 2.0), (3, 4.0)],
    [[1, "x"], [2, "y"]],
    [Point(1, 2.0), Point(3, 4.0)],
    [{"a": 1, "b": (2.0, "x")}, {"b": (3.0, "y"), "a": 4}],
    [(np.ones(2), {"k": np.float32(3)}), (np.zeros(2), {"k": np.float32(4)})],
]


@pytest.mark.parametrize("batch", BATCHES, ids=str)
def test_collate_equals_pytorch(batch):
    assert same(default_collate(batch), torch_collate(batch))


@pytest.mark.parametrize("dtype", ["float32", "int64", "uint8", "bool"])
def test_collate_tensors(dtype, device):
    arrays = [np.asarray([[0, 1], [2, 3]], dtype), np.asarray([[1, 0], [0, 0]], dtype)]
    ours = default_collate([tg.tensor(a, device=device) for a in arrays])
    assert ours.device.type == device
    assert same(ours.cpu(), torch_collate([torch.tensor(a) for a in arrays]))


def test_collate_promotes_tensors_of_different_dtypes():
    ours = default_collate([tg.tensor([1]), tg.tensor([1.5])])
    assert ours.dtype == np.float32
    assert ours.tolist() == [[1.0], [1.5]]


@pytest.mark.parametrize(
    ("batch", "error", "message"),
    [
        ([], ValueError, "at least one sample"),
        ([None, None], TypeError, "found NoneType"),
        ([{1}, {2}], TypeError, "found set"),
        ([[1, 2], [1]], RuntimeError, "equal size, got sizes"),
        ([np.ones(2), np.ones(3)], RuntimeError, r"got \[2\] at entry 0 and \[3\] at entry 1"),
        ([np.array(["a"]), np.array(["b"])], TypeError, "expected numbers"),
    ],
)
def test_collate_says_what_is_wrong(batch, error, message):
    with pytest.raises(error, match=message):
        default_collate(batch)


@pytest.mark.parametrize(
    "data", [3, "x", None, np.arange(3), np.float32(2), [np.ones(1), "a"], (1, np.ones(2)), Point(np.ones(1), 2),
             {"k": np.zeros(1)}, np.array(["text"])], ids=str
)  # fmt: skip
def test_convert_equals_pytorch(data):
    ours, theirs = default_convert(data), torch_convert(data)
    if isinstance(data, np.ndarray) and data.dtype.kind == "U":
        assert ours is data
        assert theirs is data
    else:
        assert same(ours, theirs)


def test_convert_shares_memory():
    data = np.zeros(3)
    default_convert([data])[0].array[0] = 5
    assert data[0] == 5
