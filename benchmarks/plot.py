"""How the cost of a training step grows: `python -m benchmarks.plot scaling.json docs/scaling.svg`.

The JSON files are what these commands write; the fourth panel needs only the largest batch on one thread:

    python -m benchmarks scaling --threads 2 --json two.json
    python -m benchmarks scaling --threads 1 --batch 512 --only "batch 512" --json one.json
    python -m benchmarks.plot two.json one.json docs/scaling.svg
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tinygrad_mnist.utils.cli import new_file, pyplot, tidy_exit

from .steps import SCALED_BATCH
from .tables import read

PANELS = {
    "batch": "batch size",
    "image size": f"height and width, pixels (batch {SCALED_BATCH})",
    "channels": f"channels of the first convolution (batch {SCALED_BATCH})",
}
LOGARITHMIC = ("image size", "channels")  # over these the cost grows hundredfold; the others begin at 0
STYLES = {
    "ours": ("ours", "tab:blue", "o"),
    "eager": ("PyTorch eager", "tab:orange", "s"),
    "channels_last": ("PyTorch channels_last", "tab:green", "^"),
    "compile": ("torch.compile", "tab:red", "D"),
}
Point = tuple[float, list[float]]  # where on the axis; quartiles of the milliseconds of an image


def lines(rows: list[dict[str, Any]], panel: str, threads: int) -> dict[str, list[Point]]:
    """Who -> the points of a panel, in the order of the axis."""
    found: dict[str, list[Point]] = {}
    for row in rows:
        name, _, value = row["name"].rpartition(" ")
        if row["part"] == "scaling" and name == panel and row["threads"] == threads:
            for who, seconds in row["seconds"].items():
                found.setdefault(who, []).append((float(value), [1e3 * s / row["batch"] for s in seconds]))
    return {who: sorted(points) for who, points in found.items()}


def over_threads(rows: list[dict[str, Any]]) -> tuple[int, dict[str, list[Point]]]:
    """The largest batch, and who -> its points by the number of threads."""
    wanted = [row for row in rows if row["part"] == "scaling" and row["name"].startswith("batch ")]
    largest = max(row["batch"] for row in wanted)
    found: dict[str, list[Point]] = {}
    for row in wanted:
        if row["batch"] == largest:
            for who, seconds in row["seconds"].items():
                found.setdefault(who, []).append((row["threads"], [1e3 * s / largest for s in seconds]))
    return largest, {who: sorted(points) for who, points in found.items()}


def draw(report: dict[str, Any], path: Path) -> None:
    """Write the four panels; medians, with bars from the lower to the upper quartile."""
    rows = report["rows"]
    if not any(row["part"] == "scaling" and row["name"].startswith("batch ") for row in rows):
        raise ValueError("there are no rows of the part 'scaling': run python -m benchmarks scaling --json FILE")
    plt = pyplot("the plot of the scaling")
    most = max(row["threads"] for row in rows if row["part"] == "scaling")
    figure, axes = plt.subplots(1, 4, figsize=(13, 3.6), layout="constrained")
    for axis, (name, label) in zip(axes, PANELS.items(), strict=False):
        _panel(axis, lines(rows, name, most), label, name in LOGARITHMIC)
    largest, by_threads = over_threads(rows)
    _panel(axes[3], by_threads, f"threads (batch {largest})")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=9)
    figure.supylabel("milliseconds an image", fontsize=10)
    what = f"A training step of the example CNN, {most} threads unless said, {report['environment']['cpu']}"
    figure.suptitle(f"{what}; medians and quartiles", fontsize=10)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _panel(axis: Any, found: dict[str, list[Point]], label: str, logarithmic: bool = False) -> None:
    ticks = sorted({x for points in found.values() for x, _ in points})
    for who, points in found.items():
        x, quartiles = [p[0] for p in points], [p[1] for p in points]
        name, color, marker = STYLES[who]
        spread = [[q[1] - q[0] for q in quartiles], [q[2] - q[1] for q in quartiles]]
        axis.errorbar(x, [q[1] for q in quartiles], spread, label=name, color=color, marker=marker, markersize=4)
    axis.set_xscale("log", base=2)
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.tick_params(axis="x", which="minor", bottom=False)
    if logarithmic:
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter("")
        axis.set_title("both axes logarithmic", fontsize=8)
    else:
        axis.set_ylim(bottom=0)
    axis.set_xlabel(label, fontsize=9)
    axis.grid(alpha=0.3)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.plot", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("json", type=Path, nargs="+")
    parser.add_argument("image", type=new_file, help="an SVG or PNG file")
    args = parser.parse_args()
    with tidy_exit(parser):
        reports = [read(path) for path in args.json]
        draw({**reports[0], "rows": [row for report in reports for row in report["rows"]]}, args.image)


if __name__ == "__main__":
    main()
