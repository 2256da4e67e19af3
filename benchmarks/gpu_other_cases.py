"""The rest of what `python -m benchmarks gpu` times: kernels that a plain CNN's step does not need, or hardly sees."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cupy as cp
import numpy as np
import torch
from tinygrad_mnist.kernels import cuda

from .gpu_cases import NO, ONE, TWO, Case, Maker, aten

F = torch.nn.functional


def patches(make: Maker, N: int) -> Iterator[Case]:
    """im2col and col2im, for 3x3 kernels. PyTorch's patches lie (N, C 9, pixels), ours (N, pixels, 9, C)."""
    x, tx = make.normal(N, 32, 26, 26)
    values = make.rng.standard_normal((N, 32, 3, 3, 24, 24)).astype(np.float32)
    cols = cp.asarray(np.ascontiguousarray(values.transpose(0, 4, 5, 2, 3, 1)))
    tcols = torch.tensor(values.reshape(N, 288, 576), device=make.device)
    moved = float(x.nbytes + cols.nbytes)
    yield Case(
        f"im2col, N {N}", lambda: cuda.im2col(x, (3, 3), ONE, NO, ONE),
        lambda x: F.unfold(x, 3).reshape(N, 32, 3, 3, 24, 24).permute(0, 4, 5, 2, 3, 1), [tx], 0.0, moved,
    )  # fmt: skip
    yield Case(
        f"col2im, N {N}", lambda: cuda.col2im(cols, x.shape, ONE, NO, ONE), lambda c: F.fold(c, (26, 26), 3), [tcols],
        1.0 * cols.size, moved,
    )  # fmt: skip


def channels(make: Maker, N: int) -> Iterator[Case]:
    """What is added to, or multiplied with, a channel or a feature, and the sums over channels."""
    (x, tx), (w, tw), (b, tb) = make.normal(N, 64, 24, 24), make.normal(64), make.normal(64)
    (y, ty), (bias, tbias) = make.normal(N, 128), make.normal(128)

    def add_bias() -> Any:
        cuda.add_bias(y, bias)
        return y

    yield Case(f"add_bias, N {N}", add_bias, lambda y, b: y.add_(b), [ty, tbias], y.size, 2.0 * y.nbytes)
    yield Case(
        f"bias_grad, N {N}", lambda: cuda.bias_grad(x), lambda x: x.sum((0, 2, 3)), [tx], x.size, float(x.nbytes)
    )
    yield Case(
        f"channel_affine, N {N}", lambda: cuda.channel_affine(x, w, b),
        lambda x, w, b: torch.addcmul(b[:, None, None], x, w[:, None, None]), [tx, tw, tb], 2.0 * x.size,
        2.0 * x.nbytes,
    )  # fmt: skip


def dropouts(make: Maker, N: int) -> Iterator[Case]:
    """Dropout, of zeros: what the two draw differs, and can be compared in this way only."""
    x, tx = make.both(np.zeros((N, 64, 12, 12), np.float32))
    (dy, tdy), (kept, tkept) = make.normal(*x.shape), make.both(make.rng.random(x.shape) < 0.75)
    yield Case(
        f"dropout, N {N}", lambda: cuda.dropout(x, x.shape, 0.25, 1 / 0.75, 7, 0)[0],
        lambda x: aten.native_dropout(x, 0.25, True)[0], [tx], 10.0 * x.size, 2.25 * x.nbytes,
    )  # fmt: skip
    yield Case(
        f"dropout_kept, N {N}", lambda: cuda.dropout_kept(dy, kept, 1 / 0.75),
        lambda dy, kept: aten.native_dropout_backward(dy, kept, 1 / 0.75), [tdy, tkept], x.size, 2.25 * x.nbytes,
    )  # fmt: skip


