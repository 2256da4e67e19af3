"""Memory shared with NumPy and PyTorch on the CPU; tests/cuda/test_device.py does it on a GPU."""

import numpy as np
import pytest
import torch

import tinygrad_mnist as tg


def test_torch_takes_our_memory():
    x = tg.arange(6.0).reshape(2, 3)
    theirs = torch.from_dlpack(x)
    theirs[0, 0] = 7
    assert x[0, 0].item() == 7
    assert theirs.shape == (2, 3)


def test_numpy_takes_our_memory():
    x = tg.zeros(3)
    assert np.shares_memory(np.from_dlpack(x), x.numpy())


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8", "bool"])
def test_we_take_the_memory_of_torch(dtype):
    theirs = torch.zeros(4, dtype=getattr(torch, dtype))
    ours = tg.from_dlpack(theirs)
    theirs[1] = 1
    assert ours.dtype == dtype
    assert ours.tolist() == theirs.tolist()


def test_a_strided_array_keeps_its_strides():
    ours = tg.from_dlpack(torch.arange(6).reshape(2, 3).T)
    assert (ours.shape, ours.stride()) == ((3, 2), (1, 3))


def test_a_tensor_that_requires_grad_is_not_exported():
    x = tg.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"requires grad; use tensor.detach\(\)"):
        torch.from_dlpack(x)
    assert torch.from_dlpack(x.detach()).tolist() == [1.0, 1.0]


def test_not_dlpack():
    with pytest.raises(TypeError, match="expected an object with __dlpack__, got list"):
        tg.from_dlpack([1.0])


def test_no_cuda_array_interface_on_the_cpu():
    assert not hasattr(tg.ones(1), "__cuda_array_interface__")
