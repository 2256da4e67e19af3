"""`make bench-check`: are we still as fast against PyTorch as `benchmarks/expected.json` says?

It measures kernels, training steps and inferences for two minutes, on two threads, and compares each ratio (PyTorch's
median over ours) with the committed one. It fails, with exit code 1, if one is lower by more than three times the noise
that was measured for it; it refuses, with 2, where that would prove nothing: another processor, a busy machine.

Ratios hold for one kind of processor. On another one, or after a change that is meant, measure several times on a
quiet machine, and have the ratios and their noise (how far the runs are apart) written from that:

    for i in 1 2 3 4 5; do python -m benchmarks.check --json run$i.json; done
    python -m benchmarks.check --write run?.json

Then look at `git diff benchmarks/expected.json` before you commit it.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_mnist.utils.cli import new_file, tidy_exit

from . import kernels, pytorch, steps
from .environment import cpu, environment
from .timing import BUSY, busy, run

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
    sgemm = float(np.median([fastest(report["rows"]) for report in runs]))
    return {"environment": runs[0]["environment"], "sgemm_gflops": round(sgemm), "ratios": expected}


def fastest(rows: list[dict[str, Any]]) -> float:
    """The most GFLOP/s that the matrix product beside these rows reached."""
    return max(max(row["sgemm_gflops"]) for row in rows)


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


def write(paths: list[Path]) -> None:
    """expected.json from files that --json wrote; says what it wrote."""
    runs = [json.loads(path.read_text()) for path in paths]
    for path, report in zip(paths, runs, strict=True):
        if not isinstance(report, dict) or not report.get("rows") or report.get("numpy_only"):
            raise ValueError(f"{path} is not what python -m benchmarks.check --json writes")
        if any(pytorch.EAGER not in row["ratios"] or "ratio_quartiles" not in row for row in report["rows"]):
            raise ValueError(f"{path} has rows without a ratio to eager PyTorch")
        if report["environment"]["cpu"] != runs[0]["environment"]["cpu"]:
            raise ValueError(f"{path} is from another processor than {paths[0]}")
    expected = expectations(runs)
    names = {name for report in runs for name in ratios(report["rows"])}
    EXPECTED.write_text(json.dumps(expected, indent=1) + "\n")
    least = min((ratio["n"] for ratio in expected["ratios"].values()), default=0)
    print(f"wrote {EXPECTED}: {len(expected['ratios'])} ratios, each from {least} runs or more, on {cpu()}")
    for name in sorted(names - set(expected["ratios"])):
        print(f"left out, since the machine was busy each time: {name}")


def compare() -> bool:
    """Measure, and say what is slower than expected; whether all is well. ValueError where that would prove nothing."""
    expected = json.loads(EXPECTED.read_text())
    here = environment()
    if here["cpu"] != expected["environment"]["cpu"]:
        raise ValueError(
            f"the ratios hold for {expected['environment']['cpu']}, this is {here['cpu']}: write new ones (--help)"
        )
    if here["cpus"] < THREADS:
        raise ValueError(f"it needs {THREADS} CPUs, this process may use {here['cpus']}")
    for name, version in expected["environment"]["versions"].items():
        if here["versions"][name] != version:
            print(f"note: the ratios were measured with {name} {version}, this is {here['versions'][name]}")
    rows = measure()
    if busy(rows):
        raise ValueError(
            f"the machine was busy during {len(busy(rows))} of {len(rows)} rows (the matrix product beside them was "
            f"slower than {BUSY:.0%} of its best): stop what else runs, and start again"
        )
    if fastest(rows) < BUSY * expected["sgemm_gflops"]:
        raise ValueError(
            f"a matrix product reaches {fastest(rows):.0f} GFLOP/s here and now, {expected['sgemm_gflops']} when the "
            "ratios were measured: stop what else runs on this machine, or write new ratios (--help)"
        )
    lines = slower(rows, expected["ratios"])
    said = ["slower than expected:", *lines] if lines else [f"all {len(expected['ratios'])} ratios are as expected"]
    print("\n" + "\n".join(said))
    return not lines


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.check", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--json", type=new_file, metavar="FILE", help="only measure, and write the rows to this file")
    group.add_argument(
        "--write", type=Path, nargs="+", metavar="FILE", help="only write expected.json, from files that --json wrote"
    )
    args = parser.parse_args()
    with tidy_exit(parser):
        if args.write:
            write(args.write)
        elif args.json:
            args.json.write_text(json.dumps({"environment": environment(), "rows": measure()}, indent=1) + "\n")
        else:
            sys.exit(not compare())


if __name__ == "__main__":
    main()
