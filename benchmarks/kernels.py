"""Each kernel alone, in the shapes of the example CNN: forward, and each gradient with its graph made before."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as TF
from tinygrad_mnist.kernels import im2col
from tinygrad_mnist.kernels.warp import affine_maps, warp

import tinygrad_mnist as tg
from tinygrad_mnist import optim
from tinygrad_mnist.nn import functional as F

from . import pytorch
from .timing import Case, Work, assert_close

Call = Callable[..., Any]  # (functional, *tensors): one function of ours or of PyTorch, which have the same names


def kernels(batches: list[int], ways: list[str]) -> Iterator[Case]:
    """Every kernel for each batch size, then the optimizers."""
    for batch in batches:
        rng = np.random.default_rng(0)
        yield _im2col(rng, batch, ways)
        yield from _convolutions(rng, batch, ways)
        yield from _passes(rng, batch, ways)
        yield from _head(rng, batch, ways)
        yield _affine(rng, batch, ways)
    yield from _optimizers()


def _normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return np.asarray(rng.standard_normal(shape), np.float32)


def _convolutions(rng: np.random.Generator, batch: int, ways: list[str]) -> Iterator[Case]:
    for C, O, size in [(1, 32, 28), (32, 64, 26)]:
        inputs = [_normal(rng, batch, C, size, size), _normal(rng, O, C, 3, 3), _normal(rng, O)]
        gradients = {"input gradient": [0], "weight and bias gradient": [1, 2]}
        if C == 1:
            del gradients["input gradient"]  # of the images: nobody needs it
        flops = 2.0 * batch * (size - 2) ** 2 * O * C * 9
        yield from _function(
            f"conv2d {C} to {O}", lambda m, x, w, b: m.conv2d(x, w, b), inputs, ways, gradients, flops
        )  # fmt: skip


def _passes(rng: np.random.Generator, batch: int, ways: list[str]) -> Iterator[Case]:
    """What goes once over memory: an activation of the second convolution."""
    x = _normal(rng, batch, 64, 24, 24)
    whole = {"gradient": [0]}
    yield from _function("relu", lambda m, x: m.relu(x), [x], ways, whole, reads_x=True)
    yield from _function("max_pool2d", lambda m, x: m.max_pool2d(x, 2), [x], ways, whole)
    yield from _function("avg_pool2d", lambda m, x: m.avg_pool2d(x, 2), [x], ways, whole)
    yield from _function(
        "batch_norm", lambda m, x, w, b: m.batch_norm(x, None, None, w, b, True),
        [x, _normal(rng, 64), _normal(rng, 64)], ways, {"gradients": [0, 1, 2]}, reads_x=True,
    )  # fmt: skip


def _head(rng: np.random.Generator, batch: int, ways: list[str]) -> Iterator[Case]:
    ways = [way for way in ways if way != pytorch.CHANNELS_LAST]  # no images here
    yield from _function(
        "linear 9216 to 128", lambda m, x, w, b: m.linear(x, w, b),
        [_normal(rng, batch, 9216), _normal(rng, 128, 9216), _normal(rng, 128)], ways,
        {"input gradient": [0], "weight and bias gradient": [1, 2]}, 2.0 * batch * 9216 * 128,
    )  # fmt: skip
    yield from _function(
        "cross_entropy", lambda m, x, t: m.cross_entropy(x, t),
        [_normal(rng, batch, 10), rng.integers(0, 10, batch)], ways, {"gradient": [0]}, reads_x=True,
    )  # fmt: skip


def _function(
    name: str,
    call: Call,
    inputs: list[np.ndarray],
    ways: list[str],
    gradients: dict[str, list[int]],
    flops: float = 0,
    reads_x: bool = False,
) -> Iterator[Case]:
    """One case for `call(functional, *inputs)` and one for each of `gradients`: name -> which inputs' gradients.

    `flops` are those of each; `reads_x` says that a gradient needs the first input, or the result, again.
    """
    batch = len(inputs[0])
    differentiable = {i for wanted in gradients.values() for i in wanted}
    ours = [_tensor(tg.from_numpy(_ours(x)), i in differentiable) for i, x in enumerate(inputs)]
    theirs = {way: _theirs(call, way, inputs, differentiable) for way in ways}

    def exact(*wanted: int) -> Work:
        """In float64: the result, or the gradients of these inputs."""

        def work() -> Any:
            wide = [np.float64(x) if x.dtype == np.float32 else x for x in inputs]
            x = [_tensor(torch.tensor(a), i in wanted) for i, a in enumerate(wide)]
            result = call(TF, *x)
            return torch.autograd.grad(result, [x[i] for i in wanted], torch.tensor(g).double()) if wanted else result

        return work

    y = call(F, *ours)
    g = _normal(np.random.default_rng(1), *y.shape)
    yield _forward(name, call, ours, theirs, exact(), flops, sum(x.nbytes for x in inputs) + g.nbytes)
    for what, wanted in gradients.items():
        moved = g.nbytes + sum(x.nbytes for x in inputs) + (inputs[0].nbytes if reads_x else 0)
        work = _gradients(tg, y, [ours[i] for i in wanted], tg.from_numpy(_ours(g)))
        works = {
            way: _gradients(torch, f(*x), [x[i] for i in wanted], _torch_tensor(g, way))
            for way, (f, x) in theirs.items()
        }
        case = f"{name}, {what}, batch {batch}"
        check = functools.partial(_check, work, works, exact(*wanted), case)
        yield Case(case, work, works, check, flops, moved, batch)


def _forward(
    name: str,
    call: Call,
    ours: list[Any],
    theirs: dict[str, tuple[Call, list[Any]]],
    exact: Work,
    flops: float,
    nbytes: float,
) -> Case:
    def our_work() -> Any:
        with tg.no_grad():
            return call(F, *ours)

    def their_work(f: Call, x: list[Any]) -> Work:
        def work() -> Any:
            with torch.no_grad():
                return f(*x)

        return work

    works = {way: their_work(f, x) for way, (f, x) in theirs.items()}
    case, batch = f"{name}, forward, batch {len(ours[0])}", len(ours[0])
    return Case(case, our_work, works, lambda: _check(our_work, works, exact, case), flops, nbytes, batch)


def _gradients(module: Any, y: Any, wanted: list[Any], g: Any) -> Work:
    # A new tensor each time, since some gradients are remembered for the tensor that they were computed from.
    return lambda: module.autograd.grad(y, wanted, g.detach(), retain_graph=True)


def _check(ours: Work, theirs: dict[str, Work], exact: Work, what: str) -> None:
    """Ours against float64, then PyTorch's, which in float32 are up to 1.9e-5 from that at batch 512, against ours."""

    def arrays(result: Any) -> list[np.ndarray]:
        return [t.detach().numpy() for t in (result if isinstance(result, tuple | list) else [result])]

    got = arrays(ours())
    for a, b in zip(got, arrays(exact()), strict=True):
        assert_close(a, b, what)
    for way, work in theirs.items():
        for a, b in zip(got, arrays(work()), strict=True):
            assert_close(a, b, f"{what} ({way})", 5e-5)


