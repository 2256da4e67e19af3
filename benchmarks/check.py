"""`make bench-check`: are we still as fast against PyTorch as `benchmarks/expected.json` says?

It measures kernels, training steps and inferences for two minutes, on two threads, and compares each ratio (PyTorch's
median over ours) with the committed one. Where in memory a process gets its arrays can decide about a quarter of a
ratio, so what seems slower is measured twice more, each time in a new process. It fails, with exit code 1, if a ratio
is lower each time by more than the runs were apart from which the expected ones are; it refuses, with 2, where that
would prove nothing: another processor, a busy machine.

Ratios hold for one kind of processor; `expected.json` has them for some, by name. On another one, or after a change
that is meant, measure several times on a quiet machine, and have the ratios and their noise (how far the runs are
apart) written from that; those of other processors stay:

    for i in 1 2 3 4 5; do python -m benchmarks.check --json run$i.json; done
    python -m benchmarks.check --write run?.json

Then look at `git diff benchmarks/expected.json` before you commit it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Container
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_mnist.utils.cli import new_file, tidy_exit

from . import kernels, pytorch, steps
from .environment import environment
from .timing import BUSY, busy, run

Rows = list[dict[str, Any]]
Expected = dict[str, dict[str, float]]  # name of a row -> its ratio and how far that varies
EXPECTED = Path(__file__).parent / "expected.json"
LEAST_RUNS = 3
LEAST_NOISE = 0.06  # the noise of few runs can be small by chance
MARGIN = 0.04  # a next run can be a little farther off than those were
AGAIN = 2  # times that what seems slower is measured again
THREADS, ROUNDS = 2, 5


def measure(only: Container[str] | None = None, kernel_batch: int = 64, batches: tuple[int, ...] = (64, 512)) -> Rows:
    """The rows of which the ratios to eager PyTorch are compared, or `only` some: two minutes on two cores."""
    ways = [pytorch.EAGER, pytorch.CHANNELS_LAST]
    networks = ("cnn", "lenet", "batch_norm_cnn")
    wanted = {f"{network}, batch {batch}" for network in networks for batch in batches}
    parts = {
        "kernels": kernels.kernels([kernel_batch], ways),
        "training": steps.training(list(batches), ways, wanted),
        "inference": steps.inference(list(batches), ways, wanted),
    }
    rows: Rows = []
    for part, cases in parts.items():
        rows += run(part, (case for case in cases if only is None or f"{part}: {case.name}" in only), ROUNDS, THREADS)
    return rows


def measure_again(names: list[str]) -> Rows:
    """Some of the rows, from a new process."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.json"
        command = [sys.executable, "-m", "benchmarks.check", "--json", str(file), "--only", *names]
        subprocess.run(command, cwd=Path(__file__).parent.parent, check=True)
        return json.loads(file.read_text())["rows"]


def ratios(rows: Rows) -> dict[str, float]:
    """Name -> PyTorch's median over ours."""
    return {f"{row['part']}: {row['name']}": row["ratios"][pytorch.EAGER] for row in rows}


