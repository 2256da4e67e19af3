"""What a fresh process runs for one library, so that only one is in memory; it prints a line of JSON.

    python -m benchmarks.fresh tinygrad_mnist memory --batch 512
    python -m benchmarks.fresh torch race --epochs 2 --way compile
"""

from __future__ import annotations

import argparse
import gzip
import importlib
import json
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .networks import cnn

MNIST = Path(__file__).parent.parent / "tinygrad_mnist" / "datasets" / "mnist"
MEAN, STD = 0.1307, 0.3081
Batches = Iterator[tuple[Any, Any]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library", choices=["tinygrad_mnist", "torch"])
    parser.add_argument("work", choices=["memory", "race"])
    parser.add_argument("--way", choices=["eager", "channels_last", "compile"], default="eager", help="to use PyTorch")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--images", type=int, default=60_000, help="train, and test, on the first ones only")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    start = time.perf_counter()
    library = importlib.import_module(args.library)
    library.set_num_threads(args.threads)
    imported = time.perf_counter() - start
    found = memory(library, args) if args.work == "memory" else race(library, args)
    print(json.dumps({"import": imported, **found}))


def network(library: Any, way: str) -> Any:
    """The example CNN. Images of one channel are channels_last as they are."""
    model = cnn(library.nn)
    if way == "channels_last":
        return model.to(memory_format=library.channels_last)
    if way == "compile":
        from .pytorch import compiled  # here, so that PyTorch's compiler is in no other process

        return compiled(model)
    return model


def memory(library: Any, args: argparse.Namespace) -> dict[str, float]:
    """The most memory that this process had, in bytes: interpreter, library, network, batch, three training steps."""
    model = network(library, args.way)
    optimizer = library.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    rng = np.random.default_rng(0)
    x = library.from_numpy(rng.standard_normal((args.batch, 1, 28, 28), np.float32))
    t = library.from_numpy(rng.integers(0, 10, args.batch))
    before = peak_memory()
    for _ in range(3):
        step(library, model, optimizer, x, t)
    return {"bytes": peak_memory(), "bytes_before_the_steps": before}


def peak_memory() -> float:
    """The most resident memory that this process had so far."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count what the process that started this one had, too
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return 1024.0 * int(line.split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak if sys.platform == "darwin" else 1024 * peak)


def race(library: Any, args: argparse.Namespace) -> dict[str, Any]:
    """Train on MNIST as examples/train_cnn.py does; seconds of each part, and the test accuracy at the end."""
    start = time.perf_counter()
    open_data = our_data if library.__name__ == "tinygrad_mnist" else torch_data
    train, test = open_data(library, args.images, args.batch)
    library.manual_seed(args.seed)
    model = network(library, args.way)
    optimizer = library.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=0.001)
    steps = args.epochs * -(-args.images // args.batch)
    schedule = library.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=steps, cycle_momentum=False)
    loaded, epochs = time.perf_counter(), []
    for _ in range(args.epochs):
        began = time.perf_counter()
        for x, t in train():
            step(library, model, optimizer, x, t)
            schedule.step()
        epochs.append(time.perf_counter() - began)
    began = time.perf_counter()
    model.eval()
    right = images = 0
    with library.no_grad():
        for x, t in test():
            right += int((model(x).argmax(1) == t).sum())
            images += len(t)
    tested = time.perf_counter() - began
    return {"load": loaded - start, "epochs": epochs, "test": tested, "accuracy": right / images}


def step(library: Any, model: Any, optimizer: Any, x: Any, t: Any) -> None:
    """One training step, which reads the same in both libraries."""
    optimizer.zero_grad()
    library.nn.functional.cross_entropy(model(x), t).backward()
    optimizer.step()


def our_data(library: Any, images: int, batch: int) -> Any:
    """Our own data sets and loaders."""
    from tinygrad_mnist import datasets, transforms
    from tinygrad_mnist.utils.data import DataLoader, Subset

    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((MEAN,), (STD,))])
    train, test = (datasets.MNIST(train=part, transform=transform) for part in (True, False))
    loader = DataLoader(Subset(train, range(images)), batch, shuffle=True)
    return loader.__iter__, DataLoader(Subset(test, range(min(images, len(test)))), 1000).__iter__


def torch_data(torch: Any, images: int, batch: int) -> Any:
    """The same files as tensors, whose batches are taken by index: several times faster than PyTorch's loader."""

    def read(name: str, header: int, shape: tuple[int, ...]) -> Any:
        data = gzip.decompress((MNIST / f"{name}-ubyte.gz").read_bytes())
        return torch.from_numpy(np.frombuffer(data, np.uint8, offset=header).reshape(shape).copy())

    def part(name: str) -> tuple[Any, Any]:
        x = read(f"{name}-images-idx3", 16, (-1, 1, 28, 28))
        return x.float().div_(255).sub_(MEAN).div_(STD), read(f"{name}-labels-idx1", 8, (-1,)).long()

    (x, t), (test_x, test_t) = part("train"), part("t10k")

    def train() -> Batches:
        for chosen in torch.randperm(images).split(batch):
            yield x[chosen], t[chosen]

    return train, lambda: zip(test_x[:images].split(1000), test_t[:images].split(1000), strict=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:  # the process that started this one says so
        sys.exit(130)
