import json
import sys

import pytest

from benchmarks import plot


def rows():
    return [
        {"part": "scaling", "name": f"{panel} {value}", "batch": 8, "threads": threads,
         "seconds": {who: [0.008, 0.016, 0.024] for who in ("ours", "eager")}}
        for panel in ("batch", "image size", "channels") for value in (16, 8) for threads in (1, 2)
    ]  # fmt: skip


def test_lines_are_milliseconds_an_image_in_order() -> None:
    assert plot.lines(rows(), "image size", 2)["ours"] == [(8, [1, 2, 3]), (16, [1, 2, 3])]
    largest, by_threads = plot.over_threads(rows())
    assert largest == 8
    assert by_threads["eager"] == [(1, [1, 2, 3]), (1, [1, 2, 3]), (2, [1, 2, 3]), (2, [1, 2, 3])]


def test_plot_of_several_files(monkeypatch, tmp_path) -> None:
    files, image = [tmp_path / f"{threads}.json" for threads in (1, 2)], tmp_path / "scaling.svg"
    for threads, file in enumerate(files, 1):
        chosen = [row for row in rows() if row["threads"] == threads]
        report = {"environment": {"cpu": "abacus"}, "command": [], "numpy_only": False, "rows": chosen}
        file.write_text(json.dumps(report))
    monkeypatch.setattr(sys, "argv", ["plot", *map(str, files), str(image)])
    plot.main()
    assert image.read_text().count('<g id="axes_') == 4
    assert "2 threads unless said, abacus" in image.read_text()


def test_plot_without_rows(tmp_path) -> None:
    with pytest.raises(ValueError, match="python -m benchmarks scaling"):
        plot.draw({"environment": {}, "rows": []}, tmp_path / "x.svg")
