"""Whole training steps of the example's CNN on a CUDA device."""

from typing import Any

import cuda_on_cpu
import numpy as np
import pytest

import tinygrad_mnist as tg
from tinygrad_mnist import models, optim
from tinygrad_mnist.training import train_step


def trainer(device: str, optimizer: Any = optim.SGD, dtype: str = "float32", **options: Any) -> Any:
    """A function that makes a training step and returns its loss."""
    tg.manual_seed(0)
    rng = np.random.default_rng(0)
    model = models.cnn(dropout1=0.25, dropout2=0.5).to(device, np.dtype(dtype))
    steps = optimizer(model.parameters(), **options)
    batches = [
        (
            tg.tensor(rng.random((4, 1, 28, 28), np.float32).astype(dtype), device=device),
            tg.tensor(rng.integers(0, 10, 4), device=device),
        )
        for _ in range(5)
    ]

    def step(i: int) -> Any:
        return train_step(model, steps, *batches[i % len(batches)])[0]

    return step


def losses(n: int, *arguments: Any, **options: Any) -> list[Any]:
    """The losses of n steps of a new trainer, not read yet."""
    step = trainer(*arguments, **options)
    return [step(i) for i in range(n)]


def test_the_losses_are_those_of_the_cpu() -> None:
    """Dropout included: a seed drops the same on both devices."""
    expected, got = ([loss.item() for loss in losses(20, device, lr=0.05, momentum=0.9)] for device in ("cpu", "cuda"))
    worst = np.abs(np.subtract(got, expected)).max()
    assert worst <= 1e-4, (got, expected)


def test_the_losses_are_those_of_the_cpu_with_adam() -> None:
    """In float64: Adam divides by the size of a gradient, however small, and so makes rounding errors large."""
    expected, got = (
        [loss.item() for loss in losses(5, device, optim.Adam, "float64", lr=1e-3)] for device in ("cpu", "cuda")
    )
    worst = np.abs(np.subtract(got, expected)).max()
    assert worst <= 1e-9, (got, expected)


def test_a_step_waits_for_nothing_and_launches_little(counters: cuda_on_cpu.Counters) -> None:
    step = trainer("cuda", lr=0.01, momentum=0.9)
    step(0)
    work = cuda_on_cpu.count(counters, lambda: step(1))
    assert work["synchronisations"] == 0
    assert work["device_to_host"] == work["host_to_device"] == 0
    launched = counters.launched(work["launches"])
    assert work["launches"] + work["library_calls"] <= 40, launched


def test_two_runs_give_the_same_bits() -> None:
    first, second = ([loss.item() for loss in losses(3, "cuda", lr=0.05, momentum=0.9)] for _ in range(2))
    assert first == second


def test_a_step_gives_its_memory_back(counters: cuda_on_cpu.Counters) -> None:
    step = trainer("cuda", lr=0.05)
    step(0)
    used = counters.memory_used
    for i in range(3):
        step(i)
    assert counters.memory_used == used


def test_a_batch_that_does_not_fit_says_which_would(counters: cuda_on_cpu.Counters) -> None:
    step = trainer("cuda", lr=0.05)
    step(0)
    counters.memory_limit = counters.memory_used + 2**19
    with pytest.raises(tg.cuda.OutOfMemoryError, match=r"tried to allocate .* This batch has 4 images: try 2"):
        step(1)
