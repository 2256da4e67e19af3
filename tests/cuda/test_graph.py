"""CUDA graphs: what a captured kernel is given each time, and what a device refuses meanwhile."""

from collections.abc import Callable, Iterator
from typing import Any

import cuda_on_cpu
import cupy as cp
import numpy as np
import pytest
from cupy.cuda import runtime
from cupy.cuda.runtime import CUDARuntimeError
from tinygrad_mnist.kernels import cuda
from tinygrad_mnist.kernels.cuda.graph import Draw, Graph, capturable
from tinygrad_mnist.kernels.cuda.matmul import own_matmul

from tinygrad_mnist import kernels

UNSUPPORTED, INVALIDATED = "cudaErrorStreamCaptureUnsupported", "cudaErrorStreamCaptureInvalidated"


def test_a_graph_does_its_work_at_each_launch_and_not_before() -> None:
    x, y = cp.arange(6, dtype=np.float32) - 2, cp.full(6, 7, np.float32)

    def work() -> Any:
        cuda.relu(x)  # its memory is free again, and the next result's
        y[...] = cuda.relu(x) + 1
        return y.sum()

    work()
    y.fill(7)
    graph = Graph(work)
    assert y.tolist() == [7] * 6
    for _ in range(2):
        graph.launch(0)
        assert y.tolist() == [1, 1, 1, 2, 3, 4]
        assert graph.result == 12
        y.fill(7)
    x += 1
    graph.launch(0)
    assert y.tolist() == [1, 1, 2, 3, 4, 5]


def test_copies_and_fills_are_captured() -> None:
    x, y, z = cp.arange(5.0), cp.zeros(5), cp.ones(5)

    def work() -> None:
        y.data.copy_from_device_async(x.data, y.nbytes)
        z.data.memset_async(0, z.nbytes)

    graph = Graph(work)
    assert (y.tolist(), z.tolist()) == ([0] * 5, [1] * 5)
    graph.launch(0)
    assert (y.tolist(), z.tolist()) == ([0, 1, 2, 3, 4], [0] * 5)


def test_random_numbers_go_on() -> None:
    x = np.ones((3, 5), np.float32)
    images, low, high = np.ones((2, 1, 4, 3)), np.array([-9.0, -1, -1, 0.5, 0, 0]), np.array([9.0, 1, 1, 1.5, 9, 9])
    center, inputs = np.array([1.5, 2.0]), (cp.asarray(x), cp.asarray(images))

    def work(module: Any, x: Any, images: Any, moved: int = 0) -> Any:
        y, kept = module.dropout(x, (3, 1), 0.5, 2.0, 5, 10 + moved)
        return y, kept, module.random_affine(images, low, high, center, False, 0.0, 5, 11 + moved)

    work(cuda, *inputs)
    graph = Graph(lambda: work(cuda, *inputs))
    assert graph.draws == [Draw(5, 10, 1), Draw(5, 11, 4)]
    seen = set()
    for moved in (0, 1, 2**40, -3):
        graph.launch(moved)
        got = [a.get() for a in graph.result]
        expected = work(kernels, x, images, moved)
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-12)
        seen.add(got[2].tobytes())
    assert len(seen) == 4


def test_products_are_our_own_kernels() -> None:
    """Where a graph is captured by us, by somebody else, and where the bits shall be those of a graph."""
    x, y = (cp.asarray(np.random.default_rng(i).standard_normal(s, np.float32)) for i, s in enumerate([(5, 7), (7, 9)]))
    own = own_matmul(x, y)
    graph = Graph(lambda: cuda.matmul(x, y))
    graph.launch(0)
    assert (graph.result == own).all()
    with capturable():
        assert (cuda.matmul(x, y) == own).all()
    stream = cp.cuda.Stream(non_blocking=True)
    out = cp.zeros_like(own)
    with stream:
        stream.begin_capture()
        product = cuda.matmul(x, y)  # kept: its memory is the graph's, too
        out[...] = product
        theirs = stream.end_capture()
    theirs.launch()
    assert (out == own).all()


def test_an_error_leaves_the_stream_as_it_was() -> None:
    def wait() -> None:
        cp.cuda.get_current_stream().synchronize()

    def fail() -> None:
        raise KeyboardInterrupt

    for work, error in ((wait, CUDARuntimeError), (fail, KeyboardInterrupt)):
        before = cp.cuda.get_current_stream()
        with pytest.raises(error):
            Graph(work)
        assert cp.cuda.get_current_stream() == before
        assert not before.is_capturing()
        assert cuda.dropout(cp.ones(8), (8,), 0.0, 1.0, 0, 0)[0].sum() == 8  # is not taken for a part of a graph
        Graph(lambda: None).launch(0)


