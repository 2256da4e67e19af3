"""How things are timed: checked first, then interleaved, then reported as quartiles beside the machine's peaks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tinygrad_mnist.kernels import parallel

Work = Callable[[], Any]

BUSY = 0.7  # a matrix product at less than this of its best speed: something else ran, and slowed one side more
SHORTEST_SAMPLE = 0.002  # seconds: quicker work is repeated within a sample, or the clock and its call would count

SETTLING = 0.05  # seconds of untimed calls: PyTorch's threads were seen to keep a core for some 10 ms after its work


@dataclass
class Case:
    """One piece of work, done by ours and by others; `check` raises if the results differ."""

    name: str
    ours: Work
    theirs: dict[str, Work]  # way to use PyTorch -> the same work by it
    check: Callable[[], None]
    flops: float = 0  # what the work needs at least: operations,
    bytes: float = 0  # and memory read and written once
    batch: int = 0  # images; 0 for work that has none


@dataclass
class Machine:
    """What this machine can do at most, measured beside each case."""

    flops: float  # of a large single-precision matrix product, a second
    bandwidth: float  # bytes read and written by a large copy, a second

    def floor(self, case: Case) -> float:
        """Seconds that `case` takes at the least, if its data are not in a cache."""
        return max(case.flops / self.flops, case.bytes / self.bandwidth)


def calls_for_a_sample(work: Work) -> int:
    """How often `work` is called for one sample, so that the sample is not too short to time."""
    work()
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    return min(1000, max(1, round(SHORTEST_SAMPLE / max(seconds, 1e-9))))


def interleaved(works: dict[str, Work], rounds: int) -> dict[str, list[float]]:
    """Seconds of one call of each work, in each round. Untimed calls go before the timed ones, so that none pays for
    what the one before it left behind: caches, and OpenMP's threads, which wait busily for more and keep a core."""
    calls = {name: calls_for_a_sample(work) for name, work in works.items()}
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            settled = time.perf_counter() + SETTLING
            for _ in range(calls[name]):
                work()
            while time.perf_counter() < settled:
                work()
            start = time.perf_counter()
            for _ in range(calls[name]):
                work()
            seconds[name].append((time.perf_counter() - start) / calls[name])
    return seconds


def machine(rounds: int = 3) -> Machine:
    """The speed of a large matrix product and of a large copy, now, with the threads that are set."""
    a = torch.rand(1024, 1024)
    source, target = np.ones(2**24, np.float32), np.zeros(2**24, np.float32)

    def copy() -> None:
        parallel.for_blocks(lambda start, stop: np.copyto(target[start:stop], source[start:stop]), source.size)

    seconds = interleaved({"sgemm": lambda: a @ a, "copy": copy}, rounds)
    sgemm, copying = (float(np.median(seconds[name])) for name in ("sgemm", "copy"))
    return Machine(2.0 * 1024**3 / sgemm, 2.0 * source.nbytes / copying)


def set_threads(n: int) -> None:
    """The same number of threads for both."""
    parallel.set_num_threads(n)
    torch.set_num_threads(n)


def run(part: str, cases: Iterable[Case], rounds: int, threads: int) -> list[dict[str, Any]]:
    """Check, time and print each case; one row a case, in the form of the JSON file."""
    set_threads(threads)
    print(f"\n{part}, threads: {threads}, rounds: {rounds}")
    print(f"{'':54} {'ours':>8}    {'quartiles':^18} {'floor':>5}  others' medians over ours")
    rows: list[dict[str, Any]] = []
    before = machine()
    for case in cases:
        case.check()
        seconds = interleaved({"ours": case.ours, **case.theirs}, rounds)
        after = machine()
        rows.append({"part": part, "threads": threads, **row(case, before, after, seconds)})
        print(line(rows[-1]) + ("  (busy machine)" if rows[-1] in busy(rows) else ""), flush=True)
        before = after
    return rows


def row(case: Case, before: Machine, after: Machine, seconds: dict[str, list[float]]) -> dict[str, Any]:
    """What is kept of a case's samples. A ratio is of medians; its quartiles are of the rounds' own ratios."""
    peak = Machine(max(before.flops, after.flops), max(before.bandwidth, after.bandwidth))
    quartiles = {name: np.quantile(s, [0.25, 0.5, 0.75]).tolist() for name, s in seconds.items()}
    ours = quartiles["ours"][1]
    by_round = {name: np.divide(seconds[name], seconds["ours"]) for name in case.theirs}
    return {
        "name": case.name,
        "batch": case.batch,
        "rounds": len(seconds["ours"]),
        "seconds": quartiles,
        "ratios": {name: quartiles[name][1] / ours for name in case.theirs},
        "ratio_quartiles": {name: np.quantile(r, [0.25, 0.75]).tolist() for name, r in by_round.items()},
        "floor": peak.floor(case),
        "of_floor": peak.floor(case) / ours,
        "sgemm_gflops": [before.flops / 1e9, after.flops / 1e9],
        "copy_gbs": [before.bandwidth / 1e9, after.bandwidth / 1e9],
    }


def busy(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows beside which the matrix product was slow, for the best of these rows: their ratios mean little."""
    best: dict[int, float] = {}
    for row in rows:
        best[row["threads"]] = max(best.get(row["threads"], 0), *row["sgemm_gflops"])
    return [row for row in rows if min(row["sgemm_gflops"]) < BUSY * best[row["threads"]]]


def line(row: dict[str, Any]) -> str:
    """A row as it is printed."""
    low, median, high = (1e3 * s for s in row["seconds"]["ours"])
    against = "  ".join(f"{name} {ratio:.2f}" for name, ratio in row["ratios"].items())
    spread = f"{low:.3f} to {high:.3f}"
    return f"{row['name']:54} {median:8.3f} ms {spread:^18} {row['of_floor']:5.2f}  {against}"


def geometric_means(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Way to use PyTorch -> the geometric mean of its ratios over the rows that have it."""
    ratios: dict[str, list[float]] = {}
    for row in rows:
        for name, ratio in row["ratios"].items():
            ratios.setdefault(name, []).append(ratio)
    return {name: float(np.exp(np.mean(np.log(r)))) for name, r in ratios.items()}


def relative_error(got: Any, expected: Any) -> float:
    """The largest difference, as a share of the largest number."""
    a, b = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    if a.shape != b.shape:
        raise AssertionError(f"shape {a.shape}, expected {b.shape}")
    return float(np.abs(a - b).max() / np.abs(b).max())


def assert_close(got: Any, expected: Any, what: str, tolerance: float = 1e-5) -> None:
    """Raise unless the relative error is at most `tolerance`."""
    error = relative_error(got, expected)
    if not error <= tolerance:
        raise AssertionError(f"{what}: relative error {error:.2e}, expected at most {tolerance:.0e}")
