"""What a run says: its history, a progress bar in a terminal, a line per epoch."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

Row = dict[str, Any]


class History:
    """The rows of a run, and a file that has each as a line of JSON, if `path` is given.

    A row says of which part ("train", "valid", ...) it is, at which epoch (from 1) and step (batches so far), the mean
    loss and accuracy (0 to 1, or None) since the row before, images per second, and the seconds since the run began. A
    run that resumes writes the rows of its checkpoint anew and goes on from there, so that no row is there twice.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None):
        self.rows: list[Row] = []
        self.path = None if path is None else Path(path)

    def add(self, row: Row) -> None:
        """Append a row, also to the file."""
        self.rows.append(row)
        if self.path is not None:
            with self.path.open("w" if len(self.rows) == 1 else "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


def progress_bar(epoch: int, epochs: int, done: int, total: int, visible: bool = True) -> Any:
    """A bar on stderr over the batches of an epoch; invisible, too, where stderr is no terminal."""
    from tqdm import tqdm

    return tqdm(
        total=total,
        initial=done,
        desc=f"epoch {epoch}/{epochs}",
        bar_format="{desc} {percentage:3.0f}%|{bar}| {postfix}{remaining} left",
        leave=False,
        dynamic_ncols=True,
        disable=not (visible and sys.stderr.isatty()),
    )


def show(bar: Any, row: Row) -> None:
    """Draw the bar with a row's figures."""
    bar.set_postfix_str(figures(row) + ", ")


def figures(row: Row) -> str:
    """loss 0.0423, accuracy 98.71 %, 1,234 images/s"""
    accuracy = "" if row["accuracy"] is None else f"accuracy {100 * row['accuracy']:.2f} %, "
    return f"loss {row['loss']:.4f}, {accuracy}{row['images_per_second']:,.0f} images/s"
