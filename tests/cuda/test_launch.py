"""The launch wrapper refuses what CuPy would hand to a kernel as garbage."""

from typing import Any

import cupy as cp
import numpy as np
import pytest
from tinygrad_mnist.kernels.cuda import launch as module
from tinygrad_mnist.kernels.cuda.launch import LaunchError, contiguous, empty, launch
from tinygrad_mnist.kernels.cuda.optim import sgd

F32 = np.dtype(np.float32)


def relu(x: Any, y: Any, n: Any) -> None:
    launch("relu.cu", "relu", F32, 4, x, y, n)


@pytest.fixture
def x():
    return cp.asarray(np.array([-1, 2, -3, 4], np.float32))


def test_right_arguments(x):
    y = cp.empty_like(x)
    relu(x, y, 4)
    assert y.tolist() == [0, 2, 0, 4]


def test_count(x):
    with pytest.raises(LaunchError, match=r"relu in relu.cu takes 3 arguments, got 2"):
        launch("relu.cu", "relu", F32, 4, x, x)


def test_dtype(x):
    with pytest.raises(LaunchError, match="relu: argument y must be float32, got float64"):
        relu(x, cp.empty(4), 4)


def test_host_array(x):
    with pytest.raises(LaunchError, match="relu: argument x must be a CuPy array, got ndarray"):
        relu(np.ones(4, np.float32), x, 4)


def test_strided_array(x):
    with pytest.raises(LaunchError, match=r"argument x must be C-contiguous, got strides \(8,\) for shape \(2,\)"):
        relu(x[::2], x, 4)


def test_array_of_another_device(x, monkeypatch):
    monkeypatch.setattr(cp.cuda.runtime, "getDevice", lambda: 1)
    with pytest.raises(LaunchError, match="argument x is on cuda:0, the current device is cuda:1"):
        relu(x, x, 4)


@pytest.mark.parametrize("n", [4.0, "4", None])
def test_scalar_type(x, n):
    with pytest.raises(LaunchError, match=f"relu: argument n must be an integer, got {type(n).__name__}"):
        relu(x, x, n)


def test_scalar_range(x):
    with pytest.raises(LaunchError, match="relu: argument n must fit into int32, got 2147483648"):
        relu(x, x, 2**31)


def test_number_and_struct(x):
    table = np.zeros((), np.dtype([("a", np.int32)]))[()]
    with pytest.raises(LaunchError, match="sgd: argument t must be a Tensors, got int"):
        launch("optim.cu", "sgd", F32, 1, 1, 0.1, 0.0, 1.0, 0.0, 0, 0)
    with pytest.raises(LaunchError, match="sgd: argument lr must be a number, got str"):
        launch("optim.cu", "sgd", F32, 1, table, "0.1", 0.0, 1.0, 0.0, 0, 0)
    p = [cp.ones((), F32)]
    sgd(p, p, [], 0.5, 0.0, 0.0, 0.0, False, False)  # is not misled by the struct of before, which was too small
    assert p[0] == 0.5


def test_no_work_is_no_launch(counters):
    before = counters.launches
    launch("relu.cu", "relu", F32, 0, cp.empty(0, F32), cp.empty(0, F32), 0)
    assert counters.launches == before


def test_more_elements_than_kernels_can_count():
    with pytest.raises(ValueError, match=r"up to 2,147,483,647 elements, and shape \(65536, 65536\) has 4,294,967,296"):
        empty((2**16, 2**16), F32)
    with pytest.raises(ValueError, match="use a smaller batch"):
        contiguous(cp.broadcast_to(cp.zeros((), F32), (2**16, 2**16)))


def test_grids_are_capped(monkeypatch):
    """Two blocks do the work of many."""
    monkeypatch.setattr(module, "max_blocks", lambda device: 2)
    x = cp.asarray(np.random.default_rng(0).standard_normal(10_000).astype(F32))
    y = cp.empty_like(x)
    launch("relu.cu", "relu", F32, x.size, x, y, x.size)
    assert (y == cp.maximum(x, 0)).all()


def test_a_kernel_that_does_not_compile_shows_the_log(tmp_path, monkeypatch):
    (tmp_path / "common.cuh").write_text("")
    (tmp_path / "bad.cu").write_text('extern "C" __global__ void bad(T* x) { x[0] = nonsense; }')
    monkeypatch.setattr(module, "SOURCES", tmp_path)
    with pytest.raises(RuntimeError, match=r"(?s)refused bad.cu for float32.*identifier \"nonsense\" is undefined"):
        launch("bad.cu", "bad", F32, 1, cp.zeros(1, F32))
