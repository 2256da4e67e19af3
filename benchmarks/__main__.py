"""Ours against PyTorch on this machine: `python -m benchmarks kernels training --batch 64 512 --threads 2`.

Parts: kernels, training (one SGD step of each network), inference, scaling (a step against batch, image size, channels;
see benchmarks.plot), data (loading and augmenting), memory, race (MNIST in fresh processes), startup (importing), gpu.

All of them take hours on two cores; fewer batches, --rounds or --against, and --only what is wanted, take less. It ends
with the results as the Markdown tables of docs/performance.md; `python -m benchmarks.tables` writes them there.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from typing import Any

from tinygrad_mnist.kernels import compiled

from tinygrad_mnist.utils.cli import new_file, number, tidy_exit

from . import tables, timing
from .data import data, waiting
from .environment import cpus, environment
from .gpu import gpu
from .kernels import kernels
from .processes import memory, race, startup
from .pytorch import WAYS, ways_that_run
from .steps import inference, scaling, training
from .timing import Case, geometric_means, run

CASES = {"kernels": kernels, "training": training, "inference": inference, "scaling": scaling}
MOST_PROCESSES = 3  # of each side: the race takes six minutes for ours and three ways to use PyTorch
CPU_PARTS = (*CASES, "data", "memory", "race", "startup")
PARTS = (*CPU_PARTS, "gpu")
WITH_WAYS = {*CASES, "memory", "race"}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    whole = number(int, 1)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"{', '.join(PARTS)} (default: all but gpu)")
    parser.add_argument("--batch", type=whole, nargs="+", default=[1, 16, 64, 128, 512], metavar="N")
    threads = number(int, 1, cpus())
    parser.add_argument("--threads", type=threads, nargs="+", default=sorted({1, min(2, cpus())}), metavar="N")
    parser.add_argument("--rounds", type=whole, default=9, metavar="N", help="timed runs of each side (default: 9)")
    parser.add_argument("--against", choices=WAYS, nargs="+", default=list(WAYS), help="ways to use PyTorch")
    only = "only cases whose name has what this regular expression matches"
    parser.add_argument("--only", type=pattern, default=re.compile(""), metavar="REGEX", help=only)
    parser.add_argument("--numpy-only", action="store_true", help="without compiled kernels")
    parser.add_argument("--json", type=new_file, metavar="FILE", help="write all numbers to this file")
    args = parser.parse_args()
    unknown = [part for part in args.parts if part not in PARTS]
    if unknown:
        parser.error(f"unknown part {unknown[0]!r}: expected {', '.join(PARTS)}")
    compiled.use_compiled(not args.numpy_only)
    rows: list[dict[str, Any]] = []
    with tidy_exit(parser, "Stopped"):
        try:
            for more in measure(args):
                rows += more
        finally:  # what was measured before an error or Ctrl-C is kept
            if rows:
                found = report(rows, args)
                if args.json:
                    args.json.write_text(json.dumps(found, indent=1) + "\n")
                print("", *tables.every_block([found]), sep="\n\n")
        if not rows:
            raise ValueError(f"no case has {args.only.pattern!r} in its name: without --only all of them are listed")


def pattern(text: str) -> re.Pattern[str]:
    """A type of flag: a regular expression."""
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no regular expression: {error}") from error


def report(rows: list[dict[str, Any]], args: argparse.Namespace) -> dict[str, Any]:
    """The JSON file: where the numbers come from, what the machine can do at most, and the rows."""
    return {
        "environment": environment(),
        "command": sys.argv[1:],
        "numpy_only": args.numpy_only,
        "sgemm_gflops": {threads: _sgemm_gflops(threads) for threads in args.threads},
        "rows": rows,
    }


def _sgemm_gflops(threads: int) -> float:
    timing.set_threads(threads)
    return timing.machine().flops / 1e9


def measure(args: argparse.Namespace) -> Iterator[list[dict[str, Any]]]:
    """The rows of each part that is asked for."""
    parts = args.parts or list(CPU_PARTS)
    ways = ways_that_run(args.against) if set(parts) & WITH_WAYS else []
    for threads in args.threads:
        for part in parts:
            if part in CASES:
                yield _timed(part, CASES[part](args.batch, ways), args, threads)
        if "data" in parts:
            yield _timed("data", data(args.batch), args, threads)
            yield waiting(args.batch, args.rounds, threads, args.only)
        if "memory" in parts:
            yield memory(args.batch, min(args.rounds, MOST_PROCESSES), threads, ways)
        if "race" in parts:
            yield race(min(args.rounds, MOST_PROCESSES), threads, ways)
    if "startup" in parts:
        yield startup(args.rounds)
    if "gpu" in parts:
        yield gpu(args.rounds)


def _timed(part: str, cases: Iterator[Case], args: argparse.Namespace, threads: int) -> list[dict[str, Any]]:
    rows = run(part, (case for case in cases if args.only.search(case.name)), args.rounds, threads)
    if rows:
        means = "  ".join(f"{name} {mean:.2f}" for name, mean in geometric_means(rows).items())
        print(f"geometric mean over {len(rows)} rows: {means}")
    return rows


if __name__ == "__main__":
    main()
