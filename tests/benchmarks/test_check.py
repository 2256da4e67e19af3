"""bench-check fails on a slowed row, and only beyond the noise."""

import json
import math
import sys

import pytest

from benchmarks import check


def rows(ratio: float, gflops: float = 190.0):
    machine = {"threads": 2, "sgemm_gflops": [200.0, gflops]}
    return [{"part": "kernels", "name": "relu", "ratios": {"eager": ratio}, **machine}]


EXPECTED = {"kernels: relu": {"ratio": 2.0, "noise": 0.11}}
VERSIONS = {"numpy": "2", "numba": "0", "torch": "2"}
HERE = {"cpu": "an abacus", "cpus": 2, "versions": VERSIONS}


@pytest.fixture
def program(monkeypatch, tmp_path):
    """Runs the program, where `rows` are measured, `again` after that, in an `environment`; returns its exit code."""

    def run(*flags: str, rows=(), again=(), **changes) -> int:
        monkeypatch.setattr(check, "EXPECTED", tmp_path / "expected.json")
        later = iter(again)
        monkeypatch.setattr(check, "measure", lambda only=None: list(rows))
        monkeypatch.setattr(check, "measure_again", lambda names: next(later) if names == ["kernels: relu"] else [])
        monkeypatch.setattr(check, "environment", lambda: {**HERE, **changes})
        monkeypatch.setattr(sys, "argv", ["check", *flags])
        try:
            check.main()
        except SystemExit as exit:
            return int(exit.code or 0)
        return 0

    (tmp_path / "expected.json").write_text(
        json.dumps({"an abacus": {"environment": HERE, "sgemm_gflops": 200, "ratios": EXPECTED}})
    )
    return run


def expectations(*runs):
    return check.expectations([{"environment": {}, "rows": run} for run in runs])["ratios"]


def test_expectations() -> None:
    between_runs = {"ratio": 2.0, "noise": round(math.log(1.1), 3), "n": 3}
    assert expectations(rows(2.0), rows(2.2), rows(1.9)) == {"kernels: relu": between_runs}
    without_busy = {"ratio": 2.0, "noise": 0.0, "n": 1}
    assert expectations(rows(2.0), rows(3.0, gflops=100.0)) == {"kernels: relu": without_busy}


@pytest.mark.parametrize(("ratio", "slow"), [
    (3.0, False), (2.0, False), (1.73, False), (1.71, True), (1.0, True), (math.nan, True)
])  # fmt: skip
def test_slower(ratio: float, slow: bool) -> None:
    """11 % and 4 % below 2 is 1.721."""
    assert bool(check.slower(rows(ratio), EXPECTED)) is slow


def test_little_noise_may_be_chance() -> None:
    expected = {"kernels: relu": {"ratio": 2.0, "noise": 0.0}}
    assert not check.slower(rows(1.82), expected)
    assert check.slower(rows(1.80), expected)


def test_what_was_measured_and_written_is_what_is_expected(program, tmp_path, capsys) -> None:
    files = [str(tmp_path / f"{i}.json") for i in range(3)]
    for file in files:
        assert program("--json", file, rows=rows(2.0)) == 0
    assert program("--write", *files) == 0
    assert "1 ratios, each from 3 runs or more" in capsys.readouterr().out
    assert program(rows=rows(2.0)) == 0
    assert "all 1 ratios are as expected" in capsys.readouterr().out


def test_other_processors_keep_their_ratios(program, tmp_path, capsys) -> None:
    file = str(tmp_path / "run.json")
    assert program("--json", file, rows=rows(3.0), cpu="a slide rule") == 0
    assert program("--write", *[file] * 3) == 0
    assert "on a slide rule" in capsys.readouterr().out
    assert program(rows=rows(2.0)) == 0
    assert program(rows=rows(3.0), cpu="a slide rule") == 0
    assert program(rows=rows(2.0), again=[rows(2.0)] * 2, cpu="a slide rule") == 1


@pytest.mark.parametrize(("again", "code", "said"), [
    ([rows(1.0), rows(1.5)], 1, "kernels: relu: 1.50, expected 2.00 and at least 1.72"),
    ([rows(1.9)], 0, "all 1 ratios are as expected"),
    ([rows(1.0), rows(1.9)], 0, "all 1 ratios are as expected"),
    ([rows(1.0, gflops=130.0)], 2, "the machine was busy during 1 of 1 rows"),
])  # fmt: skip
def test_what_seems_slower_is_measured_again(again, code, said, program, capsys) -> None:
    assert program(rows=rows(1.0), again=again) == code
    assert said in "".join(capsys.readouterr())


