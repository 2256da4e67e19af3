"""Ratios, floors and refusals, from samples that are known."""

import itertools
import math

import numpy as np
import pytest

from benchmarks import timing
from benchmarks.timing import Case, Machine, assert_close, geometric_means, interleaved, row, run


def case(**more):
    return Case("work", lambda: None, {"eager": lambda: None}, lambda: None, **more)


def test_row() -> None:
    seconds = {"ours": [1.0, 2.0, 3.0], "eager": [2.0, 5.0, 6.0]}
    found = row(case(flops=3e9, bytes=1e9), Machine(1e9, 1e9), Machine(flops=2e9, bandwidth=1e8), seconds)
    assert found["seconds"]["ours"] == [1.5, 2.0, 2.5]
    assert found["ratios"] == {"eager": 2.5}  # of the medians 5 and 2
    assert found["ratio_quartiles"] == {"eager": [2.0, 2.25]}  # of 2, 2.5 and 2
    assert found["floor"] == 1.5  # operations take longer than bytes
    assert found["of_floor"] == 0.75
    assert found["rounds"] == 3
    assert found["sgemm_gflops"] == [1, 2]


def test_busy() -> None:
    """One and two threads have their own best speeds."""
    speeds = [(1, [100.0, 100.0]), (2, [200.0, 170.0]), (2, [139.0, 200.0])]
    rows = [{"threads": threads, "sgemm_gflops": gflops} for threads, gflops in speeds]
    assert timing.busy(rows) == rows[2:]


def test_floor_is_the_larger_one() -> None:
    assert Machine(2e9, 1e9).floor(case(flops=2e9, bytes=3e9)) == 3


def test_geometric_means() -> None:
    rows = [{"ratios": {"eager": 1.0, "compile": 3.0}}, {"ratios": {"eager": 4.0}}]
    assert geometric_means(rows) == pytest.approx({"eager": 2.0, "compile": 3.0})


def test_works_take_turns_and_quick_ones_are_repeated(monkeypatch) -> None:
    calls = []
    monkeypatch.setattr(timing, "calls_for_a_sample", lambda work: 2)
    seconds = interleaved({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2)
    assert "".join(calls) == "aaaabbbb" * 2
    assert [len(s) for s in seconds.values()] == [2, 2]


def test_threads_have_time_to_settle(monkeypatch) -> None:
    clock, calls = itertools.count(), []
    monkeypatch.setattr(timing, "SETTLING", 5)
    monkeypatch.setattr(timing, "calls_for_a_sample", lambda work: 2)
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(clock))
    seconds = interleaved({"a": lambda: calls.append("a")}, 1)
    assert len(calls) == 2 + 4 + 2  # the clock is at 1, 2, 3, 4 before each of the four
    assert seconds == {"a": [0.5]}


def test_a_sample_is_long_enough(monkeypatch) -> None:
    clock = iter([0.0, 0.0005])
    monkeypatch.setattr(timing, "SHORTEST_SAMPLE", 0.002)
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(clock))
    assert timing.calls_for_a_sample(lambda: None) == 4


def test_wrong_results_are_not_timed() -> None:
    def wrong() -> None:
        assert_close(np.ones(3), np.full(3, 1.1), "ones")

    timed = []
    with pytest.raises(AssertionError, match="ones: relative error"):
        run("part", [Case("work", lambda: timed.append(1), {}, wrong)], 1, 1)
    assert not timed


@pytest.mark.parametrize("got", [[1.0, math.nan], [1.0, 2.1], [1.0]])
def test_assert_close_refuses(got) -> None:
    with pytest.raises(AssertionError):
        assert_close(got, [1.0, 2.0], "numbers")
