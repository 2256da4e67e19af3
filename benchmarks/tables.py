"""Results as the tables of README.md and docs/performance.md: `python -m benchmarks.tables results.json ...`"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from .pytorch import WAYS
from .timing import busy, geometric_means

COLUMNS = (*WAYS, "fused")  # fused: PyTorch's optimizers with fused=True


def table(rows: list[dict[str, Any]]) -> str:
    """A Markdown table of rows that were timed in this process, which have a floor."""
    ways = [way for way in COLUMNS if any(way in row["ratios"] for row in rows)]
    lines = ["| work | ours, ms (quartiles) | of the floor |" + "".join(f" {way} |" for way in ways)]
    lines.append("|---|---|---|" + "---|" * len(ways))
    for row in rows:
        low, median, high = (f"{1e3 * s:.3g}" for s in row["seconds"]["ours"])
        ratios = "".join(f" {row['ratios'][way]:.2f} |" if way in row["ratios"] else " |" for way in ways)
        name = row["name"] + (" (busy machine)" if row in busy(rows) else "")
        lines.append(f"| {name} | {median} ({low} to {high}) | {row['of_floor']:.2f} |{ratios}")
    means = geometric_means(rows)
    if len(rows) > 1:
        lines.append("| geometric mean | | |" + "".join(f" {means[way]:.2f} |" for way in ways))
    return "\n".join(lines)


def heading(rows: list[dict[str, Any]]) -> str:
    """How many threads and rounds, and what the machine reached meanwhile."""
    gflops = sorted(speed for row in rows for speed in row["sgemm_gflops"])
    gbs = sorted(speed for row in rows for speed in row["copy_gbs"])
    first = rows[0]
    return (
        f"{first['part']}, threads: {first['threads']}, n = {first['rounds']}; matrix product {gflops[0]:.0f} to "
        f"{gflops[-1]:.0f} GFLOP/s, copy {gbs[0]:.1f} to {gbs[-1]:.1f} GB/s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables", description=__doc__)
    parser.add_argument("json", type=Path, nargs="+")
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for path in parser.parse_args().json:
        for row in json.loads(path.read_text())["rows"]:
            if "of_floor" in row:
                groups.setdefault((row["part"], row["threads"]), []).append(row)
    for rows in groups.values():
        print(f"\n{heading(rows)}\n\n{table(rows)}")


if __name__ == "__main__":
    main()
