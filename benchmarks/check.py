"""`make bench-check`: are we still as fast against PyTorch as `benchmarks/expected.json` says?

It measures kernels, steps and inferences, and fails if a ratio is below the committed one by more than three
times the noise that was measured for it. Ratios hold for one kind of processor; after a change that is meant, or on
another machine, write new ones from the results of several runs,
whole ones or parts:

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
from .timing import busy, run

EXPECTED = Path(__file__).parent / "expected.json"
LEAST_NOISE = 0.04  # the noise of few runs can be small by chance
ALLOWED = 3  # times the noise
THREADS, ROUNDS = 2, 5


def measure(kernel_batch: int = 64, batches: tuple[int, ...] = (64, 512), rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """The rows of which the ratios to eager PyTorch are compared: less than two minutes on two cores."""
    ways = [pytorch.EAGER, pytorch.CHANNELS_LAST]
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
    """What is committed of each ratio: the median of the runs that have it, and as its noise the larger of the runs'
    largest deviation from that and half of what lies between the quartiles of a run's rounds. Without busy rows."""
    found: dict[str, list[tuple[float, float]]] = {}
    for report in runs:
        spoilt = busy(report["rows"])
        for row in report["rows"]:
            if row not in spoilt:
                low, high = np.log(row["ratio_quartiles"][pytorch.EAGER])
                name = f"{row['part']}: {row['name']}"
                found.setdefault(name, []).append((float(np.log(row["ratios"][pytorch.EAGER])), (high - low) / 2))
    expected = {}
    for name, values in found.items():
        logs, within = (np.array(column) for column in zip(*values, strict=True))
        noise = float(max(np.abs(logs - np.median(logs)).max(), within.max()))
        expected[name] = {"ratio": round(float(np.exp(np.median(logs))), 3), "noise": round(noise, 3), "n": len(logs)}
    return {"environment": runs[0]["environment"], "ratios": expected}


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
    rows = measure()
    if busy(rows):
        parser.error(f"the machine was busy during {len(busy(rows))} of {len(rows)} rows: stop what else runs")
    lines = slower(rows, expected["ratios"])
    print("\n" + ("\n".join(["slower than expected:", *lines]) if lines else "as fast as expected"))
    sys.exit(bool(lines))


if __name__ == "__main__":
    main()