def _tensor(t: Any, requires_grad: bool) -> Any:
    t.requires_grad = requires_grad
    return t


def _ours(x: np.ndarray) -> np.ndarray:
    """Images as our layers hand them on: channels-last in memory."""
    return x if x.ndim != 4 else np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def _torch_tensor(x: np.ndarray, way: str) -> torch.Tensor:
    t = torch.tensor(x)
    return pytorch.channels_last(t) if way == pytorch.CHANNELS_LAST else t


def _theirs(call: Call, way: str, inputs: list[np.ndarray], differentiable: set[int]) -> tuple[Call, list[Any]]:
    """PyTorch's function and its arguments."""

    def f(*tensors: torch.Tensor) -> Any:
        return call(TF, *tensors)

    tensors = [_tensor(_torch_tensor(x, way), i in differentiable) for i, x in enumerate(inputs)]
    return (pytorch.compiled(f) if way == pytorch.COMPILE else f), tensors


def _im2col(rng: np.random.Generator, batch: int, ways: list[str]) -> Case:
    """The patches of the second convolution, which our fast path does without."""
    x = _normal(rng, batch, 32, 26, 26)
    ours, theirs = _ours(x), torch.tensor(x)

    def our_work() -> np.ndarray:  # (N, OH, OW, KH, KW, C)
        return im2col(ours, (3, 3), (1, 1), (0, 0), (1, 1))

    def their_work() -> torch.Tensor:  # (N, C KH KW, OH OW)
        return TF.unfold(theirs, 3)

    works = _eager_and_compiled(their_work, ways)

    def check() -> None:
        y = our_work().transpose(0, 5, 3, 4, 1, 2)
        for way, work in works.items():
            assert_close(y.reshape(batch, 288, 576), work().numpy(), f"im2col ({way})", 0)

    moved = 4.0 * batch * (32 * 26 * 26 + 576 * 288)
    return Case(f"im2col, batch {batch}", our_work, works, check, 0, moved, batch)


