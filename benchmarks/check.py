"""`make bench-check`: are we still as fast against PyTorch as `benchmarks/expected.json` says?

It measures a few kernels, steps and inferences, and fails if a ratio is below the committed one by more than three
times the noise that was measured for it. Ratios hold for one kind of processor; after a change that is meant, or on
another machine, write new ones from the results of several runs:

    for i in 1 2 3 4 5; do python -m benchmarks.check --json run$i.json; done
    python -m benchmarks.check --write run*.json
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from . import kernels, pytorch, steps
from .environment import cpu, environment
from .timing import run

EXPECTED = Path(__file__).parent / "expected.json"
LEAST_NOISE = 0.03  # the noise of few runs can be small by chance
ALLOWED = 3  # times the noise
THREADS, ROUNDS = 2, 7


def measure(kernel_batch: int = 64, batches: tuple[int, ...] = (64, 512), rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """The rows that are compared, against eager PyTorch: less than two minutes on two cores."""
    ways = [pytorch.EAGER]
    networks = ("cnn", "lenet", "batch_norm_cnn")
    wanted = {f"{network}, batch {batch}" for network in networks for batch in batches}
    rows = run("kernels", kernels.kernels([kernel_batch], ways), rounds, THREADS)
    for part, cases in [("training", steps.training), ("inference", steps.inference)]:
        rows += run(part, cases(list(batches), ways, wanted), rounds, THREADS)
    return rows


def ratios(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Name -> PyTorch's median over ours."""
    return {f"{row['part']}: {row['name']}": row["ratios"][pytorch.EAGER] for row in rows}


def expectations(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """What is committed: of each ratio the median of the runs, and as its noise the largest deviation from that."""
    if len(runs) < 3:
        raise ValueError(f"expected the results of at least 3 runs, to know the noise; got {len(runs)}")
    found = [ratios(run["rows"]) for run in runs]
    expected = {}
    for name in found[0]:
        values = np.log([each[name] for each in found])
        noise = float(np.abs(values - np.median(values)).max())
        expected[name] = {"ratio": round(float(np.exp(np.median(values))), 3), "noise": round(noise, 3)}
    return {"environment": runs[0]["environment"], "runs": len(runs), "ratios": expected}


def slower(rows: list[dict[str, Any]], expected: dict[str, dict[str, float]]) -> list[str]:
    """One line for each ratio that is missing, is no number, or fell by more than the noise."""
    lines, found = [], ratios(rows)
    for name, was in expected.items():
        least = was["ratio"] * float(np.exp(-ALLOWED * max(was["noise"], LEAST_NOISE)))
        now = found.get(name)
        if now is None:
            lines.append(f"{name}: was not measured")
        elif not now >= least:
            lines.append(f"{name}: {now:.2f}, expected {was['ratio']:.2f} and at least {least:.2f}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.check", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="only measure, and write the rows to this file")
    parser.add_argument("--write", type=Path, nargs="+", metavar="FILE", help="write expected.json from these files")
    args = parser.parse_args()
    if args.write:
        expected = expectations([json.loads(path.read_text()) for path in args.write])
        EXPECTED.write_text(json.dumps(expected, indent=1) + "\n")
        return
    if args.json:
        args.json.write_text(json.dumps({"environment": environment(), "rows": measure()}, indent=1) + "\n")
        return
    expected = json.loads(EXPECTED.read_text())
    if cpu() != expected["environment"]["cpu"]:
        parser.error(f"the ratios hold for {expected['environment']['cpu']}, this is {cpu()}: write new ones (--help)")
    lines = slower(measure(), expected["ratios"])
    print("\n" + ("\n".join(["slower than expected:", *lines]) if lines else "as fast as expected"))
    sys.exit(bool(lines))


if __name__ == "__main__":
    main()