def expectations(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """What is committed of each ratio: the median of the runs, and as its noise the largest distance of a run from that
    (of their logarithms). Without busy rows."""
    found: dict[str, list[float]] = {}
    for report in runs:
        spoilt = busy(report["rows"])
        for name, ratio in ratios([row for row in report["rows"] if row not in spoilt]).items():
            found.setdefault(name, []).append(float(np.log(ratio)))
    expected = {}
    for name, logs in found.items():
        middle = float(np.median(logs))
        noise = float(np.abs(np.subtract(logs, middle)).max())
        expected[name] = {"ratio": round(float(np.exp(middle)), 3), "noise": round(noise, 3), "n": len(logs)}
    sgemm = float(np.median([fastest(report["rows"]) for report in runs]))
    return {"environment": runs[0]["environment"], "sgemm_gflops": round(sgemm), "ratios": expected}


def fastest(rows: Rows) -> float:
    """The most GFLOP/s that the matrix product beside these rows reached."""
    return max(max(row["sgemm_gflops"]) for row in rows)


def slower(rows: Rows, expected: Expected) -> dict[str, str]:
    """Name -> what to say, for each ratio that is no number, or fell by more than the noise."""
    said, found = {}, ratios(rows)
    for name, was in expected.items():
        if name not in found:
            raise ValueError(f"{EXPECTED} has the row {name!r}, which is not measured: write new ones (--help)")
        least = was["ratio"] * float(np.exp(-max(was["noise"], LEAST_NOISE) - MARGIN))
        if not found[name] >= least:
            said[name] = f"{name}: {found[name]:.2f}, expected {was['ratio']:.2f} and at least {least:.2f}"
    return said


def write(paths: list[Path]) -> None:
    """expected.json from files that --json wrote; says what it wrote."""
    runs = [json.loads(path.read_text()) for path in paths]
    for path, report in zip(paths, runs, strict=True):
        if not isinstance(report, dict) or not report.get("rows") or report.get("numpy_only"):
            raise ValueError(f"{path} is not what python -m benchmarks.check --json writes")
        if any(pytorch.EAGER not in row["ratios"] for row in report["rows"]):
            raise ValueError(f"{path} has rows without a ratio to eager PyTorch")
        if report["environment"]["cpu"] != runs[0]["environment"]["cpu"]:
            raise ValueError(f"{path} is from another processor than {paths[0]}")
    if len(runs) < LEAST_RUNS:
        raise ValueError(f"{len(runs)} runs do not show how much the ratios vary: expected at least {LEAST_RUNS}")
    expected = expectations(runs)
    processor = runs[0]["environment"]["cpu"]
    EXPECTED.write_text(json.dumps({**json.loads(EXPECTED.read_text()), processor: expected}, indent=1) + "\n")
    names = {name for report in runs for name in ratios(report["rows"])}
    least = min((ratio["n"] for ratio in expected["ratios"].values()), default=0)
    print(f"wrote {EXPECTED}: {len(expected['ratios'])} ratios, each from {least} runs or more, on {processor}")
    for name in sorted(names - set(expected["ratios"])):
        print(f"left out, since the machine was busy each time: {name}")


def compare() -> bool:
    """Measure, and say what is slower than expected; whether all is well. ValueError where that would prove nothing."""
    everywhere, here = json.loads(EXPECTED.read_text()), environment()
    if here["cpu"] not in everywhere:
        raise ValueError(
            f"there are ratios for {', '.join(everywhere)}, this is {here['cpu']}: write new ones (--help)"
        )
    expected = everywhere[here["cpu"]]
    if here["cpus"] < THREADS:
        raise ValueError(f"it needs {THREADS} CPUs, this process may use {here['cpus']}")
    for name, version in expected["environment"]["versions"].items():
        if here["versions"][name] != version:
            print(f"note: the ratios were measured with {name} {version}, this is {here['versions'][name]}")
    ratios, said = expected["ratios"], {}
    for measured in range(1 + AGAIN):
        rows = measure_again(list(said)) if measured else measure()
        refuse_a_busy_machine(rows, expected["sgemm_gflops"])
        said = slower(rows, {name: ratios[name] for name in said or ratios})
        if not said:
            break
    lines = ["slower than expected:", *said.values()] if said else [f"all {len(ratios)} ratios are as expected"]
    print("\n" + "\n".join(lines))
    return not said


def refuse_a_busy_machine(rows: Rows, sgemm_gflops: float) -> None:
    """ValueError if the matrix product beside these rows was slower than it can be, or was."""
    if busy(rows):
        raise ValueError(
            f"the machine was busy during {len(busy(rows))} of {len(rows)} rows (the matrix product beside them was "
            f"slower than {BUSY:.0%} of its best): stop what else runs, and start again"
        )
    if fastest(rows) < BUSY * sgemm_gflops:
        raise ValueError(
            f"a matrix product reaches {fastest(rows):.0f} GFLOP/s here and now, {sgemm_gflops} when the "
            "ratios were measured: stop what else runs on this machine, or write new ratios (--help)"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.check", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--json", type=new_file, metavar="FILE", help="only measure, and write the rows to this file")
    group.add_argument(
        "--write", type=Path, nargs="+", metavar="FILE", help="only write expected.json, from files that --json wrote"
    )
    only = "with --json: only these rows, as expected.json has their names"
    parser.add_argument("--only", nargs="+", metavar="ROW", help=only)
    args = parser.parse_args()
    if args.only and not args.json:
        parser.error("argument --only: it is for --json")
    with tidy_exit(parser):
        if args.write:
            write(args.write)
        elif args.json:
            report = {"environment": environment(), "rows": measure(args.only)}
            args.json.write_text(json.dumps(report, indent=1) + "\n")
        else:
            sys.exit(not compare())


if __name__ == "__main__":
    main()
