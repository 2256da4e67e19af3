"""How things are timed: checked first, then interleaved, then reported as quartiles beside the machine's peaks."""

from __future__ import annotations

import platform
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tinygrad_mnist.kernels import parallel

import tinygrad_mnist


@dataclass
class Case:
    """One piece of work, done by ours and by others; `check` raises if the results differ."""

    name: str
    ours: Callable[[], Any]
    theirs: dict[str, Callable[[], Any]]  # label -> the same work by PyTorch
    check: Callable[[], None]
    flops: float = 0  # what the work needs at least: operations,
    bytes: float = 0  # and memory read and written once
    images: int = 0


@dataclass
class Machine:
    """What this machine can do at most, measured in the same run."""

    flops: float  # of a large single-precision matrix product, a second
    bandwidth: float  # bytes read and written by a large copy, a second

    def floor(self, case: Case) -> float:
        """Seconds that `case` takes at the least."""
        return max(case.flops / self.flops, case.bytes / self.bandwidth)


def interleaved(works: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each work in each round. An untimed run goes before each timed one, so that none pays for what
    the one before it left behind: caches, threads that still wait for more."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            work()
            start = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def peaks() -> tuple[Callable[[], Any], Callable[[], Any], float, float]:
    """The two works that measure the machine, with their operations and bytes."""
    a = torch.rand(1536, 1536)
    source, target = np.ones(2**25, np.float32), np.zeros(2**25, np.float32)

    def copy() -> None:
        parallel.for_blocks(lambda start, stop: np.copyto(target[start:stop], source[start:stop]), source.size)

    return lambda: a @ a, copy, 2.0 * 1536**3, 2.0 * source.nbytes


def set_threads(n: int) -> None:
    """The same number of threads for both."""
    parallel.set_num_threads(n)
    torch.set_num_threads(n)


def run(cases: Iterator[Case], rounds: int, threads: int) -> list[dict[str, Any]]:
    """Check, time and print each case; one row a case, in the form of the JSON file."""
    set_threads(threads)
    multiply, copy, flops, nbytes = peaks()
    rows = []
    print(f"{'':42} {'ours':>9} {'quartiles':>17} " + f"{'floor':>6}  torch: ratio of medians")
    for case in cases:
        case.check()
        works = {"ours": case.ours, **case.theirs, "sgemm": multiply, "copy": copy}
        seconds = interleaved(works, rounds)
        quartiles = {name: np.quantile(s, [0.25, 0.5, 0.75]).tolist() for name, s in seconds.items()}
        machine = Machine(flops / quartiles["sgemm"][1], nbytes / quartiles["copy"][1])
        ours = quartiles["ours"]
        ratios = {name: quartiles[name][1] / ours[1] for name in case.theirs}
        row = {
            "name": case.name, "threads": threads, "rounds": rounds, "images": case.images, "seconds": quartiles,
            "ratios": ratios, "floor": machine.floor(case), "of_floor": machine.floor(case) / ours[1],
            "sgemm_gflops": machine.flops / 1e9, "copy_gbs": machine.bandwidth / 1e9,
        }  # fmt: skip
        rows.append(row)
        spread = f"{ours[0] * 1e3:.2f} to {ours[2] * 1e3:.2f}"
        against = "  ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items())
        print(f"{case.name:42} {ours[1] * 1e3:6.2f} ms {spread:>17} {row['of_floor']:6.2f}  {against}", flush=True)
    return rows


def environment() -> dict[str, Any]:
    """Where the numbers come from."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=Path(__file__).parent, capture_output=True, text=True
    )
    cpu = Path("/proc/cpuinfo")
    names = [line for line in cpu.read_text().splitlines() if line.startswith("model name")] if cpu.exists() else []
    return {
        "cpu": names[0].partition(":")[2].strip() if names else platform.processor(),
        "cpus": len(names),
        "system": platform.platform(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "tinygrad_mnist": tinygrad_mnist.__version__ if hasattr(tinygrad_mnist, "__version__") else "",
        "commit": commit.stdout.strip(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def relative_error(got: Any, expected: Any) -> float:
    """The largest difference, as a share of the largest number."""
    a, b = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    return float(np.abs(a - b).max() / np.abs(b).max())


def assert_close(got: Any, expected: Any, what: str, tolerance: float = 1e-5) -> None:
    """Raise unless the relative error is at most `tolerance`."""
    error = relative_error(got, expected)
    if not error <= tolerance:
        raise AssertionError(f"{what}: relative error {error:.2e}, expected at most {tolerance:.0e}")
