"""What the data cost: loading them beside only decompressing them, steps from a loader beside steps on one batch."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

import numpy as np

import tinygrad_mnist as tg
from tinygrad_mnist import datasets, nn, optim, transforms
from tinygrad_mnist.utils.data import DataLoader, Subset

from .fresh import MEAN, MNIST, STD
from .networks import NETWORKS
from .pair import flops
from .timing import Case, Work, assert_close

STEPS = 20
FILES = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
NORMALISE = [transforms.ToTensor(), transforms.Normalize((MEAN,), (STD,))]
AUGMENT = [transforms.RandomAffine(10, translate=(0.1, 0.1), scale=(0.9, 1.1), shear=5)]


def data(batches: list[int]) -> Iterator[Case]:
    """Loading the training set, then training steps whose batches a loader shuffles, augments and normalises."""
    yield _loading()
    for batch in batches:
        for name, first in [("shuffled", []), ("shuffled and augmented", AUGMENT)]:
            yield _steps(f"{STEPS} steps on {name} images, batch {batch}", transforms.Compose(first + NORMALISE), batch)


def _loading() -> Case:
    def decompress() -> list[bytes]:
        return [gzip.decompress((MNIST / name).read_bytes()) for name in FILES]

    def check() -> None:
        images = np.frombuffer(decompress()[0], np.uint8, offset=16)
        assert_close(datasets.MNIST().data.numpy().ravel(), images, "loaded images", 0)

    work = {"decompressing": decompress}
    return Case("loading 60,000 images and labels", datasets.MNIST, work, check, bytes=60_000 * 785)


def _steps(name: str, transform: transforms.Compose, batch: int) -> Case:
    loader = DataLoader(Subset(datasets.MNIST(transform=transform), range(STEPS * batch)), batch, shuffle=True)
    again = [next(iter(loader))] * STEPS

    def check() -> None:
        x, t = again[0]
        if x.shape != (batch, 1, 28, 28) or t.shape != (batch,) or len(loader) != STEPS:
            raise AssertionError(f"{name}: {len(loader)} batches of {x.shape} images and {t.shape} labels")

    floor = STEPS * batch * flops(NETWORKS["cnn"])[1]
    return Case(name, _train(loader), {"on one batch": _train(again)}, check, floor, batch=batch)


def _train(batches: DataLoader | list[tuple[tg.Tensor, tg.Tensor]]) -> Work:
    model = NETWORKS["cnn"].build(nn)
    optimizer = optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)

    def train() -> None:
        for x, t in batches:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), t).backward()
            optimizer.step()

    return train