def _affine(rng: np.random.Generator, batch: int, ways: list[str]) -> Case:
    """MNIST images turned, moved, scaled and sheared by given maps, between pixels (bilinear)."""
    x = rng.random((batch, 1, 28, 28), np.float32)
    maps = affine_maps(
        np.array([14.0, 14.0]), rng.uniform(-15, 15, batch), rng.integers(-3, 4, (batch, 2)),
        rng.uniform(0.9, 1.1, batch), rng.uniform(-10, 10, (batch, 2)),
    )  # fmt: skip
    to_pixels = np.array([[14, 0, 14], [0, 14, 14], [0, 0, 1.0]])  # PyTorch's maps count from -1 to 1
    theta = torch.tensor((np.linalg.inv(to_pixels) @ maps @ to_pixels)[:, :2], dtype=torch.float32)
    images = torch.tensor(x)

    def our_work() -> np.ndarray:
        return warp(x, maps, False, 0)

    def their_work() -> torch.Tensor:
        grid = TF.affine_grid(theta, list(images.shape), align_corners=False)
        return TF.grid_sample(images, grid, align_corners=False)

    works = _eager_and_compiled(their_work, ways)

    def check() -> None:
        for way, work in works.items():  # PyTorch's points are float32: 1e-6 of 28
            assert_close(our_work(), work().numpy(), f"affine ({way})", 5e-5)

    return Case(f"affine, batch {batch}", our_work, works, check, 0, 2.0 * x.nbytes, batch)


def _eager_and_compiled(work: Work, ways: list[str]) -> dict[str, Work]:
    """What needs no gradient and has one memory layout."""
    works = {pytorch.EAGER: work}
    return works | {pytorch.COMPILE: pytorch.compiled(work)} if pytorch.COMPILE in ways else works


def _optimizers() -> Iterator[Case]:
    """One step over the example CNN's 1.2 million parameters; PyTorch's as by default, and with fused=True."""
    settings: list[tuple[str, dict[str, float], int]] = [("SGD", {"lr": 1e-4, "momentum": 0.9}, 5), ("Adam", {}, 7)]
    for name, options, passes in settings:
        ways = {"eager": {}, "fused": {"fused": True}}
        ours = _Parameters(tg, tg.nn.Parameter, getattr(optim, name), options)
        theirs = {
            way: _Parameters(torch, torch.nn.Parameter, getattr(torch.optim, name), {**options, **more})
            for way, more in ways.items()
        }

        def check(ours: _Parameters = ours, theirs: dict[str, _Parameters] = theirs) -> None:
            ours.step()
            for their in theirs.values():
                their.step()
                for p, q in zip(ours.parameters, their.parameters, strict=True):
                    assert_close(p.detach().numpy(), q.detach().numpy(), "parameters", 1e-6)

        works = {way: their.step for way, their in theirs.items()}
        yield Case(f"{name} step, 1.2 million parameters", ours.step, works, check, 0, ours.nbytes * passes)


class _Parameters:
    """The example CNN's parameters with gradients, and an optimizer of them."""

    SHAPES = ((32, 1, 3, 3), (32,), (64, 32, 3, 3), (64,), (128, 9216), (128,), (10, 128), (10,))

    def __init__(self, module: Any, parameter: Any, optimizer: Any, options: dict[str, Any]):
        rng = np.random.default_rng(0)
        self.parameters = [parameter(module.tensor(_normal(rng, *shape))) for shape in self.SHAPES]
        for p in self.parameters:
            p.grad = module.tensor(_normal(rng, *p.shape))
        self.nbytes = sum(4.0 * p.numel() for p in self.parameters)
        self.step = optimizer(self.parameters, **options).step