def batches(make: Maker, N: int) -> Iterator[Case]:
    """Batches from a data set on the device, sums by index, right answers, and labels as numbers."""
    images, timages = make.both(make.rng.integers(0, 256, (4096, 28, 28, 1), dtype=np.uint8))
    rows, trows = make.normal(4096, 784)
    index, tindex = make.both(make.rng.integers(0, 4096, N))
    table = cp.asarray(((np.arange(256) / 255 - 0.1307) / 0.3081).astype(np.float32)[None])
    yield Case(
        f"look_up_rows, N {N}", lambda: cuda.look_up_rows(images, index, table),
        lambda x, i: (x[i].permute(0, 3, 1, 2) / 255 - 0.1307) / 0.3081, [timages, tindex], 0.0, 5.0 * 784 * N,
    )  # fmt: skip
    yield Case(
        f"take_rows, N {N}", lambda: cuda.take_rows(rows, index), lambda x, i: x[i], [trows, tindex], 0.0, 8.0 * 784 * N
    )
    (positions, tpositions), (values, tvalues) = make.both(make.rng.integers(0, 4096, 100 * N)), make.normal(100 * N)
    yield Case(
        f"scatter_sum (sorts), N {N}", lambda: cuda.scatter_sum(positions, values, 4096),
        lambda i, v: torch.zeros(4096, device=v.device, dtype=v.dtype).index_add(0, i, v), [tpositions, tvalues],
        values.size, 12.0 * values.size,
    )  # fmt: skip
    (x, tx), (t, tt) = make.normal(N, 10), make.both(make.rng.integers(0, 10, N))
    yield Case(
        f"count_correct, N {N}", lambda: cuda.count_correct(x, t), lambda x, t: (x.argmax(1) == t).sum(), [tx, tt],
        x.size, x.nbytes + 8.0 * N,
    )  # fmt: skip
    yield Case(
        f"class_labels, N {N}", lambda: cuda.class_labels(t, 10, -100), lambda t: t.clone(), [tt], 2.0 * N, 16.0 * N
    )


def maps(make: Maker, N: int) -> Iterator[Case]:
    """Images seen through maps; those that change nothing, since PyTorch measures points otherwise."""
    x, tx = make.normal(N, 1, 28, 28)
    same, tsame = make.both(np.tile(np.eye(3), (N, 1, 1)))
    pixels = np.stack(np.meshgrid(np.arange(28), np.arange(28)), -1) + 0.5  # (u, v) of each
    points = np.broadcast_to(pixels, (N, 28, 28, 2))
    u, v = (cp.asarray(np.ascontiguousarray(points[..., i])) for i in range(2))
    grid = torch.tensor((points / 14 - 1).astype(np.float32), device=make.device)
    ranges = np.array([0.0, 0, 0, 1, 0, 0])

    def through_maps(x: Any, m: Any) -> Any:
        return F.grid_sample(
            x, F.affine_grid(m[:, :2].to(x.dtype), list(x.shape), align_corners=False), align_corners=False
        )

    flops, moved = 20.0 * x.size, 2.0 * x.nbytes
    yield Case(f"warp, N {N}", lambda: cuda.warp(x, same, False, 0), through_maps, [tx, tsame], flops, moved)
    yield Case(
        f"sample, N {N}", lambda: cuda.sample(x, u, v), lambda x, g: F.grid_sample(x, g, align_corners=False),
        [tx, grid], flops, moved + 16.0 * x.size,
    )  # fmt: skip
    yield Case(
        f"random_affine, N {N}",
        lambda: cuda.random_affine(x, ranges, ranges, np.array([14.0, 14.0]), False, 0, 7, 0),
        through_maps, [tx, tsame], flops, moved,
    )  # fmt: skip


