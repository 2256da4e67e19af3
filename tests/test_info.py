"""`python -m tinygrad_mnist info`: what it reports, and the remedy it names for each problem."""

import contextlib
import importlib
import os
import subprocess
import sys
from types import ModuleType, SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest

from tinygrad_mnist import info


class CUDARuntimeError(RuntimeError):
    pass


class CompileException(Exception):
    pass


def fake_cupy(driver=12090, runtime=12090, count=1, major=8, compiles=True, error=None):
    """CuPy as far as the report asks it."""

    def device_count():
        if error:
            raise CUDARuntimeError(error)
        return count

    def compile_():
        if not compiles:
            raise CompileException("no compiler")

    cupy = ModuleType("cupy")
    cupy.RawModule = lambda code: SimpleNamespace(compile=compile_)
    cupy.cuda = SimpleNamespace(
        runtime=SimpleNamespace(
            CUDARuntimeError=CUDARuntimeError,
            driverGetVersion=lambda: driver,
            runtimeGetVersion=lambda: runtime,
            getDeviceCount=device_count,
            getDeviceProperties=lambda i: {"name": b"Some GPU", "major": major, "minor": 1},
            memGetInfo=lambda: (2 * 2**30, 8 * 2**30),
        ),
        compiler=SimpleNamespace(CompileException=CompileException),
        Device=lambda i: contextlib.nullcontext(),
    )
    return cupy


@pytest.fixture
def report(monkeypatch):
    """Call with the installed packages and a stand-in for CuPy; gives the report."""

    def call(packages, cupy=None):
        monkeypatch.setattr(
            info.metadata,
            "distributions",
            lambda: [SimpleNamespace(metadata={"Name": n}, version="14.2.0") for n in packages],
        )
        monkeypatch.setitem(sys.modules, "cupy", cupy)
        return info.report()

    return call


def test_the_command():
    result = subprocess.run(
        [sys.executable, "-m", "tinygrad_mnist", "info"], capture_output=True, text=True, check=True
    )
    assert result.stdout.startswith("tinygrad_mnist ")
    assert f"NumPy {np.__version__}" in result.stdout
    assert "CPU: " in result.stdout


def test_without_a_command_it_says_which_there_are():
    result = subprocess.run([sys.executable, "-m", "tinygrad_mnist"], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "info" in result.stderr


def test_a_reader_that_leaves():
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "tinygrad_mnist", "info"]
    result = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (result.returncode, result.stderr) == (141, "")


def test_main(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tinygrad_mnist", "info"])
    importlib.import_module("tinygrad_mnist.__main__").main()
    assert "Python" in capsys.readouterr().out


def test_without_cupy(report, monkeypatch):
    monkeypatch.setattr(info, "driver_version", lambda: None)
    found = report(["numpy"])
    assert "CuPy: not installed, and no NVIDIA driver found (only needed for GPUs)" in found
    assert "NVIDIA driver for" not in found


@pytest.mark.parametrize(
    ("driver", "problem"),
    [
        (13000, "driver for CUDA 13.0, but no CuPy to use it: pip install 'tinygrad_mnist[cuda13]'"),
        (12090, "driver for CUDA 12.9, but no CuPy to use it: pip install 'tinygrad_mnist[cuda12]'"),
        (11080, "the NVIDIA driver is for CUDA 11.8: update it to one for CUDA 12 (525) or 13 (580)"),
    ],
)
def test_a_driver_without_cupy(report, monkeypatch, driver, problem):
    monkeypatch.setattr(info, "driver_version", lambda: driver)
    assert problem in report(["numpy"])


def test_the_driver_is_asked_for_its_version(monkeypatch):
    def answer(result, version):
        def get(pointer):
            pointer._obj.value = version
            return result

        monkeypatch.setattr(info.ctypes, "CDLL", lambda name: SimpleNamespace(cuDriverGetVersion=get))
        return info.driver_version()

    assert answer(0, 12090) == 12090
    assert answer(999, 0) is None
    for error in (OSError, AttributeError):
        monkeypatch.setattr(info.ctypes, "CDLL", Mock(side_effect=error))
        assert info.driver_version() is None


def test_two_cupys(report):
    found = report(["cupy-cuda12x", "cupy-cuda13x"])
    assert "problem: 2 CuPy packages are installed" in found
    assert "pip uninstall -y cupy-cuda12x cupy-cuda13x" in found


def test_a_cupy_that_does_not_import(report):
    assert "problem: CuPy cannot be imported" in report(["cupy-cuda12x"])


def test_a_good_gpu(report):
    found = report(["cupy-cuda12x"], fake_cupy())
    assert "driver: CUDA 12.9; CuPy uses CUDA 12.9" in found
    assert "GPU 0: Some GPU, compute capability 8.1, 2,048 of 8,192 MiB free" in found
    assert "kernel cache: " in found
    assert "problem: GPU" not in found
    assert "problem: CuPy" not in found


def test_no_gpu(report, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    found = report(["cupy-cuda12x"], fake_cupy(error="cudaErrorNoDevice"))
    assert (
        "problem: CuPy finds no usable GPU (CUDA_VISIBLE_DEVICES is ''): cudaErrorNoDevice. Check with nvidia-smi"
        in found
    )
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert "no usable GPU: cudaErrorNoDevice" in report(["cupy-cuda12x"], fake_cupy(error="cudaErrorNoDevice"))


def test_an_old_driver(report):
    found = report(["cupy-cuda13x"], fake_cupy(driver=12040, runtime=13000))
    assert "problem: the driver is for CUDA 12.4, older than CuPy's CUDA 13.0: update the driver" in found


def test_an_old_gpu_and_no_compiler(report):
    found = report(["cupy-cuda12x"], fake_cupy(major=6, compiles=False))
    assert "problem: GPU 0 has compute capability 6.1; the kernels are compiled for 7.0 and later" in found
    assert "problem: CuPy cannot compile kernels" in found


def test_an_unknown_blas_and_no_numba(monkeypatch, report):
    import threadpoolctl

    monkeypatch.setattr(threadpoolctl, "threadpool_info", list)
    monkeypatch.setattr(info, "_version", lambda package: None)
    found = report([])
    assert "problem: NumPy's BLAS is unknown to threadpoolctl" in found
    assert "pip install 'tinygrad_mnist[fast]'" in found


def test_no_problems(monkeypatch, report):
    monkeypatch.setattr(info, "_cpu", lambda: (["CPU: fine"], []))
    assert report([]).endswith("no problems found")
