"""Devices, and what is said where there is none."""

import importlib
import sys
from types import ModuleType, SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest

import tinygrad_mnist as tg
from tinygrad_mnist import backend
from tinygrad_mnist.backend import BackendError, device


def test_device():
    assert (device("cpu").type, device("cpu").index) == ("cpu", None)
    assert (device("cuda:1").type, device("cuda:1").index) == ("cuda", 1)
    assert device("cuda", 1) == device("cuda:1") == "cuda:1"
    assert device(device("cuda:1")) == device("cuda:1")
    assert device("cuda") != device("cuda:0")
    assert device("cpu") != 1
    assert device("cpu") != "nonsense"
    assert {device("cuda:1"): 7}["cuda:1"] == 7
    assert (str(device("cuda:1")), repr(device("cuda", 1))) == ("cuda:1", "device(type='cuda', index=1)")
    assert repr(device("cpu")) == "device(type='cpu')"


@pytest.mark.parametrize("bad", ["gpu", "cuda:x", "cpu:-1", ""])
def test_wrong_device(bad):
    with pytest.raises(ValueError, match=f"expected 'cpu', 'cuda' or 'cuda:N', got '{bad}'"):
        device(bad)


def test_of_an_array():
    assert backend.of(np.ones(1)) is backend.CPU
    assert backend.get("cpu").device == "cpu"
    with pytest.raises(TypeError, match="expected a NumPy or CuPy array, got list"):
        backend.of([1])


def test_cpu():
    array = np.ones(2)
    assert backend.CPU.to_device(array) is array
    assert backend.CPU.to_numpy(array) is array
    backend.CPU.synchronize()


@pytest.fixture
def no_backend_cached():
    backend.get.cache_clear()
    yield
    backend.get.cache_clear()


def test_without_cupy(monkeypatch, no_backend_cached):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(BackendError, match=r"CUDA needs CuPy.*\n.*tinygrad_mnist\[cuda12\].*\nCheck it with"):
        tg.ones(1).cuda()
    assert not tg.cuda.is_available()
    assert tg.cuda.device_count() == 0
    for ask in (tg.cuda.current_device, tg.cuda.get_device_name, tg.cuda.synchronize):
        with pytest.raises(BackendError, match="CUDA needs CuPy"):
            ask()


@pytest.mark.parametrize("reason", ["0 GPUs", "cudaErrorInsufficientDriver: CUDA driver version is insufficient"])
def test_cupy_without_a_gpu_or_with_too_old_a_driver(reason, monkeypatch, no_backend_cached):
    cupy = ModuleType("cupy")
    cupy.__version__, cupy.is_available = "14.2", lambda: False
    answer = {"side_effect": RuntimeError(reason)} if reason != "0 GPUs" else {"return_value": 0}
    cupy.cuda = SimpleNamespace(runtime=SimpleNamespace(getDeviceCount=Mock(**answer)))
    cupy.__spec__ = importlib.machinery.ModuleSpec("cupy", None)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    with pytest.raises(BackendError, match=rf"CuPy 14\.2 is installed but finds no usable .* driver \({reason}\)"):
        tg.ones(1, device="cuda")
    assert not tg.cuda.is_available()
