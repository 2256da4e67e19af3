"""Ours against PyTorch on this machine: `python -m benchmarks kernels training --batch 64 512 --threads 2`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from tinygrad_mnist.kernels import compiled

from .data import data
from .environment import environment
from .gpu import gpu
from .kernels import kernels
from .processes import memory, race, startup
from .pytorch import WAYS, ways_that_run
from .steps import inference, scaling, training
from .timing import geometric_means, run

CASES = {"kernels": kernels, "training": training, "inference": inference, "scaling": scaling}
MOST_RACES = 3  # a pair of them takes two minutes
CPU_PARTS = (*CASES, "data", "memory", "race", "startup")
PARTS = (*CPU_PARTS, "gpu")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"{', '.join(PARTS)} (default: all but gpu)")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16, 64, 128, 512], metavar="N")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], metavar="N")
    parser.add_argument("--rounds", type=int, default=9, metavar="N", help="timed runs of each side (default: 9)")
    parser.add_argument("--against", choices=WAYS, nargs="+", default=list(WAYS), help="ways to use PyTorch")
    parser.add_argument("--only", default="", metavar="TEXT", help="only cases with this text in their name")
    parser.add_argument("--numpy-only", action="store_true", help="without compiled kernels")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers to this file")
    args = parser.parse_args()
    unknown = [part for part in args.parts if part not in PARTS]
    if unknown:
        parser.error(f"unknown part {unknown[0]!r}: expected {', '.join(PARTS)}")
    compiled.use_compiled(not args.numpy_only)
    rows = measure(args)
    if args.json:
        report = {"environment": environment(), "numpy_only": args.numpy_only, "rows": rows}
        args.json.write_text(json.dumps(report, indent=1) + "\n")


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of every part that is asked for."""
    rows: list[dict[str, Any]] = []
    parts = args.parts or list(CPU_PARTS)
    ways = ways_that_run(args.against) if set(parts) & set(CASES) else []
    for threads in args.threads:
        for part in parts:
            if part in CASES:
                cases = (case for case in CASES[part](args.batch, ways) if args.only in case.name)
                found = run(part, cases, args.rounds, threads)
                means = "  ".join(f"{name} {mean:.2f}" for name, mean in geometric_means(found).items())
                print(f"geometric mean over {len(found)} rows: {means}")
                rows += found
        if "data" in parts:
            rows += run("data", data(args.batch), args.rounds, threads)
        if "memory" in parts:
            rows += memory(args.batch, threads)
        if "race" in parts:
            rows += race(min(args.rounds, MOST_RACES), threads)
    if "startup" in parts:
        rows += startup(args.rounds)
    if "gpu" in parts:
        rows += gpu(args.rounds)
    return rows


if __name__ == "__main__":
    main()
