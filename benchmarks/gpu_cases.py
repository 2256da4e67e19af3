"""What `python -m benchmarks gpu` times: each CUDA kernel, in the shapes of the example CNN, and PyTorch's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cupy as cp
import numpy as np
import torch
from tinygrad_mnist.kernels import cuda
from tinygrad_mnist.kernels.cuda.matmul import own_matmul

Work = Callable[[], Any]
ONE, TWO, NO = (1, 1), (2, 2), (0, 0)
aten = torch.ops.aten


@dataclass
class Case:
    """One kernel's work by ours and by PyTorch; `theirs` takes the tensors, so that it can be done in float64 too."""

    name: str
    ours: Work
    theirs: Callable[..., Any]
    inputs: list[Any]  # PyTorch's
    flops: float
    bytes: float

    def check(self) -> None:
        """Raise unless ours has PyTorch's result in float64, to 2e-5 of the largest number of it."""
        doubles = [x.double() if torch.is_tensor(x) and x.dtype == torch.float32 else x for x in self.inputs]
        expected, got = (_hosts(work) for work in (self.theirs(*doubles), self.ours()))
        assert len(expected) == len(got), self.name
        for i, (a, b) in enumerate(zip(got, expected, strict=True)):
            error = np.abs(a - b.reshape(a.shape)).max() / max(np.abs(b).max(), 1e-30)
            if not error <= 2e-5:
                raise AssertionError(f"{self.name}: result {i} has a relative error of {error:.1e}")


def _hosts(results: Any) -> list[np.ndarray]:
    """The results as float64 on the host; without those that are None."""
    results = results if isinstance(results, (tuple, list)) else [results]
    arrays = [cp.asnumpy(r) if isinstance(r, cp.ndarray) else r.cpu().numpy() for r in results if r is not None]
    return [a.astype(np.float64) for a in arrays]


class Maker:
    """Makes the same random array for both, and cases of them."""

    def __init__(self, device: str):
        self.device = device
        self.rng = np.random.default_rng(0)

    def normal(self, *shape: int) -> tuple[cp.ndarray, torch.Tensor]:
        """Normal numbers, float32."""
        return self.both(self.rng.standard_normal(shape).astype(np.float32))

    def both(self, a: np.ndarray) -> tuple[cp.ndarray, torch.Tensor]:
        """An array on the device, as CuPy's and as PyTorch's."""
        return cp.asarray(a), torch.tensor(a, device=self.device)


def convolutions(make: Maker, N: int) -> Iterator[Case]:
    """3x3 convolutions and their gradients."""
    for C, O, H in [(1, 32, 28), (32, 64, 26), (64, 128, 24)]:
        out, geometry = H - 2, (ONE, NO, ONE, 1)
        (x, tx), (w, tw), (dy, tdy) = make.normal(N, C, H, H), make.normal(O, C, 3, 3), make.normal(N, O, out, out)
        flops, moved = 2.0 * N * out * out * O * C * 9, float(x.nbytes + w.nbytes + dy.nbytes)
        name = f"{C} to {O}, N {N}"
        yield Case(
            f"conv2d {name}", lambda x=x, w=w, g=geometry: cuda.conv2d(x, w, None, *g),
            torch.conv2d, [tx, tw], flops, moved,
        )  # fmt: skip
        if C > 1:
            yield Case(
                f"conv2d_input_grad {name}",
                lambda dy=dy, w=w, x=x, g=geometry: cuda.conv2d_input_grad(dy, w, x.shape, *g),
                lambda dy, w, x: _conv_grads(dy, x, w, [True, False, False])[0], [tdy, tw, tx], flops, moved,
            )  # fmt: skip
        yield Case(
            f"conv2d_weight_grad {name}",
            lambda dy=dy, w=w, x=x, g=geometry: cuda.conv2d_weight_grad(dy, x, w.shape, *g),
            lambda dy, w, x: _conv_grads(dy, x, w, [False, True, False])[1], [tdy, tw, tx], flops, moved,
        )  # fmt: skip


def _conv_grads(dy: Any, x: Any, w: Any, mask: list[bool]) -> Any:
    return aten.convolution_backward(dy, x, w, None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1, mask)


def products(make: Maker, N: int) -> Iterator[Case]:
    """The linear layer's three products: by cuBLAS, and by our own kernel that CUDA graphs use."""
    (x, tx), (w, tw), (g, tg) = make.normal(N, 9216), make.normal(128, 9216), make.normal(N, 128)
    flops, moved = 2.0 * N * 9216 * 128, float(x.nbytes + w.nbytes + g.nbytes)
    for name, ours, theirs in [
        ("x w'", (x, w.T), (tx, tw.T)),
        ("g w", (g, w), (tg, tw)),
        ("g' x", (g.T, x), (tg.T, tx)),
    ]:
        for whose, product in [("cuBLAS", cuda.matmul), ("own", own_matmul)]:
            yield Case(
                f"matmul {name} ({whose}), N {N}", lambda a=ours, p=product: p(*a), torch.matmul, list(theirs),
                flops, moved,
            )  # fmt: skip


