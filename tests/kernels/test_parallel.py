"""Our worker threads: blocks, errors, the threads of BLAS, forks."""

import multiprocessing
import os
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest
from tinygrad_mnist.kernels import parallel

from tinygrad_mnist import kernels


def blas_threads():
    return [library.num_threads for library in parallel._numpy_blas()]


@pytest.mark.parametrize("n", [0, 1, 2, 3, 10])
def test_blocks_cover_the_range_once_and_in_order(n, threads):
    blocks = parallel.for_blocks(lambda start, stop: (start, stop), n)
    assert len(blocks) == max(1, min(n, threads))
    assert [i for start, stop in blocks for i in range(start, stop)] == list(range(n))


def test_blocks_run_on_different_threads_at_the_same_time():
    before = parallel.get_num_threads()
    parallel.set_num_threads(2)
    both_inside = threading.Barrier(2, timeout=30)
    names = parallel.for_blocks(lambda start, stop: (both_inside.wait(), threading.get_ident())[1], 2)
    parallel.set_num_threads(before)
    assert len(set(names)) == 2


@pytest.mark.parametrize(
    ("n", "count", "expected"), [(5, 2, [(0, 2), (2, 5)]), (2, 3, [(0, 1), (1, 2)]), (3, 1, [(0, 3)]), (0, 2, [(0, 0)])]
)
def test_edges(n, count, expected):
    assert list(parallel.edges(n, count)) == expected


@pytest.mark.parametrize(("nanoseconds", "blocks"), [(parallel.SMALL - 1, 1), (parallel.SMALL, 2)])
def test_little_work_is_not_shared(nanoseconds, blocks):
    before = parallel.get_num_threads()
    parallel.set_num_threads(2)
    assert len(parallel.for_blocks(lambda start, stop: None, 10, nanoseconds)) == blocks
    parallel.set_num_threads(before)


def test_threads_are_started_once_and_end_when_others_take_their_place():
    def ours():
        return [thread for thread in threading.enumerate() if thread.name.startswith("tinygrad_mnist_")]

    before = parallel.get_num_threads()
    parallel.set_num_threads(3)
    others = ours()  # that were told to end, but have not yet
    for _ in range(2):
        parallel.for_blocks(lambda start, stop: None, 3)
    started = [thread for thread in ours() if thread not in others]
    assert len(started) == 2
    parallel.set_num_threads(before)
    for thread in started:
        thread.join(30)
        assert not thread.is_alive()


def test_inside_a_block_blocks_run_on_the_calling_thread(threads):
    def outer(start, stop):
        return parallel.for_blocks(lambda a, b: threading.get_ident(), 6), threading.get_ident()

    for inner, ident in parallel.for_blocks(outer, 6):
        assert set(inner) == {ident} or threads == 1


def test_a_block_that_no_thread_has_begun_is_run_by_the_caller():
    before = parallel.get_num_threads()
    parallel.set_num_threads(2)
    busy, go_on = threading.Event(), threading.Event()

    def wait(start, stop):
        busy.set()
        go_on.wait(30)

    # Its two blocks take the only worker and the thread itself.
    other = threading.Thread(target=parallel.for_blocks, args=(lambda a, b: wait(a, b), 2), daemon=True)
    other.start()
    busy.wait(30)
    while parallel._workers.tasks.qsize():
        pass
    idents = parallel.for_blocks(lambda start, stop: threading.get_ident(), 2)
    assert idents == [threading.get_ident()] * 2
    go_on.set()
    other.join(30)
    assert parallel.for_blocks(lambda start, stop: start, 2) == [0, 1]  # the worker passes over what is done
    parallel.set_num_threads(before)


@pytest.mark.parametrize(("n", "work", "count"), [(1, 0, 1), (1, 10**9, 3), (2, 10**9, 2), (3, 10**9, 1), (0, 0, 1)])
def test_pieces_are_enough_for_all_threads(n, work, count):
    before = parallel.get_num_threads()
    parallel.set_num_threads(3)
    assert parallel.pieces(n, work) == count
    parallel.set_num_threads(before)


def test_blas_is_left_alone_where_it_is_not_called():
    before = parallel.get_num_threads()
    parallel.set_num_threads(2)
    assert parallel.for_blocks(lambda start, stop: blas_threads(), 2, blas=False) == [[2], [2]]
    parallel.set_num_threads(before)


@pytest.mark.parametrize("bad", [0, 1])
def test_what_a_block_raises_is_raised_after_all_have_ended(bad):
    before = parallel.get_num_threads()
    parallel.set_num_threads(2)
    ended = []

    def run(start, stop):
        if start == bad:
            raise KeyError(f"block {start}")
        ended.append(start)

    with pytest.raises(KeyError, match=f"block {bad}"):
        parallel.for_blocks(run, 2)
    assert ended == [1 - bad]
    assert parallel.for_blocks(lambda start, stop: start, 2) == [0, 1]  # and goes on working
    parallel.set_num_threads(before)


def test_blas_has_one_thread_inside_and_its_own_number_after():
    before = parallel.get_num_threads()
    parallel.set_num_threads(2)
    assert blas_threads() == [2]
    assert parallel.for_blocks(lambda start, stop: blas_threads(), 2) == [[1], [1]]
    assert blas_threads() == [2]
    with pytest.raises(ZeroDivisionError):
        parallel.for_blocks(lambda start, stop: 1 / 0, 2)
    assert blas_threads() == [2]
    parallel.set_num_threads(before)


