"""Ops whose gradient is a fused kernel, unless it is to be differentiated again: both ways give the same."""

import numpy as np
import pytest

import tinygrad_mnist as tg
from tinygrad_mnist import ops

CASES = {
    "batch_norm": (lambda x, w, b: ops.batch_norm(x, w, b, None, None, 0.1, 1e-3), (5, 3, 4, 2), (3,)),
    "batch_norm, 1-d": (lambda x, w, b: ops.batch_norm(x, w, b, None, None, 0.1, 1e-3), (5, 3), (3,)),
    "batch_norm_relu": (lambda x, w, b: ops.batch_norm_relu(x, w, b, None, None, 0.1, 1e-3, False), (5, 3, 4, 2), (3,)),
    "batch_norm_relu, pooled": (
        lambda x, w, b: ops.batch_norm_relu(x, w, b, None, None, 0.1, 1e-3, True),
        (5, 3, 4, 5),
        (3,),
    ),
    "layer_norm": (lambda x, w, b: ops.layer_norm(x, w, b, 1e-3), (5, 4), (4,)),
    "without weights": (lambda x, w, b: ops.layer_norm(x, None, None, 1e-3) * w + b, (5, 4), (4,)),
    "linear": (lambda x, w, b: ops.linear(x, w, b.sum(1)), (5, 4), (3, 4)),
    "linear_relu": (lambda x, w, b: ops.linear_relu(x, w, b.sum(1)), (5, 4), (3, 4)),
    "softmax_cross_entropy": (
        lambda x, w, b: ops.softmax_cross_entropy(x * w + b, tg.tensor([0, 3, -1, 2, 2], device=x.device)),
        (5, 4),
        (4,),
    ),
    "softmax_cross_entropy, smoothed": (
        lambda x, w, b: ops.softmax_cross_entropy(x * w + b, tg.tensor([0, 3, -1, 2, 2], device=x.device), 0.1),
        (5, 4),
        (4,),
    ),
    "mean_cross_entropy": (
        lambda x, w, b: ops.mean_cross_entropy(x * w + b, tg.tensor([0, 3, 9, 2, 2], device=x.device), 9, 0.1),
        (5, 4),
        (4,),
    ),
    "soft_cross_entropy": (lambda x, w, b: ops.soft_cross_entropy(x * w + b, x.softmax(0), 0.1), (5, 4), (4,)),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("permuted", [False, True])
@pytest.mark.parametrize(("dtype", "tol"), [("float64", 1e-12), ("float32", 2e-5)])
def test_kernel_and_composed_gradients_agree(name, permuted, dtype, tol, device, rng):
    fn, x_shape, w_shape = CASES[name]
    if permuted:  # the memory lies the other way round
        x = tg.tensor(rng.normal(1, 2, x_shape[::-1]), dtype=dtype, device=device)
        x = x.permute(*reversed(range(len(x_shape)))).detach()
    else:
        x = tg.tensor(rng.normal(1, 2, x_shape), dtype=dtype, device=device)
    w, b = (tg.tensor(rng.normal(size=w_shape), dtype=dtype, device=device) for _ in range(2))
    inputs = [v.requires_grad_() for v in (x, w, b)]
    y = fn(*inputs)
    seed = tg.tensor(rng.normal(size=tuple(y.shape)), dtype=dtype, device=device)
    kernel = tg.autograd.grad(y, inputs, seed, retain_graph=True)
    composed = tg.autograd.grad(y, inputs, seed, create_graph=True)
    for k, c in zip(kernel, composed, strict=True):
        assert k.dtype == c.dtype == dtype
        assert k.shape == c.shape
        np.testing.assert_allclose(k.cpu().numpy(), c.detach().cpu().numpy(), rtol=tol, atol=tol)
        assert np.abs(k.cpu().numpy()).max() > 0.01