def pools(make: Maker, N: int) -> Iterator[Case]:
    """2x2 pooling and its gradients."""
    (x, tx), (dy, tdy) = make.normal(N, 64, 24, 24), make.normal(N, 64, 12, 12)
    y, index = cuda.max_pool2d(x, TWO, TWO, NO, ONE, False)
    tindex = torch.tensor(cp.asnumpy(index).astype(np.int64), device=make.device)
    size, small = float(x.nbytes), float(dy.nbytes)
    window = [2, 2], [2, 2], [0, 0]
    yield Case(
        f"max_pool2d, N {N}", lambda: cuda.max_pool2d(x, TWO, TWO, NO, ONE, False)[0],
        lambda x: aten.max_pool2d_with_indices(x, *window)[0], [tx], 3.0 * y.size, size + 2 * small,
    )  # fmt: skip
    yield Case(
        f"max_pool2d_input_grad, N {N}", lambda: cuda.max_pool2d_input_grad(dy, index, x.shape, TWO, TWO, NO, ONE),
        lambda dy, x, i: aten.max_pool2d_with_indices_backward(dy, x, *window, [1, 1], False, i),
        [tdy, tx, tindex], 1.0 * x.size, size + 2 * small,
    )  # fmt: skip
    yield Case(
        f"avg_pool2d, N {N}", lambda: cuda.avg_pool2d(x, TWO, TWO, NO, False, True, None),
        lambda x: aten.avg_pool2d(x, *window), [tx], 4.0 * y.size, size + small,
    )  # fmt: skip
    yield Case(
        f"avg_pool2d_input_grad, N {N}", lambda: cuda.avg_pool2d_input_grad(dy, x.shape, TWO, TWO, NO, True, None),
        lambda dy, x: aten.avg_pool2d_backward(dy, x, *window, False, True, None), [tdy, tx], 1.0 * x.size,
        size + small,
    )  # fmt: skip
    yield Case(
        f"adaptive_avg_pool2d to 5x5, N {N}", lambda: cuda.adaptive_avg_pool2d(x, (5, 5)),
        lambda x: aten._adaptive_avg_pool2d(x, [5, 5]), [tx], 1.0 * x.size, size,
    )  # fmt: skip


def elementwise(make: Maker, N: int) -> Iterator[Case]:
    """ReLU, its gradient and erf."""
    (x, tx), (dy, tdy) = make.normal(N, 64, 24, 24), make.normal(N, 64, 24, 24)
    size = float(x.nbytes)
    yield Case(f"relu, N {N}", lambda: cuda.relu(x), torch.relu, [tx], x.size, 2 * size)
    yield Case(
        f"relu_grad, N {N}", lambda: cuda.relu_grad(dy, x), lambda dy, y: aten.threshold_backward(dy, y, 0),
        [tdy, tx], x.size, 3 * size,
    )  # fmt: skip
    yield Case(f"erf, N {N}", lambda: cuda.erf(x), torch.erf, [tx], 20.0 * x.size, 2 * size)


def norms(make: Maker, N: int) -> Iterator[Case]:
    """Batch and layer normalisation and their gradients."""
    (x, tx), (dy, tdy) = make.normal(N, 64, 24, 24), make.normal(N, 64, 24, 24)
    (w, tw), (b, tb) = make.normal(64), make.normal(64)
    _, mean, var = cuda.batch_norm(x, w, b, 1e-5)
    tmean = torch.tensor(cp.asnumpy(mean), device=make.device).float()
    tinv = torch.tensor(cp.asnumpy(1 / cp.sqrt(var + 1e-5)), device=make.device).float()
    size = float(x.nbytes)
    yield Case(
        f"batch_norm, N {N}", lambda: cuda.batch_norm(x, w, b, 1e-5)[0],
        lambda x, w, b: aten.native_batch_norm(x, w, b, None, None, True, 0.1, 1e-5)[0], [tx, tw, tb],
        6.0 * x.size, 3 * size,
    )  # fmt: skip
    yield Case(
        f"batch_norm_grad, N {N}", lambda: cuda.batch_norm_grad(dy, x, w, mean, var, 1e-5),
        lambda dy, x, w, m, r: aten.native_batch_norm_backward(
            dy, x, w, None, None, m, r, True, 1e-5, [True, True, True]),
        [tdy, tx, tw, tmean, tinv], 12.0 * x.size, 5 * size,
    )  # fmt: skip
    (r, tr), (dr, tdr) = make.normal(17 * N, 192), make.normal(17 * N, 192)
    (lw, tlw), (lb, tlb) = make.normal(192), make.normal(192)
    _, m, inverse = cuda.layer_norm(r, lw, lb, 1e-5)
    tm, ti = (torch.tensor(cp.asnumpy(a), device=make.device) for a in (m, inverse))
    yield Case(
        f"layer_norm, N {N}", lambda: cuda.layer_norm(r, lw, lb, 1e-5)[0],
        lambda x, w, b: aten.native_layer_norm(x, [192], w, b, 1e-5)[0], [tr, tlw, tlb], 7.0 * r.size, 2.0 * r.nbytes,
    )  # fmt: skip
    yield Case(
        f"layer_norm_grad, N {N}", lambda: cuda.layer_norm_grad(dr, r, lw, m, inverse),
        lambda dy, x, m, i, w, b: aten.native_layer_norm_backward(dy, x, [192], m, i, w, b, [True, True, True]),
        [tdr, tr, tm, ti, tlw, tlb], 17.0 * r.size, 5.0 * r.nbytes,
    )  # fmt: skip


