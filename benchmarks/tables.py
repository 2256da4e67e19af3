"""Results as Markdown tables, which `python -m benchmarks` ends with: `python -m benchmarks.tables results.json ...`

With `--into README.md docs/performance.md` the tables that stand there are written anew, each between two lines:

    <!-- measured: training, 2 threads, only ^(cnn|lenet), -->
    <!-- end -->

The first says what is shown: a part, its threads if it has any, `NumPy alone` if so, and by `only` a regular expression
for the names, as `python -m benchmarks --only` has it. A table that the results have no rows for stays, and is named.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tinygrad_mnist.utils.cli import tidy_exit

from .pytorch import WAYS
from .timing import busy, geometric_means

TABLE = re.compile(
    r"(?P<begin><!-- measured: (?P<part>\w+)(, (?P<threads>\d+) threads?)?(?P<numpy>, NumPy alone)?"
    r"(, only (?P<only>.+?))? -->)\n.*?(?P<end><!-- end -->)",
    re.DOTALL,
)
Row = dict[str, Any]
Report = dict[str, Any]  # what `python -m benchmarks --json` writes


def figure(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def table(rows: list[Row]) -> str:
    """A Markdown table of rows of one part; where it is kernels, with geometric means."""
    found = {way: None for row in rows for way in row["ratios"]}
    ways = sorted(found, key=lambda way: WAYS.index(way) if way in WAYS else len(WAYS))
    spreads = [row["MiB"]["ours"] if "MiB" in row else row["seconds"]["ours"] for row in rows]
    unit, scale = ("s", 1.0) if min(spread[1] for spread in spreads) >= 1 else ("ms", 1e3)
    if "MiB" in rows[0]:
        unit, scale = "MiB", 1.0
    lines = [f"| work | ours, {unit} (quartiles) | of the floor |" + "".join(f" {way} |" for way in ways)]
    lines.append("|---|---|---|" + "---|" * len(ways))
    spoilt = busy([row for row in rows if "sgemm_gflops" in row])
    for row, spread in zip(rows, spreads, strict=True):
        low, median, high = (figure(scale * value) for value in spread)
        ratios = "".join(f" {row['ratios'][way]:.2f} |" if way in row["ratios"] else " |" for way in ways)
        name = row["name"] + (" (busy machine)" if row in spoilt else "")
        floor = f" {row['of_floor']:.2f}" if "of_floor" in row else ""
        lines.append(f"| {name} | {median} ({low} to {high}) |{floor} |{ratios}")
    if rows[0]["part"] == "kernels" and len(rows) > 1:
        means = geometric_means(rows)
        lines.append("| geometric mean | | |" + "".join(f" {means[way]:.2f} |" for way in ways))
    return "\n".join([*lines, *("\n" + row["note"] for row in rows if "note" in row)])


def source(report: Report, rows: list[Row]) -> str:
    """The command that measured these rows of a report, how often, of which commit, and what the machine reached."""
    command = shlex.join(_without_file(report["command"]))
    n = sorted({row["rounds"] for row in rows})
    said = [f"n = {' to '.join(str(n) for n in {n[0]: 0, n[-1]: 0})}", f"commit {report['environment']['commit']}"]
    for name, key, unit in [("matrix product", "sgemm_gflops", "GFLOP/s"), ("copy", "copy_gbs", "GB/s")]:
        speeds = [speed for row in rows for speed in row.get(key, [])]
        if speeds:
            said.append(f"{name} {min(speeds):.0f} to {max(speeds):.0f} {unit}")
    return f"`python -m benchmarks {command}` ({', '.join(said)})"


def _without_file(command: list[str]) -> list[str]:
    """A command without `--json FILE`, wherever that stands."""
    kept = [flag for flag in command if not flag.startswith("--json=")]
    if "--json" in kept:
        at = kept.index("--json")
        del kept[at : at + 2]
    return kept


def _rows(report: Report) -> Iterator[tuple[tuple[str, int | None, bool], Row]]:
    """Each row that has a place in a table, with what it has in common with the others there."""
    for row in report["rows"]:
        if "ratios" in row:
            yield (row["part"], row["threads"], report["numpy_only"]), row


def block(reports: list[Report], part: str, threads: int | None, numpy: bool, only: str = "") -> str:
    """Commands and table of what is asked for, of the last report that has each row; "" if none has any."""
    chosen: dict[str, tuple[Report, Row]] = {}
    for report in reports:
        for group, row in _rows(report):
            if group == (part, threads, numpy) and re.search(only, row["name"]):
                chosen[row["name"]] = report, row
    sources = []
    for report in reports:
        if rows := [row for whose, row in chosen.values() if whose is report]:
            sources.append(source(report, rows))
    return ",\n".join(sources) + ":\n\n" + table([row for _, row in chosen.values()]) if sources else ""


def every_block(reports: list[Report]) -> list[str]:
    """The tables of all rows."""
    groups = {group: None for report in reports for group, _ in _rows(report)}
    return [block(reports, *group) for group in groups]


def write_into(text: str, reports: list[Report]) -> tuple[str, list[str]]:
    """A document with its tables from these reports, and the first lines of those that they have no rows for."""
    missing = []

    def again(found: re.Match[str]) -> str:
        threads = int(found["threads"]) if found["threads"] else None
        new = block(reports, found["part"], threads, bool(found["numpy"]), found["only"] or "")
        if not new:
            missing.append(found["begin"])
            return found[0]
        return f"{found['begin']}\n{new}\n\n{found['end']}"

    return TABLE.sub(again, text), missing


def read(path: Path) -> Report:
    """What `python -m benchmarks --json` wrote; ValueError for another file."""
    try:
        report = json.loads(path.read_text())
    except ValueError:
        report = None
    if not isinstance(report, dict) or not report.keys() >= {"environment", "command", "numpy_only", "rows"}:
        raise ValueError(f"{path} is not what python -m benchmarks --json writes")
    return report


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tables", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("json", type=Path, nargs="+", help="what python -m benchmarks --json wrote")
    parser.add_argument("--into", type=Path, nargs="+", default=[], metavar="FILE", help="Markdown files with tables")
    args = parser.parse_args()
    with tidy_exit(parser):
        reports = [read(path) for path in args.json]
        for path in args.into:
            text, missing = write_into(path.read_text(), reports)
            path.write_text(text)
            for line in missing:
                print(f"{path}: no rows for {line}")
        if not args.into:
            print(*every_block(reports), sep="\n\n")


if __name__ == "__main__":
    main()
