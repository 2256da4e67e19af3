"""What the data cost: loading them beside only decompressing them, steps from a loader beside steps on one batch, and
how long each of those steps waits for its batch."""

from __future__ import annotations

import gzip
import re
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

import tinygrad_mnist as tg
from tinygrad_mnist import datasets, nn, optim, transforms
from tinygrad_mnist.utils.data import DataLoader, Subset

from .fresh import MEAN, MNIST, STD
from .networks import NETWORKS
from .pair import flops
from .timing import Case, Work, assert_close, set_threads

STEPS = 20
FILES = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
NORMALISE = [transforms.ToTensor(), transforms.Normalize((MEAN,), (STD,))]
AUGMENT = [transforms.RandomAffine(10, translate=(0.1, 0.1), scale=(0.9, 1.1), shear=5)]


def data(batches: list[int]) -> Iterator[Case]:
    """Loading the training set, then training steps whose batches a loader shuffles, augments and normalises."""
    yield _loading()
    for name, loader in _loaders(batches):
        yield _steps(f"{STEPS} steps on {name}", loader)


def waiting(batches: list[int], rounds: int, threads: int, only: re.Pattern[str]) -> list[dict[str, Any]]:
    """How long a training step waits for its batch, between steps that have emptied the caches; prints each row."""
    set_threads(threads)
    rows = []
    for name, loader in _loaders(batches):
        if only.search(name):
            waits: list[float] = []
            steps = _train(loader, waits)
            steps()
            waits.clear()
            began = time.perf_counter()
            for _ in range(rounds):
                steps()
            step = (time.perf_counter() - began) / len(waits)
            low, median, high = np.quantile(waits, [0.25, 0.5, 0.75]).tolist()
            print(
                f"waiting for {name}: {1e3 * median:.3g} ms ({1e3 * low:.3g} to {1e3 * high:.3g}, n = {len(waits)}), "
                f"{median / step:.1%} of a step"
            )
            seconds = {"ours": [low, median, high], "step": [step] * 3}
            rows.append({
                "part": "data", "name": f"waiting for {name}", "batch": loader.batch_size, "threads": threads,
                "rounds": len(waits), "seconds": seconds, "ratios": {"step": step / median},
            })  # fmt: skip
    return rows


def _loaders(batches: list[int]) -> Iterator[tuple[str, DataLoader]]:
    """Loaders of STEPS batches each, without and with augmentation."""
    for batch in batches:
        for name, first in [("shuffled", []), ("shuffled and augmented", AUGMENT)]:
            images = datasets.MNIST(transform=transforms.Compose(first + NORMALISE))
            yield f"{name} images, batch {batch}", DataLoader(Subset(images, range(STEPS * batch)), batch, shuffle=True)


def _loading() -> Case:
    def decompress() -> list[bytes]:
        return [gzip.decompress((MNIST / name).read_bytes()) for name in FILES]

    def check() -> None:
        images = np.frombuffer(decompress()[0], np.uint8, offset=16)
        assert_close(datasets.MNIST().data.numpy().ravel(), images, "loaded images", 0)

    work = {"decompressing": decompress}
    return Case("loading 60,000 images and labels", datasets.MNIST, work, check, bytes=60_000 * 785)


def _steps(name: str, loader: DataLoader) -> Case:
    again, batch = [next(iter(loader))] * STEPS, loader.batch_size or 0

    def check() -> None:
        x, t = again[0]
        if x.shape != (batch, 1, 28, 28) or t.shape != (batch,) or len(loader) != STEPS:
            raise AssertionError(f"{name}: {len(loader)} batches of {x.shape} images and {t.shape} labels")

    floor = STEPS * batch * flops(NETWORKS["cnn"])[1]
    return Case(name, _train(loader), {"on one batch": _train(again)}, check, floor, batch=batch)


def _train(batches: DataLoader | list[tuple[tg.Tensor, tg.Tensor]], waits: list[float] | None = None) -> Work:
    """An epoch of training steps; the seconds that each waited for its batch go into `waits`."""
    model = NETWORKS["cnn"].build(nn)
    optimizer = optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)

    def train() -> None:
        source, asked = iter(batches), time.perf_counter()
        for x, t in source:
            if waits is not None:
                waits.append(time.perf_counter() - asked)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), t).backward()
            optimizer.step()
            asked = time.perf_counter()

    return train