def test_blas_is_given_back_when_the_last_of_two_callers_ends():
    before = parallel.get_num_threads()
    parallel.set_num_threads(2)
    during = []

    def run(start, stop):
        if start == 0:
            other = threading.Thread(target=parallel.for_blocks, args=(lambda start, stop: None, 2))
            other.start()
            other.join()
            during.append(blas_threads())

    parallel.for_blocks(run, 2)
    assert during == [[1]]
    assert blas_threads() == [2]
    parallel.set_num_threads(before)


def test_errstate_of_the_caller_holds_in_every_block(threads):
    def divide(start, stop):
        return np.ones(stop - start) / np.zeros(stop - start)

    with np.errstate(divide="ignore"), warnings.catch_warnings():
        warnings.simplefilter("error")
        parallel.for_blocks(divide, 6)


@pytest.mark.parametrize(("n", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError)])
def test_bad_numbers_of_threads(n, error):
    before = parallel.get_num_threads()
    with pytest.raises(error, match="set_num_threads: expected"):
        parallel.set_num_threads(n)
    assert parallel.get_num_threads() == before


@pytest.mark.parametrize(("value", "expected"), [("3", 3), ("0", None), ("many", None), ("", None)])
def test_default_is_omp_num_threads_or_all_cpus(value, expected):
    code = "from tinygrad_mnist.kernels import parallel; print(parallel.get_num_threads())"
    result = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "OMP_NUM_THREADS": value}, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) == (expected or len(os.sched_getaffinity(0)))


@pytest.mark.parametrize(("asked", "threads"), [("3", 3), ("1", 1)])
def test_the_users_number_of_threads(monkeypatch, asked, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert parallel._default_threads() == threads


def test_systems_without_affinity_count_their_cpus(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert parallel._default_threads() == 1


def _convolve(queue):
    x, w = np.ones((4, 3, 8, 8), np.float32), np.ones((5, 3, 3, 3), np.float32)
    y = kernels.conv2d(x, w, None, (1, 1), (0, 0), (1, 1), 1)
    queue.put((float(y.sum()), blas_threads(), parallel.get_num_threads()))


@pytest.mark.parametrize("held", [False, True])
def test_what_a_fork_finds_is_set_right(held):
    before = parallel.get_num_threads()
    parallel.set_num_threads(2)
    parent = parallel._workers
    if held:
        parent.hold_blas()
    parallel._after_fork()
    assert parallel._workers is not parent
    assert (parallel.get_num_threads(), parallel._workers.running, blas_threads()) == (2, 0, [2])
    parallel.set_num_threads(before)


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")  # a fork with threads running is the test
def test_a_forked_process_starts_its_own_threads(path):
    before = parallel.get_num_threads()
    parallel.set_num_threads(2)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()

    def fork_here(start, stop):
        if start == 0:  # in the middle of a run, with BLAS held at one thread
            process = context.Process(target=_convolve, args=(queue,))
            process.start()
            answer = queue.get(timeout=60)
            process.join(60)
            return answer, process.exitcode
        return None

    (answer, exitcode), _ = parallel.for_blocks(fork_here, 2)
    assert exitcode == 0
    assert answer == (4 * 5 * 36 * 27.0, [2], 2)
    parallel.set_num_threads(before)


needs_cpus = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="needs Linux and two CPUs"
)


@needs_cpus
def test_workers_keep_off_the_callers_cpu():
    before, allowed = parallel.get_num_threads(), os.sched_getaffinity(0)
    parallel.set_num_threads(2)
    both_inside = threading.Barrier(2, timeout=30)  # else the caller may do the worker's block, too
    try:
        for cpu in sorted(allowed)[:2]:
            os.sched_setaffinity(0, {cpu})  # so that the caller is there
            os.sched_setaffinity(0, allowed)
            where = parallel.for_blocks(lambda start, stop: (both_inside.wait(), os.sched_getaffinity(0))[1], 2)
            assert where[0] == allowed
            assert len(where[1]) == len(allowed) - 1
            assert where[1] < allowed
    finally:
        os.sched_setaffinity(0, allowed)
        parallel.set_num_threads(before)


@needs_cpus
def test_workers_go_anywhere_where_there_are_not_enough_cpus():
    before, allowed = parallel.get_num_threads(), os.sched_getaffinity(0)
    parallel.set_num_threads(len(allowed) + 1)
    assert parallel.for_blocks(lambda start, stop: os.sched_getaffinity(0), 9) == [allowed] * (len(allowed) + 1)
    parallel.set_num_threads(before)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs Linux")
def test_a_system_that_forbids_it(monkeypatch):
    def forbidden(thread, cpus):
        raise PermissionError("not here")

    before = parallel.get_num_threads()
    monkeypatch.setattr(os, "sched_setaffinity", forbidden)
    parallel.set_num_threads(2)
    assert parallel.for_blocks(lambda start, stop: stop, 2) == [1, 2]
    parallel.set_num_threads(before)


def test_a_system_without_it(monkeypatch):
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    parallel._current_cpu.cache_clear()
    assert parallel._current_cpu() is None
    before = parallel.get_num_threads()
    parallel.set_num_threads(2)
    assert parallel.for_blocks(lambda start, stop: stop, 2) == [1, 2]
    parallel.set_num_threads(before)
    parallel._current_cpu.cache_clear()