def test_a_kernel_that_fails_in_a_graph(counters: cuda_on_cpu.Counters) -> None:
    source = """extern "C" __global__ void half(const int* go) { if (go[threadIdx.x]) __syncthreads(); }"""
    kernel, go = cp.RawModule(code=source).get_function("half"), cp.zeros(64, np.int32)
    graph = Graph(lambda: kernel((1,), (64,), (go,)))
    graph.launch(0)
    go[:3] = 1
    with pytest.raises(CUDARuntimeError, match="cudaErrorLaunchFailure"):
        graph.launch(0)


@pytest.fixture
def stream(counters: cuda_on_cpu.Counters) -> Iterator[Any]:
    """A stream of the CPU device that captures, whatever becomes of it."""
    stream = cp.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        yield stream
    if counters.capturing:
        stream.end_capture()


REFUSED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "wait for the stream": (lambda stream: stream.synchronize(), UNSUPPORTED),
    "wait for the device": (lambda stream: cp.cuda.Device().synchronize(), UNSUPPORTED),
    "ask the stream": (lambda stream: stream.done, UNSUPPORTED),
    "wait for an event in it": (lambda stream: stream.record().synchronize(), "cudaErrorCapturedEvent"),
    "ask an event in it": (lambda stream: stream.record().done, "cudaErrorCapturedEvent"),
    "wait for an event outside": (
        lambda stream: stream.wait_event(cp.cuda.Stream.null.record()), "cudaErrorStreamCaptureIsolation"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_makes_a_capture_invalid(name: str, stream: Any) -> None:
    act, error = REFUSED[name]
    x = cp.zeros(3)
    with pytest.raises(CUDARuntimeError, match=error):
        act(stream)
    with pytest.raises(CUDARuntimeError, match=INVALIDATED):
        x.data.memset_async(0, 8)
    with pytest.raises(RuntimeError, match="an error has invalidated the capture sequence"):
        stream.is_capturing()
    with pytest.raises(CUDARuntimeError, match=INVALIDATED):
        stream.end_capture()
    assert not stream.is_capturing()


def test_what_is_refused_without_harm(stream: Any) -> None:
    with pytest.raises(CUDARuntimeError, match="cudaErrorIllegalState"):
        stream.begin_capture()
    with pytest.raises(CUDARuntimeError, match="cudaErrorIllegalState"):
        cp.cuda.Stream(non_blocking=True).end_capture()
    event = stream.record()
    stream.wait_event(event)
    stream.end_capture().launch()
    with pytest.raises(CUDARuntimeError, match="cudaErrorIllegalState"):
        stream.end_capture()
    stream.record(event)
    assert event.done


@pytest.mark.parametrize("mode", [runtime.streamCaptureModeGlobal, runtime.streamCaptureModeThreadLocal])
def test_memory_from_the_driver_is_refused_but_in_the_relaxed_mode(counters: cuda_on_cpu.Counters, mode: int) -> None:
    stream = cp.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture(mode)
        with pytest.raises(CUDARuntimeError, match=UNSUPPORTED):
            cp.cuda.Memory(100)
        with pytest.raises(CUDARuntimeError, match=INVALIDATED):
            stream.end_capture()
        stream.begin_capture()
        cp.cuda.Memory(100)
        stream.end_capture()


@pytest.mark.parametrize("non_blocking", [True, False])
def test_the_legacy_stream_meanwhile(counters: cuda_on_cpu.Counters, non_blocking: bool) -> None:
    """It waits for other streams, but for those that are non-blocking."""
    x, stream = cp.zeros(3), cp.cuda.Stream(non_blocking=non_blocking)
    stream.begin_capture()
    if non_blocking:
        x.fill(5)
        stream.end_capture()
        assert x.tolist() == [5, 5, 5]
    else:
        with pytest.raises(CUDARuntimeError, match="cudaErrorStreamCaptureImplicit"):
            x.data.memset_async(0, 8)
        with pytest.raises(CUDARuntimeError, match=INVALIDATED):
            stream.end_capture()


def test_memory_lives_as_long_as_its_arrays(counters: cuda_on_cpu.Counters) -> None:
    x = cp.arange(1000.0)
    x + 1
    used = counters.memory_used
    graph = Graph(lambda: (x + 1) * 2)
    graph.launch(0)
    held, result = counters.memory_used - used, graph.result
    assert 16000 <= held < 20000
    del graph
    cp.full(2000, np.nan)
    assert result.tolist() == [2 * (i + 1) for i in range(1000)]
    del result
    assert counters.memory_used == used
