"""`python -m benchmarks gpu`: every CUDA kernel, and whole training steps, against PyTorch on the machine's GPU.

A kernel is checked against PyTorch in float64, then timed twice: "GPU" is the time on the device alone, from a CUDA
graph of ten calls; "call" is a call from Python, with launching. The floor is what the bytes and operations of the
work take at the rates of a large copy and a large matrix product, measured in the same run. TF32 is off for both.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

Work = Callable[[], Any]
CALLS = 10  # in a graph
BATCHES = (64, 512)  # of the kernels
STEP_BATCHES = (64, 512, 2048)


def gpu(rounds: int) -> list[dict[str, Any]]:
    """Check, time and print everything; rows in the form of the JSON file. SystemExit where there is no GPU."""
    try:
        import cupy as cp
        import torch
    except ImportError as error:
        raise SystemExit(f"benchmarks gpu: {error}; it needs PyTorch and the extra cuda12 or cuda13") from error
    if not (cp.is_available() and torch.cuda.is_available()):
        who = "CuPy" if not cp.is_available() else "this PyTorch"
        raise SystemExit(f"benchmarks gpu: {who} finds no CUDA device; python -m tinygrad_mnist info says more")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    properties = cp.cuda.runtime.getDeviceProperties(0)
    print(f"{properties['name'].decode()}, CuPy {cp.__version__}, PyTorch {torch.__version__}, {rounds} rounds")
    flops, bandwidth = peaks(rounds)
    print(f"matrix product {flops / 1e12:.1f} Tflop/s, copy {bandwidth / 1e9:.0f} GB/s")
    return [*_kernels(rounds, flops, bandwidth), *_steps(rounds)]


def seconds(work: Work, rounds: int, calls: int = 1) -> list[float]:
    """Quartiles of the time of a call, by events on the device; `work` makes `calls` calls."""
    import cupy as cp

    for _ in range(3):
        work()
    found = []
    for _ in range(rounds):
        start, end = cp.cuda.Event(), cp.cuda.Event()
        start.record()
        work()
        end.record()
        end.synchronize()
        found.append(cp.cuda.get_elapsed_time(start, end) / 1e3 / calls)
    return np.quantile(found, [0.25, 0.5, 0.75]).tolist()


def our_graph(work: Work, calls: int = CALLS) -> Work:
    """`calls` calls of our `work` as a CUDA graph, to be launched on the null stream."""
    import cupy as cp

    stream = cp.cuda.Stream(non_blocking=True)
    cp.cuda.Device().synchronize()
    with stream:
        work()
        stream.begin_capture()
        kept = [work() for _ in range(calls)]  # as long as the graph: it writes there
        graph = stream.end_capture()
    stream.synchronize()
    return lambda _kept=kept: graph.launch(cp.cuda.Stream.null)


def their_graph(work: Work, calls: int = CALLS) -> Work:
    """`calls` calls of PyTorch's `work` as a CUDA graph."""
    import torch

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            work()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(calls):
            work()
    return graph.replay


def peaks(rounds: int) -> tuple[float, float]:
    """Operations a second of a large float32 matrix product (cuBLAS), bytes a second of a large copy."""
    import cupy as cp

    a = cp.ones((4096, 4096), np.float32)
    source, target = cp.ones(2**26, np.float32), cp.empty(2**26, np.float32)
    product = seconds(lambda: cp.matmul(a, a), rounds)[1]
    copy = seconds(lambda: cp.copyto(target, source), rounds)[1]
    return 2.0 * 4096**3 / product, 2.0 * source.nbytes / copy


