"""What is measured in processes of their own: importing, memory, and the whole way to 99 % test accuracy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

AIM = 0.99  # test accuracy of the race
EVERY_SHAPE = 1056  # images: batches of 64 and 32, as there are of 60,000, and of 1,000 in the test
LIBRARIES = {"ours": "tinygrad_mnist", "eager": "torch"}
IMPORT = "import time, numpy; start = time.perf_counter(); import {name}; print(time.perf_counter() - start)"


def startup(rounds: int) -> list[dict[str, Any]]:
    """Seconds that importing each library adds to `import numpy`, with bytecode."""
    with tempfile.TemporaryDirectory() as cache:
        commands = {
            who: [sys.executable, "-X", f"pycache_prefix={cache}", "-c", IMPORT.format(name=name)]
            for who, name in LIBRARIES.items()
        }
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        seconds: dict[str, list[float]] = {who: [] for who in LIBRARIES}
        for _ in range(rounds + 1):
            for who, command in commands.items():
                seconds[who].append(float(_output(command, env=environment)))
    # the first one wrote the bytecode
    return [_row("startup", "import, after numpy", {who: s[1:] for who, s in seconds.items()})]


def memory(batches: list[int], rounds: int, threads: int, ways: list[str]) -> list[dict[str, Any]]:
    """The most memory of a process that takes training steps of the example CNN."""
    rows = []
    for batch in batches:
        flags = ["memory", "--batch", str(batch), "--threads", str(threads)]
        found: dict[str, list[float]] = {who: [] for who in ("ours", *ways)}
        for _ in range(rounds):
            for who, values in found.items():
                values.append(_fresh(who, flags)["bytes"] / 2**20)
        rows.append(_row("memory", f"peak memory of a training process, batch {batch}", found, "MiB", threads))
    return rows


def race(
    rounds: int, threads: int, ways: list[str], epochs: int = 2, images: int = 60_000
) -> list[dict[str, Any]]:
    """MNIST to 99 % test accuracy, from the start of a process to its end, and one epoch of that; each round has a seed
    of its own. A short run before, which is not timed, fills the caches of compiled code of all of them."""
    flags = ["race", "--threads", str(threads)]
    racers = ("ours", *ways)
    whole: dict[str, list[float]] = {who: [] for who in racers}
    epoch: dict[str, list[float]] = {who: [] for who in racers}
    accuracy: dict[str, list[float]] = {who: [] for who in racers}
    for who in racers:
        _fresh(who, [*flags, "--epochs", "1", "--images", str(min(images, EVERY_SHAPE))])
    for seed in range(1, rounds + 1):
        for who in racers:
            start = time.perf_counter()
            found = _fresh(who, [*flags, "--epochs", str(epochs), "--images", str(images), "--seed", str(seed)])
            whole[who].append(time.perf_counter() - start)
            epoch[who].append(found["epochs"][-1])
            accuracy[who].append(found["accuracy"])
    rows = [
        _row("race", f"one epoch of {images} images", epoch, "s", threads),
        _row("race", f"{epochs} epochs and test, from process start", whole, "s", threads),
    ]
    rows[-1] |= {"accuracy": accuracy, "note": accuracies(accuracy)}
    print(rows[-1]["note"])
    return rows


def accuracies(found: dict[str, list[float]]) -> str:
    """A line with each run's test accuracy, which says who did not reach the aim."""
    said = []
    for who, values in found.items():
        short = sum(not value >= AIM for value in values)
        runs = ", ".join(f"{100 * value:.2f}" for value in values)
        said.append(f"{who} {runs}" + (f" ({short} of {len(values)} did not reach {AIM:.0%})" if short else ""))
    return "Test accuracy in %, by seed: " + "; ".join(said)


def _fresh(who: str, flags: list[str]) -> dict[str, Any]:
    """What benchmarks/fresh.py prints in a process of ours, or of PyTorch's in the way `who`."""
    library = [LIBRARIES["ours"]] if who == "ours" else [LIBRARIES["eager"], "--way", who]
    command = [sys.executable, "-m", "benchmarks.fresh", *library, *flags]
    return json.loads(_output(command, cwd=Path(__file__).parent.parent))


def _output(command: list[str], **options: Any) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, **options).stdout


def _row(
    part: str, name: str, found: dict[str, list[float]], unit: str = "s", threads: int | None = None
) -> dict[str, Any]:
    """A row of the JSON file, which is printed too. As elsewhere, a ratio is PyTorch's median over ours."""
    quartiles = {who: np.quantile(values, [0.25, 0.5, 0.75]).tolist() for who, values in found.items()}
    (low, ours, high), n = quartiles["ours"], len(found["ours"])
    ratios = {who: q[1] / ours for who, q in quartiles.items() if who != "ours"}
    theirs = "".join(f", {who} {quartiles[who][1]:.4g} {unit}: {ratio:.2f}" for who, ratio in ratios.items())
    print(f"{name}: {ours:.4g} {unit} ({low:.4g} to {high:.4g}, n = {n}){theirs}", flush=True)
    kind = "seconds" if unit == "s" else unit
    return {"part": part, "name": name, "threads": threads, "rounds": n, kind: quartiles, "ratios": ratios}
