"""bench-check fails on a slowed row, and only beyond the noise."""

import json
import math
import sys

import pytest

from benchmarks import check


def rows(ratio: float, spread: float = 1.0, gflops: float = 190.0):
    quartiles = {"eager": [ratio / spread, ratio * spread]}
    machine = {"threads": 2, "sgemm_gflops": [200.0, gflops]}
    return [{"part": "kernels", "name": "relu", "ratios": {"eager": ratio}, "ratio_quartiles": quartiles, **machine}]


EXPECTED = {"kernels: relu": {"ratio": 2.0, "noise": 0.05}}


def expectations(*runs):
    return check.expectations([{"environment": {}, "rows": run} for run in runs])["ratios"]


def test_expectations() -> None:
    between_runs = {"ratio": 2.0, "noise": round(math.log(1.1), 3), "n": 3}
    assert expectations(rows(2.0), rows(2.2), rows(1.9)) == {"kernels: relu": between_runs}
    within_a_run = {"ratio": 2.0, "noise": round(math.log(1.2), 3), "n": 1}
    assert expectations(rows(2.0, spread=1.2), rows(3.0, gflops=100.0)) == {"kernels: relu": within_a_run}


@pytest.mark.parametrize(("ratio", "slow"), [
    (3.0, False), (2.0, False), (1.73, False), (1.71, True), (1.0, True), (math.nan, True)
])  # fmt: skip
def test_slower(ratio: float, slow: bool) -> None:
    """Three times 5 % below 2 is 1.721."""
    assert bool(check.slower(rows(ratio), EXPECTED)) is slow


def test_little_noise_may_be_chance() -> None:
    expected = {"kernels: relu": {"ratio": 2.0, "noise": 0.0}}
    assert not check.slower(rows(1.79), expected)
    assert check.slower(rows(1.76), expected)


def test_a_row_that_is_not_measured() -> None:
    assert check.slower([], EXPECTED) == ["kernels: relu: was not measured"]


@pytest.mark.parametrize(("now", "code"), [(2.0, 0), (1.0, 1)])
def test_program(now: float, code: int, monkeypatch, tmp_path, capsys) -> None:
    files = [tmp_path / f"{i}.json" for i in range(3)]
    monkeypatch.setattr(check, "EXPECTED", tmp_path / "expected.json")
    monkeypatch.setattr(check, "measure", lambda: rows(2.0))
    for file in files:
        monkeypatch.setattr(sys, "argv", ["check", "--json", str(file)])
        check.main()
    monkeypatch.setattr(sys, "argv", ["check", "--write", *map(str, files)])
    check.main()
    monkeypatch.setattr(check, "measure", lambda: rows(now))
    monkeypatch.setattr(sys, "argv", ["check"])
    with pytest.raises(SystemExit) as exit:
        check.main()
    assert exit.value.code == code
    assert ("relu: 1.00, expected 2.00" in capsys.readouterr().out) is bool(code)


def test_a_busy_machine_proves_nothing(monkeypatch, tmp_path, capsys) -> None:
    path = tmp_path / "expected.json"
    path.write_text(json.dumps({"environment": {"cpu": check.cpu()}, "ratios": EXPECTED}))
    monkeypatch.setattr(check, "EXPECTED", path)
    monkeypatch.setattr(check, "measure", lambda: [{**row, "sgemm_gflops": [200.0, 130.0]} for row in rows(1.0)])
    monkeypatch.setattr(sys, "argv", ["check"])
    with pytest.raises(SystemExit) as exit:
        check.main()
    assert exit.value.code == 2
    assert "the machine was busy during 1 of 1 rows" in capsys.readouterr().err


def test_another_processor(monkeypatch, tmp_path, capsys) -> None:
    path = tmp_path / "expected.json"
    path.write_text(json.dumps({"environment": {"cpu": "an abacus"}, "ratios": EXPECTED}))
    monkeypatch.setattr(check, "EXPECTED", path)
    monkeypatch.setattr(sys, "argv", ["check"])
    with pytest.raises(SystemExit) as exit:
        check.main()
    assert exit.value.code == 2
    assert "the ratios hold for an abacus" in capsys.readouterr().err


def test_measure_takes_each_part(monkeypatch) -> None:
    monkeypatch.setattr(check, "run", lambda part, cases, rounds, threads: [f"{part}: {case.name}" for case in cases])
    names = check.measure(kernel_batch=2, batches=(2, 4))
    assert "kernels: relu, gradient, batch 2" in names
    assert names[22:24] == ["training: cnn, batch 2", "training: cnn, batch 4"]
    assert names[-1] == "inference: batch_norm_cnn, batch 4"
    assert len(names) == len(set(names)) == 22 + 2 * 3 * 2
