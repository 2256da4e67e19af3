"""Whole training steps of the example's CNN on a CUDA device."""

import re
from collections.abc import Callable
from typing import Any

import cuda_on_cpu
import numpy as np
import pytest

import tinygrad_mnist as tg
from tinygrad_mnist import datasets, models, nn, optim
from tinygrad_mnist.training import train_step
from tinygrad_mnist.training.step import RunningMean
from tinygrad_mnist.transforms import Compose, Normalize, ToTensor
from tinygrad_mnist.utils.data import DataLoader


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
    assert work["launches"] + work["library_calls"] <= 37, launched


def test_a_step_in_float16_casts_nothing(counters: cuda_on_cpu.Counters) -> None:
    """As many launches as float32, but for two: sum_parts rounds the bias gradients of the linear layers."""
    step = trainer("cuda", dtype="float16", lr=0.01, momentum=0.9)
    step(0)
    work = cuda_on_cpu.count(counters, lambda: step(1))
    launched = counters.launched(work["launches"])
    assert work["launches"] + work["library_calls"] <= 39, launched
    assert [name for name in launched if name.startswith("cupy_")] == ["cupy_fill"]


def test_a_step_of_fit_with_its_batch_waits_for_nothing(counters: cuda_on_cpu.Counters) -> None:
    """From the loader to the count of right answers; one of the kernels is CuPy's, which are slow to build."""
    dataset = datasets.MNIST(train=False, transform=Compose([ToTensor(), Normalize((0.1307,), (0.3081,))]))
    batches = iter(DataLoader(dataset.to("cuda"), 4, shuffle=True))
    model, mean = models.cnn().to("cuda"), RunningMean()
    optimizer = optim.SGD(model.parameters(), 0.01, 0.9)

    def step() -> None:
        inputs, targets = next(batches)
        mean.add(*train_step(model, optimizer, inputs, targets), targets)

    step()
    work = cuda_on_cpu.count(counters, step)
    launched = counters.launched(work["launches"])
    assert (work["synchronisations"], work["device_to_host"]) == (0, 0)
    assert work["host_to_device"] == 1  # the indices of the batch
    assert work["launches"] + work["library_calls"] <= 36, launched
    assert [name for name in launched if name.startswith("cupy_")] == ["cupy_fill"]
    assert mean.read() == pytest.approx([2.3, 2.3], abs=0.5)


def test_right_answers_to_mixed_images_are_counted_without_waiting(counters: cuda_on_cpu.Counters) -> None:
    mean = RunningMean()
    loss, outputs = tg.tensor(0.5, device="cuda"), tg.tensor([[1.0, 2.0, 0.0], [3.0, 2.0, 1.0]], device="cuda")
    targets = tg.tensor([[0.25, 0.75, 0.0], [0.5, 0.0, 0.5]], device="cuda")
    work = cuda_on_cpu.count(counters, lambda: mean.add(loss, outputs, targets))
    assert (work["synchronisations"], work["device_to_host"], work["host_to_device"]) == (0, 0, 0)
    mean.read()
    assert mean.accuracy == (0.75 + 0.5) / 2


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


@pytest.mark.parametrize("fresh", [False, True])
def test_a_batch_that_does_not_fit_says_which_would(fresh: bool, leave_memory: Callable[[int], None]) -> None:
    """What the message names does fit, and a quarter more does not."""
    model = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 784, 10)).to("cuda")
    optimizer = optim.Adam(model.parameters())
    x, t = tg.ones(40, 1, 28, 28, device="cuda"), tg.zeros(40, dtype=tg.int64, device="cuda")
    if not fresh:
        train_step(model, optimizer, x[:1], t[:1])
    leave_memory(4 * 2**20)
    text = r"tried to allocate (?s:.*) This batch has 40 images: (\d+) fit \(found by trying\)"
    with pytest.raises(tg.cuda.OutOfMemoryError, match=text) as raised:
        train_step(model, optimizer, x, t)
    found = re.search(text, str(raised.value))
    assert found
    fitting = int(found[1])
    train_step(model, optimizer, x[:fitting], t[:fitting])
    with pytest.raises(tg.cuda.OutOfMemoryError):
        train_step(model, optimizer, x[: fitting + max(fitting // 4, 2)], t[: fitting + max(fitting // 4, 2)])


def test_a_batch_of_which_not_even_one_image_fits(
    counters: cuda_on_cpu.Counters, leave_memory: Callable[[int], None]
) -> None:
    """Only where memory is counted to the byte: a GPU's pool has room left in blocks that are in use."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 1000)).to("cuda")
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    x, t = tg.ones(2, 1, 28, 28, device="cuda"), tg.zeros(2, dtype=tg.int64, device="cuda")
    leave_memory(1000)
    with pytest.raises(tg.cuda.OutOfMemoryError, match="This batch has 2 images: not even one fits, take a smaller"):
        train_step(model, optimizer, x, t)
