"""How the cost of a training step grows: `python -m benchmarks.plot scaling.json docs/scaling.svg`.

The JSON file is what `python -m benchmarks scaling --threads 1 2 --json scaling.json` wrote.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from tinygrad_mnist.utils.cli import pyplot

PANELS = {"batch": "batch size", "image size": "image size, pixels", "channels": "channels of the first convolution"}
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


def over_threads(rows: list[dict[str, Any]]) -> dict[str, list[Point]]:
    """Who -> the points of the largest batch by the number of threads."""
    wanted = [row for row in rows if row["part"] == "scaling" and row["name"].startswith("batch ")]
    largest = max(row["batch"] for row in wanted)
    found: dict[str, list[Point]] = {}
    for row in wanted:
        if row["batch"] == largest:
            for who, seconds in row["seconds"].items():
                found.setdefault(who, []).append((row["threads"], [1e3 * s / largest for s in seconds]))
    return {who: sorted(points) for who, points in found.items()}


def draw(report: dict[str, Any], path: Path) -> None:
    """Write the four panels; medians, with bars from the lower to the upper quartile."""
    rows = report["rows"]
    if not any(row["part"] == "scaling" for row in rows):
        raise ValueError("there are no rows of the part 'scaling': run python -m benchmarks scaling --json FILE")
    plt = pyplot("the plot of the scaling")
    most = max(row["threads"] for row in rows if row["part"] == "scaling")
    figure, axes = plt.subplots(1, 4, figsize=(13, 3.4), layout="constrained")
    panels = [(label, lines(rows, name, most)) for name, label in PANELS.items()]
    for axis, (label, found) in zip(axes, [*panels, ("threads", over_threads(rows))], strict=True):
        ticks = set()
        for who, points in found.items():
            x, quartiles = [p[0] for p in points], [p[1] for p in points]
            name, color, marker = STYLES[who]
            spread = [[q[1] - q[0] for q in quartiles], [q[2] - q[1] for q in quartiles]]
            axis.errorbar(x, [q[1] for q in quartiles], spread, label=name, color=color, marker=marker, markersize=4)
            ticks.update(x)
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.set_xticks(sorted(ticks), [f"{tick:g}" for tick in sorted(ticks)])
        axis.minorticks_off() if label == "threads" else axis.tick_params(axis="x", which="minor", bottom=False)
        axis.set_xlabel(label)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("milliseconds an image")
    axes[0].legend(fontsize=8)
    figure.suptitle(f"A training step of the example CNN, {most} threads, {report['environment']['cpu']}", fontsize=10)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plot", description=__doc__)
    parser.add_argument("json", type=Path)
    parser.add_argument("image", type=Path, help="an SVG or PNG file")
    args = parser.parse_args()
    draw(json.loads(args.json.read_text()), args.image)


if __name__ == "__main__":
    main()