def losses(make: Maker, N: int) -> Iterator[Case]:
    """Softmax cross-entropy and its gradient."""
    (x, tx), (t, tt) = make.normal(N, 10), make.both(make.rng.integers(0, 10, N))
    dy, tdy = make.normal(N)
    lse = cuda.softmax_cross_entropy(x, t)[1]

    def theirs(x: Any, t: Any) -> Any:
        return torch.nn.functional.cross_entropy(x, t, reduction="none")

    def grad(dy: Any, x: Any, t: Any) -> Any:
        return dy[:, None] * (torch.softmax(x, 1) - torch.nn.functional.one_hot(t, 10))

    yield Case(
        f"softmax_cross_entropy, N {N}", lambda: cuda.softmax_cross_entropy(x, t)[0], theirs, [tx, tt],
        40.0 * N, x.nbytes + 16.0 * N,
    )  # fmt: skip
    yield Case(
        f"softmax_cross_entropy_grad, N {N}", lambda: cuda.softmax_cross_entropy_grad(dy, x, t, lse), grad,
        [tdy, tx, tt], 30.0 * N, 2.0 * x.nbytes + 16 * N,
    )  # fmt: skip


def optimizers(make: Maker, _: int) -> Iterator[Case]:
    """One update of the example CNN's parameters; they have no result to check here, the tests do that."""
    shapes = [(32, 1, 3, 3), (32,), (64, 32, 3, 3), (64,), (128, 9216), (128,), (10, 128), (10,)]
    n = sum(int(np.prod(s)) for s in shapes)

    def adam(p: Any, g: Any, m: Any, v: Any) -> None:
        cuda.adam(p, g, m, v, [], [10] * len(p), 1e-3, 0.9, 0.999, 1e-8, 0.0, False, False, False)

    def sgd(p: Any, g: Any, m: Any) -> None:
        cuda.sgd(p, g, m, 1e-3, 0.9, 0.0, 0.0, False, False)

    def rmsprop(p: Any, g: Any, v: Any) -> None:
        cuda.rmsprop(p, g, v, [], [], 1e-3, 0.99, 1e-8, 0.0, 0.0, False, False)

    def adagrad(p: Any, g: Any, v: Any) -> None:
        cuda.adagrad(p, g, v, [10] * len(p), 1e-3, 0.0, 0.0, 1e-10, False)

    def adadelta(p: Any, g: Any, v: Any, d: Any) -> None:
        cuda.adadelta(p, g, v, d, 1e-3, 0.9, 1e-6, 0.0, False)

    # Name, states of a parameter, operations on an element, ours, theirs and its options.
    capturable = {"capturable": make.device == "cuda"}
    updates: list[tuple[str, int, float, Callable[..., None], Any, dict[str, Any]]] = [
        ("sgd with momentum", 1, 6.0, sgd, torch.optim.SGD, {"momentum": 0.9}),
        ("adam", 2, 14.0, adam, torch.optim.Adam, capturable),
        ("rmsprop", 1, 9.0, rmsprop, torch.optim.RMSprop, capturable),
        ("adagrad", 1, 7.0, adagrad, torch.optim.Adagrad, {}),
        ("adadelta", 2, 16.0, adadelta, torch.optim.Adadelta, capturable),
    ]
    for name, states, operations, call, theirs, options in updates:
        lists = [[make.normal(*s)[0] for s in shapes] for _ in range(2)]
        lists += [[cp.zeros(s, np.float32) for s in shapes] for _ in range(states)]
        parameters = [torch.nn.Parameter(torch.zeros(s, device=make.device)) for s in shapes]
        for p in parameters:
            p.grad = torch.zeros_like(p)
        optimizer = theirs(parameters, lr=1e-3, foreach=True, **options)
        yield Case(
            name, lambda call=call, lists=lists: call(*lists), lambda o=optimizer: o.step(), [],
            operations * n, (3 + 2 * states) * 4.0 * n,
        )  # fmt: skip


def cases(device: str, N: int) -> Iterator[Case]:
    """All of them, for batches of N images."""
    make = Maker(device)
    for part in (convolutions, products, pools, elementwise, norms, losses, optimizers):
        yield from part(make, N)
