import json
import sys

import pytest

from benchmarks import tables


def row(name: str, ratios: dict[str, float], gflops: float = 190.0, part: str = "kernels"):
    seconds = {"ours": [0.001, 0.00123, 0.0015], **{way: [1.0, 1.0, 1.0] for way in ratios}}
    return {
        "part": part, "name": name, "threads": 2, "rounds": 9, "seconds": seconds, "ratios": ratios,
        "of_floor": 0.5, "sgemm_gflops": [200.0, gflops], "copy_gbs": [10.0, 10.0],
    }  # fmt: skip


def report(*rows, command=("kernels", "--json", "x.json", "--batch", "64"), numpy_only=False):
    return {"environment": {"commit": "c0ffee"}, "command": [*command], "numpy_only": numpy_only, "rows": [*rows]}


SAID = "(n = 9, commit c0ffee, matrix product {} to 200 GFLOP/s, copy 10 to 10 GB/s):"
RELU, SGD = row("relu", {"eager": 1.0, "channels_last": 2.0}), row("SGD", {"fused": 3.0, "eager": 4.0}, 139.0)
STEP = row("cnn, batch 64", {"compile": 1.5, "eager": 2.0}, part="training")
PROCESSES = {"threads": 2, "rounds": 1, "ratios": {"eager": 2.0}}
MEMORY = {**PROCESSES, "part": "memory", "name": "peak", "MiB": {"ours": [330.0] * 3}}
RACE = {**PROCESSES, "part": "race", "name": "2 epochs", "seconds": {"ours": [50.0, 51.0, 1234.5]}, "note": "98 %"}


@pytest.fixture
def program(monkeypatch, tmp_path, capsys):
    def run(*reports, into: str = "") -> str:
        files = [tmp_path / f"{i}.json" for i, _ in enumerate(reports)]
        for file, content in zip(files, reports, strict=True):
            file.write_text(json.dumps(content))
        monkeypatch.setattr(sys, "argv", ["tables", *map(str, files), *(["--into", into] if into else [])])
        tables.main()
        return capsys.readouterr().out

    return run


def test_printed(program) -> None:
    assert program(report(RELU, SGD, STEP)).strip().splitlines() == [
        "`python -m benchmarks kernels --batch 64` " + SAID.format(139),
        "",
        "| work | ours, ms (quartiles) | of the floor | eager | channels_last | fused |",
        "|---|---|---|---|---|---|",
        "| relu | 1.23 (1 to 1.5) | 0.50 | 1.00 | 2.00 | |",
        "| SGD (busy machine) | 1.23 (1 to 1.5) | 0.50 | 4.00 | | 3.00 |",
        "| geometric mean | | | 2.00 | 2.00 | 3.00 |",
        "",
        "`python -m benchmarks kernels --batch 64` " + SAID.format(190),
        "",
        "| work | ours, ms (quartiles) | of the floor | eager | compile |",
        "|---|---|---|---|---|",
        "| cnn, batch 64 | 1.23 (1 to 1.5) | 0.50 | 2.00 | 1.50 |",
    ]  # fmt: skip


def test_processes(program) -> None:
    memory, race = (text.splitlines() for text in program(report(MEMORY), report(RACE)).strip().split("\n\n`"))
    assert memory[0] == "`python -m benchmarks kernels --batch 64` (n = 1, commit c0ffee):"
    assert memory[2] == "| work | ours, MiB (quartiles) | of the floor | eager |"
    assert memory[4] == "| peak | 330 (330 to 330) | | 2.00 |"
    assert race[2] == "| work | ours, s (quartiles) | of the floor | eager |"
    assert race[4:] == ["| 2 epochs | 51 (50 to 1234) | | 2.00 |", "", "98 %"]


def test_into_a_document(program, tmp_path) -> None:
    """Each table has what its line asks for, of the last file that has it; the rest stays."""
    document = tmp_path / "speed.md"
    document.write_text(
        "Text\n<!-- measured: kernels, 2 threads, only ^re -->\nold\n<!-- end -->\nmore\n"
        "<!-- measured: kernels, 2 threads, NumPy alone -->\n<!-- end -->\n"
        "<!-- measured: training, 1 thread -->\nkept\n<!-- end -->\n"
    )
    slower = {**RELU, "ratios": {"eager": 0.5}}
    said = program(report(RELU, SGD), report(slower, numpy_only=True), report(STEP), into=str(document))
    assert said == f"{document}: no rows for <!-- measured: training, 1 thread -->\n"
    before, first, second, last = document.read_text().split("<!-- measured: ")
    assert before == "Text\n"
    assert "old" not in first
    assert "SGD" not in first
    assert "| relu | 1.23 (1 to 1.5) | 0.50 | 1.00 | 2.00 |\n\n<!-- end -->\nmore\n" in first
    assert "| relu | 1.23 (1 to 1.5) | 0.50 | 0.50 |\n\n<!-- end -->\n" in second
    assert last == "training, 1 thread -->\nkept\n<!-- end -->\n"
    program(report(slower), report(RELU), into=str(document))
    assert "| 0.50 | 1.00 | 2.00 |" in document.read_text()


@pytest.mark.parametrize(("content", "said"), [
    (None, "No such file"), ("{", "is not what python -m benchmarks --json writes"),
    ('{"environment": {}, "rows": []}', "is not what python -m benchmarks --json writes"),
])  # fmt: skip
def test_files_that_cannot_be_shown(content, said, monkeypatch, tmp_path, capsys) -> None:
    file = tmp_path / "rows.json"
    if content:
        file.write_text(content)
    monkeypatch.setattr(sys, "argv", ["tables", str(file)])
    with pytest.raises(SystemExit, match="2"):
        tables.main()
    assert said in capsys.readouterr().err
