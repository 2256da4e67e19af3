"""Calls of compiled functions that other threads take over, in compiled code."""

import sys
import threading
import time

import numpy as np
import pytest
from numba import float64, int64, njit, void
from tinygrad_mnist.kernels import parallel
from tinygrad_mnist.kernels.team import HERE, Team
from tinygrad_mnist.kernels.team_compiled import WORDS, finish, handed_over


@njit(void(int64, float64[::1], float64, int64), nogil=True)
def add(slot, to, number, times):
    if handed_over(slot):
        return
    for _ in range(times):
        to[0] += number


@njit(void(int64, int64[::1], int64), nogil=True)
def refuse_negative(slot, seen, number):
    if handed_over(slot):
        return
    if number < 0:
        raise ValueError("negative")
    seen[number] += 1


@njit(void(int64, int64[::1]), nogil=True)
def refuse_once(slot, seen):
    if handed_over(slot):
        return
    seen[0] += 1
    if seen[0] == 1:
        raise MemoryError


class Threads:
    """What a Team needs: `call_in` starts a thread for each function."""

    def __init__(self):
        self.started = []

    def __call__(self, function):
        self.started.append(threading.Thread(target=function, daemon=True))
        self.started[-1].start()

    def join(self):
        for thread in self.started:
            thread.join(30)
            assert not thread.is_alive()


@pytest.fixture
def threads_started():
    threads = Threads()
    yield threads
    threads.join()


def wait_until_gone(team):
    """Until no thread waits at a slot."""
    end = time.monotonic() + 30
    while team.slots[:, team.code.THERE].any():
        assert time.monotonic() < end
        time.sleep(0)


@pytest.fixture
def stay(monkeypatch):
    """Threads wait at their slots until they are dismissed: for 40 s or more, longer than a test waits for that,
    but they do not keep a core busy for ever where it fails."""
    monkeypatch.setattr(sys.modules["tinygrad_mnist.kernels.team"], "PATIENCE", 10**8)


@pytest.mark.parametrize("others", [1, 2])
@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_every_call_is_made_once(others, n, threads_started):
    team = Team(others, threads_started)
    for _ in range(20):
        sums = [np.zeros(1) for _ in range(n)]
        team.run(add, [(to, float(i + 1), 1000) for i, to in enumerate(sums)])
        assert [to[0] for to in sums] == [1000.0 * (i + 1) for i in range(n)]
    team.dismiss()


def own_sum_when_the_other_call_ended(team):
    """What the caller's own long call had added up by then: nothing yet, if another thread made the short one."""
    own, other, seen = np.zeros(1), np.zeros(1), []

    def watch():
        while not other[0]:
            time.sleep(0)
        seen.append(own[0])

    watcher = threading.Thread(target=watch)
    watcher.start()
    team.run(add, [(own, 1.0, 4 * 10**8), (other, 1.0, 1)])
    watcher.join(30)
    assert own[0] == 4 * 10**8
    return seen


def test_a_thread_that_waits_takes_over_a_call(stay, threads_started):
    team = Team(1, threads_started)
    team.run(add, [(np.zeros(1), 1.0, 1)] * 2)  # nobody is there: a thread is called in, and stays
    assert len(threads_started.started) == 1
    assert own_sum_when_the_other_call_ended(team) == [0]
    assert len(threads_started.started) == 1
    team.dismiss()


def test_a_call_is_on_offer_until_a_thread_comes(stay):
    come, started = threading.Event(), Threads()
    team = Team(1, lambda serve: started(lambda: (come.wait(30), serve())))
    to = np.zeros(1), np.zeros(1)
    for _ in range(3):  # nobody comes: the caller makes both calls
        team.run(add, [(a, 1.0, 1) for a in to])
    assert [a[0] for a in to] == [3, 3]
    come.set()
    assert own_sum_when_the_other_call_ended(team) == [0]  # the thread that came late made it
    assert len(started.started) == 1
    team.dismiss()
    started.join()


def test_a_call_is_handed_over_with_all_kinds_of_arguments():
    """As they lie in a slot: arrays of several types and ranks, tuples, numbers; and arrays that are temporary."""

    @njit(nogil=True)
    def sum_all(slot, a, b, pair, number, flag, to):
        if handed_over(slot):
            return
        to[0] = a.sum() + b.sum() + pair[0] + 10 * pair[1] + number + flag

    slots, to = np.zeros(WORDS, np.int64), np.zeros(1)
    a, b = np.arange(24, dtype=np.float32).reshape(2, 3, 4)[:, ::-1], np.ones((2, 2, 1, 2), np.uint8)
    arguments = a, b, (1, 2), np.float32(0.5), True
    sum_all(slots.ctypes.data, *arguments, to)
    assert to[0] == 0
    assert finish(slots.ctypes.data, 1) == 0
    assert to[0] == 276 + 8 + 21 + 0.5 + 1
    sum_all(HERE, *arguments, to)
    assert to[0] == 276 + 8 + 21 + 0.5 + 1