def test_again_is_the_program_in_a_new_process(monkeypatch) -> None:
    def run(command: list[str], **options) -> None:
        assert command[:3] == [sys.executable, "-m", "benchmarks.check"]
        monkeypatch.setattr(sys, "argv", command[2:])
        check.main()

    monkeypatch.setattr(check, "environment", dict)
    monkeypatch.setattr(check.subprocess, "run", run)
    monkeypatch.setattr(check, "measure", lambda only: [{"name": name} for name in only])
    assert check.measure_again(["relu, batch 64", "SGD"]) == [{"name": "relu, batch 64"}, {"name": "SGD"}]


@pytest.mark.parametrize(("measured", "changes", "said"), [
    (rows(1.0, gflops=130.0), {}, "the machine was busy during 1 of 1 rows"),
    ([{**rows(1.0)[0], "sgemm_gflops": [139.0, 135.0]}], {}, "reaches 139 GFLOP/s here and now, 200 when"),
    (rows(1.0), {"cpu": "a slide rule"}, "there are ratios for an abacus, this is a slide rule: write new ones"),
    (rows(1.0), {"cpus": 1}, "it needs 2 CPUs, this process may use 1"),
    ([{**rows(1.0)[0], "name": "gelu"}], {}, "has the row 'kernels: relu', which is not measured"),
])  # fmt: skip
def test_where_it_would_prove_nothing(measured, changes, said, program, capsys) -> None:
    assert program(rows=measured, **changes) == 2
    assert said in capsys.readouterr().err


def test_other_versions_are_noted(program, capsys) -> None:
    assert program(rows=rows(2.0), versions={**VERSIONS, "torch": "3"}) == 0
    assert "note: the ratios were measured with torch 2, this is 3" in capsys.readouterr().out


@pytest.mark.parametrize(("report", "said"), [
    ([], "is not what python -m benchmarks.check --json writes"),
    ({"environment": HERE, "rows": rows(2.0), "numpy_only": True}, "is not what python -m benchmarks.check"),
    ({"environment": HERE, "rows": [{**rows(2.0)[0], "ratios": {"compile": 2.0}}]}, "without a ratio to eager"),
    ({"environment": {**HERE, "cpu": "a slide rule"}, "rows": rows(2.0)}, "from another processor than"),
])  # fmt: skip
def test_files_that_cannot_be_expected(report, said, program, tmp_path, capsys) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps({"environment": HERE, "rows": rows(2.0)}))
    bad.write_text(json.dumps(report))
    assert program("--write", str(good), str(good), str(bad)) == 2
    assert said in capsys.readouterr().err
    assert json.loads((tmp_path / "expected.json").read_text())["an abacus"]["ratios"] == EXPECTED


def test_rows_that_were_always_busy_are_named(program, tmp_path, capsys) -> None:
    other = {**rows(2.0, gflops=100.0)[0], "name": "gelu"}
    (tmp_path / "run.json").write_text(json.dumps({"environment": HERE, "rows": [*rows(2.0), other]}))
    assert program("--write", str(tmp_path / "run.json")) == 2
    assert "1 runs do not show how much the ratios vary" in capsys.readouterr().err
    assert program("--write", *[str(tmp_path / "run.json")] * 3) == 0
    assert "left out, since the machine was busy each time: kernels: gelu" in capsys.readouterr().out


def test_measure_takes_each_part(monkeypatch) -> None:
    monkeypatch.setattr(check, "run", lambda part, cases, rounds, threads: [f"{part}: {case.name}" for case in cases])
    names = check.measure(None, 2, (2, 4))
    assert "kernels: relu, gradient, batch 2" in names
    assert names[22:24] == ["training: cnn, batch 2", "training: cnn, batch 4"]
    assert names[-1] == "inference: batch_norm_cnn, batch 4"
    assert len(names) == len(set(names)) == 22 + 2 * 3 * 2
    assert check.measure(["inference: cnn, batch 4"], 2, (2, 4)) == ["inference: cnn, batch 4"]
