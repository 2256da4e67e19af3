"""Worker processes: the same batches as without, and what happens when one fails, dies or hangs."""

import multiprocessing
import os
import pickle
import random
import re
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

import tinygrad_mnist as tg
from tinygrad_mnist import backend
from tinygrad_mnist.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, get_worker_info

CONTEXTS = ["fork", "spawn"] if sys.platform == "linux" else ["spawn"]


class Noisy(Dataset):
    """Samples with a random number from each global source."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return index, tg.rand(1).item(), np.random.rand(), random.random()  # noqa: NPY002


class Worse(Dataset):
    """Something goes wrong at sample 4."""

    def __init__(self, what):
        self.what = what

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return self.what() if index == 4 else index


class Info(Dataset):
    """Which worker fetched each sample."""

    def __len__(self):
        return 6

    def __getitem__(self, index):
        info = get_worker_info()
        assert info.dataset is self
        return info.id, info.num_workers, os.getpid()


class Stream(IterableDataset):
    """0 to 9, shared out among the workers if `share`."""

    def __init__(self, share):
        self.share = share

    def __iter__(self):
        info = get_worker_info()
        noise = tg.rand(1).item()
        start, step = (info.id, info.num_workers) if self.share and info else (0, 1)
        return iter([(i, noise) for i in range(start, 10, step)])


class OddError(Exception):
    """An exception that pickle cannot make again."""

    def __init__(self, a, b):
        super().__init__(f"{a} {b}")


def fail():
    raise KeyError("no such key")


def fail_oddly():
    raise OddError("odd", "error")


def die():
    os._exit(3)


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def hang():
    time.sleep(60)


def unpicklable():
    return lambda: None


def generator(seed: int = 0) -> tg.Generator:
    return tg.Generator().manual_seed(seed)


def values(loader) -> list:
    return [[x.tolist() for x in batch] for batch in loader]



@pytest.fixture(autouse=True)
def _no_process_stays():
    """Every test ends all the workers that it started."""
    yield
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("context", CONTEXTS)
def test_same_batches_whatever_the_number_of_workers(context):
    def epochs(workers: int) -> list:
        options = {"multiprocessing_context": context} if workers else {}
        loader = DataLoader(Noisy(), 3, shuffle=True, num_workers=workers, generator=generator(), **options)
        return [values(loader) for _ in range(2)]

    expected = epochs(0)
    assert expected[0] != expected[1]
    for workers in (1, 3) if context == "fork" else (2,):
        assert epochs(workers) == expected


def test_same_whole_batches_and_single_samples():
    dataset = TensorDataset(tg.arange(20), tg.randn(20, 3))
    for options in ({"batch_size": 6}, {"batch_size": None}, {"batch_size": 4, "collate_fn": len}):
        a, b = (list(map(str, DataLoader(dataset, num_workers=n, **options))) for n in (0, 2))
        assert a == b


class Computed(Dataset):
    """Samples that take a matrix product and a convolution."""

    x = tg.rand(8, 3, 16, 16)
    w = tg.rand(4, 3, 3, 3)

    def __len__(self):
        return 4

    def __getitem__(self, index):
        product = self.x.reshape(64, -1) @ self.x.reshape(-1, 64)
        return tg.nn.functional.conv2d(self.x, self.w).sum() + product.sum()


def test_workers_compute_after_the_main_process_used_threads():
    threads = backend.CPU.kernels.parallel.get_num_threads()
    backend.CPU.kernels.parallel.set_num_threads(3)
    try:
        large = tg.rand(600, 600)
        (large @ large).sum().item()
        dataset = Computed()
        expected = dataset[0].item()
        batches = [batch.item() for batch in DataLoader(dataset, num_workers=2, timeout=60)]
    finally:
        backend.CPU.kernels.parallel.set_num_threads(threads)
    assert batches == pytest.approx([expected] * 4, rel=1e-5)


def test_the_main_process_keeps_its_random_numbers():
    found = []
    for workers in (0, 2):
        tg.manual_seed(0)
        for _ in DataLoader(Noisy(), 2, shuffle=True, num_workers=workers):
            found.append(tg.rand(1).item())
    assert found[:5] == found[5:]


def test_workers_take_turns():
    rows = [[x.item() for x in batch] for batch in DataLoader(Info(), num_workers=2)]
    assert [row[:2] for row in rows] == [[0, 2], [1, 2]] * 3
    assert len({row[2] for row in rows} | {os.getpid()}) == 3


def test_more_workers_than_batches():
    assert values(DataLoader(TensorDataset(tg.arange(3)), 2, num_workers=4)) == [[[0, 1]], [[2]]]


@pytest.mark.parametrize("prefetch_factor", [1, 5])
def test_prefetch(prefetch_factor):
    loader = DataLoader(TensorDataset(tg.arange(30)), num_workers=2, prefetch_factor=prefetch_factor)
    assert values(loader) == [[[i]] for i in range(30)]


def test_batches_and_index_lists_larger_than_a_pipe():
    dataset = TensorDataset(tg.arange(200_000))
    loader = DataLoader(dataset, 50_000, num_workers=2, prefetch_factor=4, timeout=60)
    assert [batch[0].sum().item() for batch in loader] == [sum(range(i, i + 50_000)) for i in range(0, 200_000, 50_000)]


@pytest.mark.parametrize("persistent", [False, True])
def test_persistent_workers_are_the_same_processes(persistent):
    loader = DataLoader(Info(), num_workers=2, persistent_workers=persistent)
    first, second = ({batch[2].item() for batch in loader} for _ in range(2))
    assert (first == second) is persistent


def test_persistent_workers_after_a_break():
    loader = DataLoader(Noisy(), 2, shuffle=True, num_workers=2, persistent_workers=True, generator=generator())
    plain = DataLoader(Noisy(), 2, shuffle=True, generator=generator())
    for a, b in zip(loader, plain, strict=False):
        assert [x.tolist() for x in a] == [x.tolist() for x in b]
        break
    assert values(loader) == values(plain)


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("share", [False, True])
def test_streams(workers, share):
    loader = DataLoader(Stream(share), 2, num_workers=workers, generator=generator())
    for _ in range(2):
        numbers = [i for batch in loader for i in batch[0].tolist()]
        assert sorted(numbers) == sorted(list(range(10)) * (1 if share or not workers else workers))


def test_one_worker_streams_as_none_does():
    a, b = (values(DataLoader(Stream(False), 3, num_workers=n, generator=generator())) for n in (0, 1))
    assert a == b


def test_stream_with_persistent_workers():
    loader = DataLoader(Stream(True), 2, num_workers=2, persistent_workers=True)
    first, second = values(loader), values(loader)
    assert [batch[0] for batch in first] == [batch[0] for batch in second]
    assert first != second  # new random numbers


@pytest.mark.parametrize("workers", [0, 2])
def test_an_interrupted_epoch_goes_on_with_any_number_of_workers(workers):
    loader = DataLoader(Noisy(), 2, shuffle=True, num_workers=2, generator=generator())
    iterator = iter(loader)
    next(iterator)
    state = loader.state_dict()
    rest = values(iterator), values(loader)
    other = DataLoader(Noisy(), 2, shuffle=True, num_workers=workers, generator=generator(9))
    other.load_state_dict(state)
    assert (values(other), values(other)) == rest


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize(
    ("what", "error", "message"),
    [
        (fail, KeyError, r"(?s)no such key.*in DataLoader worker 0 \(pid \d+\).*in __getitem__.*in fail"),
        (fail_oddly, RuntimeError, r"(?s)worker 0.*OddError: odd error"),
        (unpicklable, (AttributeError, pickle.PicklingError), r"(?s)worker 0.*lambda"),
        (die, RuntimeError, r"worker 0 \(pid \d+\) exited with code 3 unexpectedly"),
        (kill, RuntimeError, r"worker 0 \(pid \d+\) was killed by SIGKILL unexpectedly"),
        (hang, RuntimeError, r"timed out after 1.5 seconds, waiting for worker 0"),
    ],
)
def test_failures_are_reported(what, error, message, context):
    if context == "spawn" and what is not fail:
        return  # the rest is the same code
    timeout = 1.5 if what is hang else 60
    loader = DataLoader(
        Worse(what), 2, num_workers=2, timeout=timeout, multiprocessing_context=context, collate_fn=list
    )
    batches = []
    with pytest.raises(error) as caught:
        batches.extend(loader)
    text = "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    assert re.search(message, text), text
    if what not in (die, kill, hang):  # which may take batches with them that are not sent, or not in that time
        assert len(batches) == 2
    assert batches == [[0, 1], [2, 3]][: len(batches)]
    assert loader.state_dict()["batches"] == len(batches)


def test_failure_of_worker_init_fn():
    def init(worker):
        raise ValueError(f"worker {worker} does not start")

    with pytest.raises(ValueError, match="worker 0 does not start"):
        next(iter(DataLoader([1, 2], num_workers=1, worker_init_fn=init)))


def test_worker_init_fn_runs_once_in_each_worker():
    class Counted(Dataset):
        calls = 0

        def __len__(self):
            return 2

        def __getitem__(self, index):
            return self.calls

    dataset = Counted()

    def init(worker):
        dataset.calls += 1 + 10 * worker

    loader = DataLoader(dataset, num_workers=2, worker_init_fn=init, persistent_workers=True)
    for _ in range(2):
        assert [batch.tolist() for batch in loader] == [[1], [11]]


def test_a_dead_worker_that_is_sent_a_task():
    loader = DataLoader(Info(), num_workers=1, prefetch_factor=1, persistent_workers=True)
    list(loader)
    process = loader._workers.processes[0]
    process.kill()
    process.join()
    with pytest.raises(RuntimeError, match="was killed by SIGKILL"):
        list(loader)
    assert len(list(loader)) == 6  # with new workers


def test_breaking_off_ends_the_workers():
    for _ in DataLoader(Noisy(), num_workers=2):
        break


SCRIPT = """
    import os, sys, time
    from tinygrad_mnist.utils.data import DataLoader
    class Slow:
        def __len__(self): return 1000
        def __getitem__(self, index):
            time.sleep(0.01)
            return index
    if __name__ == "__main__":
        loader = DataLoader(Slow(), num_workers=2, persistent_workers=True)
        iterator = iter(loader)
        next(iterator)
        print(*[p.pid for p in loader._workers.processes], flush=True)
        for _ in iterator:
            pass
"""


def alive(pid: str) -> bool:
    """Whether a process runs (and is not just waiting to be reaped)."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", pid], capture_output=True, text=True).stdout.strip()
    return bool(state) and not state.startswith("Z")


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_orphans(how, tmp_path):
    script = tmp_path / "main.py"
    script.write_text(textwrap.dedent(SCRIPT))
    main = subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    workers = main.stdout.readline().split()
    assert len(workers) == 2
    if how == signal.SIGINT:
        os.killpg(main.pid, how)  # as a terminal does
    else:
        main.send_signal(how)
    _, errors = main.communicate(timeout=30)
    deadline = time.monotonic() + 20
    while any(alive(pid) for pid in workers):
        assert time.monotonic() < deadline, "workers outlive the main process"
        time.sleep(0.05)
    assert errors.count("Traceback") == (1 if how == signal.SIGINT else 0), errors
