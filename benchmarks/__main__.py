"""`python -m benchmarks step inference layers startup --batch 64 512 --threads 2 --json results.json`"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tinygrad_mnist.kernels import compiled

from . import layers, steps
from .startup import startup
from .timing import environment, run

PARTS = {"step": steps.training, "inference": steps.inference, "layers": layers.layers}
KNOWN = [*PARTS, "startup"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", default=["step"], help=f"what to time: {', '.join(KNOWN)}")
    parser.add_argument("--batch", type=int, nargs="+", default=[64, 512])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15, help="timed runs of each side")
    parser.add_argument("--numpy-only", action="store_true", help="without compiled kernels")
    parser.add_argument("--json", type=Path, help="write all numbers to this file")
    args = parser.parse_args()
    unknown = [part for part in args.parts if part not in KNOWN]
    if unknown:
        parser.error(f"unknown part {unknown[0]!r}: expected {', '.join(KNOWN)}")
    compiled.use_compiled(not args.numpy_only)
    results = []
    for part in args.parts:
        if part == "startup":
            results += startup(args.rounds)
        else:
            results += run(PARTS[part](args.batch), args.rounds, args.threads)
    if args.json:
        report = {"environment": environment(), "numpy_only": args.numpy_only, "results": results}
        args.json.write_text(json.dumps(report, indent=1) + "\n")


main()
