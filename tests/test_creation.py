"""New tensors against PyTorch's: values, dtypes, errors."""

import numpy as np
import pytest
import torch

import tinygrad_mnist as tg

pytestmark = pytest.mark.usefixtures("default_device")

DATA = [
    1,
    1.5,
    True,
    [],
    [1, 2],
    [1.0, 2],
    [1, 2.5],
    [True, 2],
    [True, False],
    [[1, 2], [3, 4]],
    (1, (2)),
    ((1, 2), (3, 4)),
    range(3),
    [np.float64(3)],
    np.float32(3),
    np.float64(3),
    np.int32(3),
    np.arange(3, dtype=np.int16),
    np.ones((2, 2)),
    [[]],
]


def same(ours, theirs):
    assert str(ours.dtype) == str(theirs.dtype).removeprefix("torch.")
    assert tuple(ours.shape) == tuple(theirs.shape)
    np.testing.assert_allclose(ours.numpy(force=True), theirs.numpy(), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("data", DATA, ids=repr)
def test_tensor(data):
    same(tg.tensor(data), torch.tensor(data))
    same(tg.as_tensor(data), torch.as_tensor(data))
    same(tg.tensor(data, dtype=tg.float64), torch.tensor(data, dtype=torch.float64))


CALLS = {
    "zeros": lambda lib: lib.zeros(2, 3),
    "zeros of a tuple": lambda lib: lib.zeros((2, 3), dtype=lib.int32),
    "zeros of nothing": lambda lib: lib.zeros(()),
    "zeros of a shape": lambda lib: lib.zeros(lib.ones(2, 3).shape),
    "ones": lambda lib: lib.ones(4, dtype=lib.bool),
    "full": lambda lib: lib.full((2, 3), 7),
    "full of a float": lambda lib: lib.full((2,), 7.0),
    "full of a bool": lambda lib: lib.full((2,), True),
    "full of a dtype": lambda lib: lib.full((2,), 7, dtype=lib.float64),
    "eye": lambda lib: lib.eye(3),
    "eye of two": lambda lib: lib.eye(2, 3, dtype=lib.int64),
    "arange": lambda lib: lib.arange(5),
    "arange of floats": lambda lib: lib.arange(1, 2, 0.3),
    "arange down": lambda lib: lib.arange(5, 1, -2),
    "arange of a dtype": lambda lib: lib.arange(3, dtype=lib.float64),
    "arange of nothing": lambda lib: lib.arange(0),
    "arange of a tensor": lambda lib: lib.arange(lib.tensor(3)),
    "linspace": lambda lib: lib.linspace(-1, 1, 7),
    "linspace of one": lambda lib: lib.linspace(2, 3, 1, dtype=lib.float64),
    "zeros_like": lambda lib: lib.zeros_like(lib.arange(3)),
    "ones_like": lambda lib: lib.ones_like(lib.arange(3), dtype=lib.float32),
    "full_like": lambda lib: lib.full_like(lib.ones(2, 2), 3),
    "new_zeros": lambda lib: lib.arange(3).new_zeros(2, 2),
    "new_ones": lambda lib: lib.ones(1, dtype=lib.float64).new_ones((2,)),
    "new_full": lambda lib: lib.ones(1).new_full((2,), 3),
    "new_tensor": lambda lib: lib.ones(1, dtype=lib.float64).new_tensor([1, 2]),
}


@pytest.mark.parametrize("name", CALLS)
def test_as_pytorch(name):
    same(CALLS[name](tg), CALLS[name](torch))


def test_empty():
    assert tg.empty(2, 3).shape == (2, 3)
    assert tg.empty_like(tg.arange(3)).dtype == tg.int64
    assert tg.ones(1).new_empty(2).shape == (2,)


@pytest.mark.parametrize("device", ["cpu"], indirect=True)  # NumPy shares the memory of the CPU
def test_tensor_copies_and_as_tensor_shares():
    array = np.ones(3)
    assert not np.shares_memory(tg.tensor(array).numpy(), array)
    assert np.shares_memory(tg.as_tensor(array).numpy(), array)
    assert np.shares_memory(tg.from_numpy(array).numpy(), array)
    x = tg.ones(2, requires_grad=True)
    y = x * 2
    assert tg.as_tensor(y) is y
    copy = tg.tensor(y)
    assert (copy.requires_grad, np.shares_memory(copy.array, y.array)) == (False, False)
    assert tg.as_tensor([1], dtype=tg.float64, device="cpu").dtype == tg.float64


def test_requires_grad():
    for x in (tg.tensor([1.0], requires_grad=True), tg.zeros(1, requires_grad=True), tg.eye(1, requires_grad=True)):
        assert x.requires_grad
        assert x.is_leaf
    with pytest.raises(RuntimeError, match="floating"):
        tg.arange(3, requires_grad=True)


def test_a_scalar_from_numpy_is_a_tensor():
    assert tg.tensor(np.float32(2)).shape == ()
    assert tg.tensor([tg.tensor(1.5), tg.tensor(2.5)]).tolist() == [1.5, 2.5]
    assert tg.tensor([[tg.tensor(1.5), 2.5]]).dtype == tg.tensor([tg.tensor(1), 2.5]).dtype == tg.float32


def test_numbers_of_another_byte_order_are_turned():
    assert tg.tensor(np.arange(3, dtype=">f4")).dtype.isnative


ERRORS = [
    (lambda lib: lib.tensor([[1], [2, 3]]), ValueError, "nested sequences of equal lengths"),
    (lambda lib: lib.tensor("a"), TypeError, "expected numbers"),
    (lambda lib: lib.tensor(["a"]), (TypeError, ValueError), "expected numbers"),
    (lambda lib: lib.tensor(2**63), (ValueError, RuntimeError), "fit in int64"),
    (lambda lib: lib.tensor(2**70), (ValueError, RuntimeError), "fit in int64"),
    (lambda lib: lib.tensor(None), (TypeError, RuntimeError, ValueError), "expected numbers"),
    (lambda lib: lib.tensor({1: 2}), (RuntimeError, ValueError), "expected numbers.*got dict"),
    (lambda lib: lib.from_numpy(np.ones(2, ">f4")), ValueError, "byte order"),
    (lambda lib: lib.from_numpy([1]), TypeError, r"expected np.ndarray \(got list\)"),
    (lambda lib: lib.from_numpy(np.ones(2, complex) if lib is tg else ["complex"]), TypeError, "complex128|list"),
    (lambda lib: lib.ones(2, -1), RuntimeError, r"negative dimension.*\[2, -1\]"),
    (lambda lib: lib.arange(0, 1, 0), RuntimeError, "step must be nonzero"),
    (lambda lib: lib.arange(0, 1, -1), RuntimeError, "inconsistent with step sign"),
    (lambda lib: lib.linspace(0, 1, -1), RuntimeError, "number of steps must be non-negative"),
    (lambda lib: lib.full((2,), [1, 2]), TypeError, "expected a number to fill with"),
]


@pytest.mark.parametrize(("call", "kind", "message"), ERRORS)
def test_errors(call, kind, message):
    with pytest.raises(kind, match=message):
        call(tg)
    with pytest.raises(kind):
        call(torch)


def test_from_dlpack():
    array = np.arange(3.0)
    assert np.shares_memory(tg.from_dlpack(array).numpy(), array)  # where it is, whatever the default device
    theirs = torch.arange(3)
    assert tg.from_dlpack(theirs).tolist() == [0, 1, 2]


def test_the_default_device(device):
    tg.set_default_device(None)
    assert tg.get_default_device() == "cpu"
    elsewhere = tg.ones(2, device=device)
    assert tg.tensor(elsewhere).device == tg.as_tensor(elsewhere).device == elsewhere.device
    tg.set_default_device(device)
    assert tg.get_default_device() == device
    made = [tg.zeros(2), tg.tensor([1.0]), tg.tensor(np.ones(2)), tg.as_tensor(tg.ones(2, device="cpu")), tg.arange(3)]
    made += [tg.rand(2), tg.randperm(3), tg.full((2,), 1.0), tg.eye(2), tg.nn.Linear(2, 2).weight, tg.ones(2).mean()]
    assert {x.device.type for x in made} == {device}
    assert tg.zeros(2, device="cpu").device == tg.from_numpy(np.ones(2)).device == "cpu"
    assert tg.zeros_like(tg.ones(2, device="cpu")).device == (tg.ones(2, device="cpu") * 2).device == "cpu"
    with pytest.raises(ValueError, match="expected 'cpu', 'cuda' or 'cuda:N', got 'gpu'"):
        tg.set_default_device("gpu")
    assert tg.get_default_device() == device
