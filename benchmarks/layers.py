"""Each layer's function and its gradients alone, in the shapes of the example CNN."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as TF

import tinygrad_mnist as tg
from tinygrad_mnist.nn import functional as F

from .timing import Case, assert_close


def _channels_last(x: np.ndarray) -> np.ndarray:
    """As our layers hand images on."""
    return x if x.ndim != 4 else np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def _both_ways(
    name: str, call: Callable[..., Any], inputs: list[np.ndarray], flops: float = 0, needs: list[bool] | None = None
) -> Iterator[Case]:
    """Forward alone, and forward with all gradients, of `call(functional, *inputs)`."""
    needs = needs or [True] * len(inputs)
    ours = [_tensor(x, need) for x, need in zip(inputs, needs, strict=True)]
    theirs = [
        torch.tensor(x, requires_grad=need and x.dtype == np.float32) for x, need in zip(inputs, needs, strict=True)
    ]
    y = call(TF, *theirs)
    g = np.random.default_rng(1).standard_normal(tuple(y.shape)).astype(np.float32)
    our_g, their_g = _tensor(g, False), torch.tensor(g)

    def gradients(module: Any, functional: Any, tensors: list[Any], g: Any) -> Any:
        wanted = [t for t in tensors if t.requires_grad]
        return module.autograd.grad(call(functional, *tensors), wanted, g)

    def our_forward() -> Any:
        with tg.no_grad():
            return call(F, *ours)

    def their_forward() -> Any:
        with torch.no_grad():
            return call(TF, *theirs)

    def our_gradients() -> Any:
        return gradients(tg, F, ours, our_g)

    def their_gradients() -> Any:
        return gradients(torch, TF, theirs, their_g)

    def check_forward() -> None:
        assert_close(our_forward().numpy(), their_forward().numpy(), name)

    def check_gradients() -> None:
        for a, b in zip(our_gradients(), their_gradients(), strict=True):
            assert_close(a.numpy(), b.numpy(), f"gradient of {name}", 2e-5)

    moved = sum(x.nbytes for x in inputs) + g.nbytes
    batch = inputs[0].shape[0]
    yield Case(f"{name}, forward", our_forward, {"nchw": their_forward}, check_forward, flops, moved, batch)
    wanted = sum(need for need, x in zip(needs, inputs, strict=True) if x.ndim == 4 or x.ndim == 2)
    yield Case(
        f"{name}, with gradients", our_gradients, {"nchw": their_gradients}, check_gradients,
        flops * (1 + wanted), 2 * moved, batch,
    )  # fmt: skip


def _tensor(x: np.ndarray, requires_grad: bool) -> Any:
    t = tg.from_numpy(_channels_last(x))
    t.requires_grad = requires_grad and x.dtype == np.float32
    return t


def layers(batches: list[int]) -> Iterator[Case]:
    """Convolutions, pooling, linear, ReLU, batch normalisation and the loss."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    for batch in batches:
        at = f"batch {batch}"
        for C, O, size, first in [(1, 32, 28, True), (32, 64, 26, False)]:
            out = size - 2
            flops = 2.0 * batch * out * out * O * C * 9
            yield from _both_ways(
                f"conv2d {C} to {O}, {at}", lambda m, x, w, b: m.conv2d(x, w, b),
                [normal(batch, C, size, size), normal(O, C, 3, 3), normal(O)], flops, [not first, True, True],
            )  # fmt: skip
        images = normal(batch, 64, 24, 24)
        yield from _both_ways(f"relu, {at}", lambda m, x: m.relu(x), [images])
        yield from _both_ways(f"max_pool2d, {at}", lambda m, x: m.max_pool2d(x, 2), [images])
        yield from _both_ways(f"avg_pool2d, {at}", lambda m, x: m.avg_pool2d(x, 2), [images])
        yield from _both_ways(
            f"batch_norm, {at}", lambda m, x, w, b: m.batch_norm(x, None, None, w, b, True),
            [images, normal(64), normal(64)],
        )  # fmt: skip
        yield from _both_ways(
            f"linear 9216 to 128, {at}", lambda m, x, w, b: m.linear(x, w, b),
            [normal(batch, 9216), normal(128, 9216), normal(128)], 2.0 * batch * 9216 * 128,
        )  # fmt: skip
        labels = rng.integers(0, 10, batch)
        yield from _both_ways(
            f"cross_entropy, {at}", lambda m, x, t: m.cross_entropy(x, t, reduction="none"),
            [normal(batch, 10), labels], needs=[True, False],
        )  # fmt: skip