def _kernels(rounds: int, flops: float, bandwidth: float) -> list[dict[str, Any]]:
    from . import gpu_cases, gpu_other_cases

    rows: list[dict[str, Any]] = []
    wrong: list[str] = []
    print(
        f"{'microseconds, medians':42} {'GPU':>8} {'quartiles':>17} {'torch':>8} {'floor':>7} {'call':>7} {'torch':>7}"
    )
    for batch in BATCHES:
        for case in (*gpu_cases.cases("cuda", batch), *gpu_other_cases.cases("cuda", batch)):
            if batch != BATCHES[0] and f"N {batch}" not in case.name:
                continue
            try:
                case.check()
            except AssertionError as error:
                wrong.append(str(error))
                print(f"WRONG: {error}", flush=True)
                continue

            def theirs(case: Any = case) -> Any:
                return case.theirs(*case.inputs)

            row: dict[str, Any] = {"name": case.name, "flops": case.flops, "bytes": case.bytes}
            row["floor"] = max(case.flops / flops, case.bytes / bandwidth)
            row["call"], row["torch_call"] = seconds(case.ours, rounds), seconds(theirs, rounds)
            captured = "cuBLAS" not in case.name and "sorts" not in case.name  # CuPy refuses those
            row["gpu"] = None if not captured else seconds(our_graph(case.ours), rounds, CALLS)
            row["torch_gpu"] = seconds(their_graph(theirs), rounds, CALLS)
            rows.append(row)
            ours = row["gpu"] or [float("nan")] * 3
            spread = f"{ours[0] * 1e6:.1f} to {ours[2] * 1e6:.1f}"
            numbers = [row["torch_gpu"][1], row["floor"], row["call"][1], row["torch_call"][1]]
            text = " ".join(f"{1e6 * n:{w}.1f}" for n, w in zip(numbers, (8, 7, 7, 7), strict=True))
            print(f"{case.name:42} {ours[1] * 1e6:8.1f} {spread:>17} {text}", flush=True)
    if wrong:
        raise SystemExit("benchmarks gpu: wrong results:\n" + "\n".join(wrong))
    return rows


def _steps(rounds: int) -> list[dict[str, Any]]:
    """Whole training steps of the CNN without dropout: SGD with momentum, the batch on the device."""
    rows = []
    print(f"{'training step, milliseconds, medians':32} {'ours':>8} {'graphed':>8} {'torch':>8} {'graphed':>8}")
    for batch in STEP_BATCHES:
        works = step_works(batch)
        found = {name: _wall(work, rounds) for name, work in works.items()}
        rows.append({"name": f"step, N {batch}", **found})
        print(f"cnn, N {batch:<24} " + " ".join(f"{found[n][1] * 1e3:8.2f}" for n in works), flush=True)
    return rows


def _wall(step: Work, rounds: int, steps: int = 10) -> list[float]:
    """Quartiles of the time of a step when ten are given to the device one after the other."""
    import cupy as cp

    found = []
    for i in range(rounds // 2 + 2):
        start = time.perf_counter()
        for _ in range(steps):
            step()
        cp.cuda.Device().synchronize()
        if i >= 2:
            found.append((time.perf_counter() - start) / steps)
    return np.quantile(found, [0.25, 0.5, 0.75]).tolist()


def step_works(batch: int, device: str = "cuda") -> dict[str, Work]:
    """A step of ours and of PyTorch's, eager and as a CUDA graph, of the same network on the same batch."""
    import torch

    import tinygrad_mnist as tg
    from tinygrad_mnist import nn, optim
    from tinygrad_mnist.training import GraphedStep, train_step

    from .steps import cnn

    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((batch, 1, 28, 28)).astype(np.float32), rng.integers(0, 10, batch)
    ours, inputs, targets = cnn(nn).to(device), tg.tensor(x, device=device), tg.tensor(t, device=device)
    our_optimizer = optim.SGD(ours.parameters(), lr=0.01, momentum=0.9)
    theirs, tx, tt = cnn(torch.nn).to(device), torch.tensor(x, device=device), torch.tensor(t, device=device)
    their_optimizer = torch.optim.SGD(theirs.parameters(), lr=0.01, momentum=0.9)

    def their_step() -> None:
        their_optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(theirs(tx), tt).backward()
        their_optimizer.step()

    works: dict[str, Work] = {"ours": lambda: train_step(ours, our_optimizer, inputs, targets)}
    if device == "cuda":
        graphed = GraphedStep(ours, our_optimizer)
        works["ours_graphed"] = lambda: graphed(inputs, targets)
    works["torch"] = their_step
    if device == "cuda":
        works["torch_graphed"] = their_graph(their_step, calls=1)
    return works