def other_pools(make: Maker, N: int) -> Iterator[Case]:
    """Adaptive pooling, and what stands at, or goes back to, the places of maxima."""
    (x, tx), (dy, tdy) = make.normal(N, 64, 24, 24), make.normal(N, 64, 12, 12)
    y, index = cuda.max_pool2d(x, TWO, TWO, NO, ONE, False)
    ty = torch.tensor(cp.asnumpy(y), device=make.device)
    tindex = torch.tensor(cp.asnumpy(index).astype(np.int64), device=make.device)
    moved = float(x.nbytes + dy.nbytes)
    yield Case(
        f"adaptive_avg_pool2d_input_grad from 12x12, N {N}", lambda: cuda.adaptive_avg_pool2d_input_grad(dy, x.shape),
        aten._adaptive_avg_pool2d_backward, [tdy, tx], 1.0 * x.size, moved,
    )  # fmt: skip
    yield Case(
        f"adaptive_max_pool2d to 5x5, N {N}", lambda: cuda.adaptive_max_pool2d(x, (5, 5))[0],
        lambda x: aten.adaptive_max_pool2d(x, [5, 5])[0], [tx], 1.0 * x.size, float(x.nbytes),
    )  # fmt: skip
    yield Case(
        f"max_unpool2d, N {N}", lambda: cuda.max_unpool2d(y, index, (24, 24)),
        lambda y, i: aten.max_unpool2d(y, i, [24, 24]), [ty, tindex], 0.0, moved + dy.nbytes,
    )  # fmt: skip
    yield Case(
        f"max_pool2d_at, N {N}", lambda: cuda.max_pool2d_at(x, index),
        lambda x, i: x.flatten(2).gather(2, i.flatten(2)).reshape(i.shape), [tx, tindex], 0.0, 3.0 * dy.nbytes,
    )  # fmt: skip


def other_losses(make: Maker, N: int) -> Iterator[Case]:
    """Cross-entropy averaged over the batch, and with probabilities as targets."""
    (x, tx), (t, tt), (dy, tdy) = make.normal(N, 10), make.both(make.rng.integers(0, 10, N)), make.normal(N)
    p, tp = make.both(make.rng.dirichlet(np.ones(10), N).astype(np.float32))
    one, tone = make.both(np.ones((), np.float32))
    _, labels, lse, count = cuda.mean_cross_entropy(x, t, -100, 0.1)
    soft_lse = cuda.soft_cross_entropy(x, p, 0.0)[1]
    moved = x.nbytes + 16.0 * N

    def mean_grad(dy: Any, x: Any, t: Any) -> Any:
        return dy * (torch.softmax(x, 1) - 0.9 * F.one_hot(t, 10) - 0.01) / N

    def soft_grad(dy: Any, x: Any, p: Any) -> Any:
        return dy[:, None] * (torch.softmax(x, 1) * p.sum(1, True) - p)

    yield Case(
        f"mean_cross_entropy, N {N}", lambda: cuda.mean_cross_entropy(x, t, -100, 0.1)[0],
        lambda x, t: F.cross_entropy(x, t, label_smoothing=0.1), [tx, tt], 40.0 * N, moved,
    )  # fmt: skip
    yield Case(
        f"mean_cross_entropy_grad, N {N}", lambda: cuda.mean_cross_entropy_grad(one, x, labels, lse, count, 0.1),
        mean_grad, [tone, tx, tt], 30.0 * N, moved + x.nbytes,
    )  # fmt: skip
    yield Case(
        f"soft_cross_entropy, N {N}", lambda: cuda.soft_cross_entropy(x, p, 0.0)[0],
        lambda x, p: F.cross_entropy(x, p, reduction="none"), [tx, tp], 60.0 * N, 2.0 * x.nbytes,
    )  # fmt: skip
    yield Case(
        f"soft_cross_entropy_grad, N {N}", lambda: cuda.soft_cross_entropy_grad(dy, x, p, soft_lse, 0.0), soft_grad,
        [tdy, tx, tp], 40.0 * N, 3.0 * x.nbytes,
    )  # fmt: skip


def cases(device: str, N: int) -> Iterator[Case]:
    """All of them, for batches of N images."""
    make = Maker(device)
    for part in (patches, channels, dropouts, batches, maps, other_pools, other_losses):
        yield from part(make, N)
