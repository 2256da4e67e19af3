"""Says which CUDA device the tests use, or why they have none."""

import cuda_on_cpu
import pytest

import tinygrad_mnist as tg


def test_there_is_a_cuda_device() -> None:
    if cuda_on_cpu.MISSING:
        pytest.skip(cuda_on_cpu.MISSING)
    is_cpu = tg.cuda.get_device_name() == "CPU device"
    assert is_cpu == (cuda_on_cpu.COUNTERS is not None)
