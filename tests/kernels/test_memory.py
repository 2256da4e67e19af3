"""Memory that is used again: never while somebody still looks at it."""

import gc
import subprocess
import sys
import threading
from collections import deque

import numpy as np
import pytest
from tinygrad_mnist.kernels import memory

LARGE = (memory.LARGE // 4,)  # float32


@pytest.fixture(autouse=True)
def _nothing_waiting(monkeypatch):
    gc.collect()
    memory._take_back()
    memory._waiting.clear()
    yield
    memory._waiting.clear()


def address(x):
    return x.__array_interface__["data"][0]


def test_small_arrays_are_numpys_own():
    assert memory.empty((2, 3), np.float64).base is None
    assert memory.empty((0, 3), np.float64).shape == (0, 3)


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.float64])
def test_memory_is_used_again_when_the_last_view_is_gone(dtype):
    x = memory.empty((4, 100_000), dtype)
    assert x.dtype == dtype
    assert x.flags.c_contiguous
    assert x.flags.writeable
    at, view = address(x), x[1:, ::2].T
    del x
    y = memory.empty((4, 100_000), dtype)
    assert address(y) != at  # the view still shows the old memory
    del view
    z = memory.empty((4, 100_000), dtype)
    assert address(z) == at
    assert not np.shares_memory(y, z)


def test_a_part_of_what_is_lent_gives_nothing_back():
    x = memory.empty(LARGE, np.float32)
    part = x.base[:4]
    del part
    memory._take_back()
    assert not memory._waiting
    x[...] = 1  # it is still ours


def test_memory_begins_where_a_line_of_the_cache_does():
    arrays = [memory.empty((memory.LARGE + i,), np.uint8) for i in range(3)]
    assert [address(x) % memory.LINE for x in arrays] == [0, 0, 0]
    assert all(x.nbytes == memory.LARGE + i for i, x in enumerate(arrays))


@pytest.mark.parametrize(("then", "same"), [(10, True), (8, True), (7, False), (11, False)])
def test_only_memory_of_about_the_size_is_taken(then, same):
    x = memory.empty((10, memory.LARGE), np.uint8)
    at = address(x)
    del x
    y = memory.empty((then, memory.LARGE), np.uint8)
    assert (address(y) == at) is same


def test_what_waits_is_bounded(monkeypatch):
    monkeypatch.setattr(memory, "KEPT", 2 * memory.LARGE)
    arrays = [memory.empty(LARGE, np.float32) for _ in range(4)]
    last = address(arrays[3])
    while arrays:
        del arrays[0]
    memory._take_back()
    assert len(memory._waiting) == 2
    assert address(memory.empty(LARGE, np.float32)) == last  # what was used last is the likeliest in a cache


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 3, 1), (3, 2, 1, 0)])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (16, 32, 30, 40), (1, 256, 1, 2000), (64, 1, 100, 100)])
def test_empty_like_keeps_the_order_in_memory(shape, order):
    x = np.zeros([shape[i] for i in order], np.float32).transpose(np.argsort(order))
    y = memory.empty_like(x)
    assert y.shape == x.shape
    assert y.dtype == x.dtype
    several = [axis for axis, n in enumerate(shape) if n > 1]  # elsewhere the stride means nothing
    assert [y.strides[axis] for axis in several] == [np.empty_like(x).strides[axis] for axis in several]


def test_memory_comes_back_without_running_python():
    """A Ctrl-C that falls into a `__del__` is printed and lost."""
    ran = []
    x = memory.empty(LARGE, np.float32)
    sys.setprofile(lambda frame, event, argument: ran.append(event))
    del x
    sys.setprofile(None)
    assert ran == ["c_call"]  # setprofile
    memory._take_back()
    assert len(memory._waiting) == 1


def test_threads_never_share():
    wrong = []

    def work(number):
        for _ in range(200):
            x = memory.empty(LARGE, np.int32)
            x[:] = number
            if (x != number).any():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == []


def test_another_thread_may_take_back_first(monkeypatch):
    class Raced(deque):
        def popleft(self):
            self.clear()
            return super().popleft()

    monkeypatch.setattr(memory, "_back", Raced([None]))
    memory._take_back()
    assert not memory._waiting


def test_nothing_is_said_at_exit():
    """Not even where an array outlives the module."""
    code = "import numpy as np; from tinygrad_mnist.kernels import memory; np.x = memory.empty((10**6,), np.float64)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("order", [(0, 3, 1, 2), (0, 1, 2, 3), (3, 0, 2, 1), (0, 2, 1, 3)])
def test_reshape_is_numpys(dtype, order, threads, rng):
    """Copied or not, flat images and others: the same numbers, and a view of the same memory or not."""
    x = rng.integers(0, 1000, (16, 64, 64, 16)).astype(dtype).transpose(order)
    N, C, H, W = x.shape
    for shape in ((N, -1), (N, C * H, W), (N, C, H * W), (-1,), (N * C, H, W), (N, C, H, 2, W // 2), (1, *x.shape)):
        got, expected = memory.reshape(x, shape), x.reshape(shape)
        np.testing.assert_array_equal(got, expected, strict=True)
        assert np.may_share_memory(got, x) == np.may_share_memory(expected, x)
    with pytest.raises(ValueError, match="cannot reshape"):
        memory.reshape(x, (N, 7))


def test_a_reshaped_copy_of_many_images_is_shared(threads, monkeypatch, rng):
    blocks = []
    monkeypatch.setattr(memory, "for_blocks", lambda run, n, *args, **options: (blocks.append(n), run(0, n)))
    x = rng.random((16, 64, 64, 16))
    memory.reshape(x.transpose(0, 3, 1, 2), (16, -1))
    memory.reshape(x, (16, -1))
    memory.reshape(x[:, :2, :2].transpose(0, 3, 1, 2), (16, -1))
    assert blocks == [16]
