"""Says which CUDA device the tests use, or why they have none."""

import subprocess
from pathlib import Path

import cuda_on_cpu
import pytest

import tinygrad_mnist as tg


def test_there_is_a_cuda_device() -> None:
    if cuda_on_cpu.MISSING:
        pytest.skip(cuda_on_cpu.MISSING)
    is_cpu = tg.cuda.get_device_name() == "CPU device"
    assert is_cpu == (cuda_on_cpu.COUNTERS is not None)


def test_gpu_check_says_that_there_is_no_gpu() -> None:
    if cuda_on_cpu.HAS_GPU:
        pytest.skip("this machine has a GPU")
    root = Path(__file__).parents[2]
    result = subprocess.run(["make", "gpu-check"], cwd=root, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert "make gpu-check needs an NVIDIA GPU and its driver, and finds none on this machine" in result.stderr