def test_a_thread_does_not_wait_for_long(threads_started):
    team = Team(1, threads_started)
    for _ in range(2):
        team.run(add, [(np.zeros(1), 1.0, 1)] * 2)
        wait_until_gone(team)
    assert len(threads_started.started) == 2


def test_threads_that_are_dismissed_leave_at_once(stay, threads_started):
    team = Team(2, threads_started)
    team.run(add, [(np.zeros(1), 1.0, 1)] * 3)
    team.dismiss()
    wait_until_gone(team)


@pytest.mark.parametrize("waiting", [False, True])
@pytest.mark.parametrize("bad", [0, 1, 2])
def test_what_a_call_raises_is_raised_after_all_have_ended(bad, waiting, stay, threads_started):
    team = Team(1, threads_started)
    if waiting:
        team.run(add, [(np.zeros(1), 1.0, 1)] * 2)
    seen = np.zeros(3, np.int64)
    with pytest.raises(ValueError, match="negative"):
        team.run(refuse_negative, [(seen, -1 if i == bad else i) for i in range(3)])
    seen[:] = 0
    team.run(refuse_negative, [(seen, i) for i in range(3)])  # and nothing of it is left
    assert seen.tolist() == [1, 1, 1]
    team.dismiss()


def test_a_call_that_fails_elsewhere_is_made_again_here(threads_started):
    team, seen = Team(1, threads_started), np.array([[1], [0]])
    team.run(refuse_once, [(row,) for row in seen])
    assert seen.tolist() == [[2], [2]]
    team.dismiss()


def test_who_does_not_get_the_team_makes_all_calls(threads_started):
    team = Team(1, threads_started)
    sums = [np.zeros(1) for _ in range(3)]
    with team.lock:
        team.run(add, [(to, 1.0, 10) for to in sums])
    assert [to[0] for to in sums] == [10] * 3
    assert not threads_started.started


def test_two_threads_of_the_user_do_not_get_in_each_others_way(threads_started):
    team = Team(1, threads_started)
    errors = []

    def use(number):
        for _ in range(200):
            sums = np.zeros(1), np.zeros(1)
            team.run(add, [(to, number, 100) for to in sums])
            if [to[0] for to in sums] != [100 * number] * 2:
                errors.append(sums)

    users = [threading.Thread(target=use, args=(float(number),)) for number in (1, 2, 3)]
    for user in users:
        user.start()
    for user in users:
        user.join(60)
    team.dismiss()
    assert not errors


@pytest.mark.parametrize("inside", [False, True])
def test_for_calls(threads, inside):
    sums = [np.zeros(1) for _ in range(threads)]

    def run(start, stop):
        parallel.for_calls(add, [(to, 1.0, 10) for to in sums])

    for _ in range(3):
        if inside:
            parallel.for_blocks(run, 1)
        else:
            run(0, 1)
    assert [to[0] for to in sums] == [30.0] * threads


@pytest.mark.parametrize(("nanoseconds", "blocks"), [(0, 1), (10**9, 3)])
def test_share(nanoseconds, blocks):
    before = parallel.get_num_threads()
    parallel.set_num_threads(3)
    calls = parallel.share(add, lambda start, stop: (np.zeros(1), float(start), stop - start), 7, nanoseconds)
    parallel.set_num_threads(before)
    assert len(calls) == blocks
    assert [call[0][0] for call in calls] == [start * n for _, start, n in calls]
    assert sum(n for _, _, n in calls) == 7


def test_threads_come_back_for_blocks():
    """A thread that waits for compiled calls leaves off when there is a block of Python."""
    before = parallel.get_num_threads()
    parallel.set_num_threads(2)
    both_inside = threading.Barrier(2, timeout=30)
    for _ in range(3):
        parallel.for_calls(add, [(np.zeros(1), 1.0, 1)] * 2)
        parallel.for_blocks(lambda start, stop: both_inside.wait(), 2)
    parallel.set_num_threads(before)


def test_rows_are_cut_into_a_block_for_each_thread(threads):
    to = np.zeros(7)
    parallel.share_rows(add, [to], 1e9, 1.0, 10)
    assert np.flatnonzero(to).tolist() == [start for start, _ in parallel.edges(7, threads)]
    assert to.sum() == 10 * threads


def test_rows_of_little_work_are_not_cut():
    to = np.zeros(7)
    parallel.share_rows(add, [to], 1.0, 1.0, 10)
    assert to.tolist() == [10.0] + [0.0] * 6


def test_lead_makes_the_same_parts_where_another_thread_has_the_team():
    team, calls = Team(2, lambda serve: None), []
    with team.lock:
        team.lead(lambda *arguments: calls.append(arguments), (5,))
    assert calls == [(HERE, 3, 5)]
