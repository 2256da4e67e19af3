"""Sums with a shortcut among modules that are called in turn: as the modules one by one."""

import numpy as np
import pytest
from torch_oracle import close

import tinygrad_mnist as tg
from tinygrad_mnist import kernels, nn
from tinygrad_mnist.nn import functional as F
from tinygrad_mnist.nn.in_turn import Plus, in_turn


def images(rng, dtype, requires_grad=False):
    return tg.tensor(rng.standard_normal((1, 64, 4, 5)), dtype=dtype, requires_grad=requires_grad)


def layers(dtype, norm, bias):
    """A convolution with so many weights that `conv_few` takes it, and a batch norm that has seen a batch, or none."""
    conv = nn.Conv2d(64, 64, 3, padding=1, bias=bias, dtype=dtype)
    conv.weight.data = conv.weight.data.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    if not norm:
        return [conv]
    norm = nn.BatchNorm2d(64, dtype=dtype)
    norm(tg.randn(2, 64, 5, 5, dtype=dtype))
    return [conv, norm.eval()]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("act", [nn.ReLU, nn.GELU])
@pytest.mark.parametrize(("norm", "bias"), [(False, True), (True, False), (True, True)])
def test_a_sum_after_a_convolution(act, norm, bias, dtype, rng):
    modules, act = layers(dtype, norm, bias), act()
    x, shortcut = (images(rng, dtype, requires_grad=True) for _ in range(2))
    total = shortcut + (modules[1](modules[0](x)) if norm else modules[0](x))
    separate = act(total)
    together = in_turn([*modules, Plus(shortcut), act], x)
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    close(together, separate, tolerance)
    inputs = [x, shortcut, *(p for m in modules for p in m.parameters())]
    seed = images(rng, dtype)
    for a, b in zip(*(tg.autograd.grad(y, inputs, seed) for y in (together, separate)), strict=True):
        close(a, b, 20 * tolerance)
    with tg.no_grad():
        close(in_turn([*modules, Plus(shortcut), act], x), separate, tolerance)
        close(in_turn([*modules, Plus(shortcut)], x), total, tolerance)


def test_the_sum_and_its_relu_are_done_by_the_convolution(rng, monkeypatch):
    modules, x = layers("float32", True, False), images(rng, "float32")
    expected = F.relu(modules[1](modules[0](x)) + x)
    for name in ("add_relu", "relu", "channel_affine"):
        monkeypatch.setattr(kernels, name, None)
    with tg.no_grad():
        close(in_turn([*modules, Plus(x), nn.ReLU()], x), expected, 1e-5)


def test_a_relu_after_a_sum_that_somebody_listens_to_is_called(rng):
    modules, x, act, seen = layers("float32", True, False), images(rng, "float32"), nn.ReLU(), []
    act.register_forward_hook(lambda module, args, y: seen.append((args[0], y)))
    y = in_turn([*modules, Plus(x), act], x)
    assert seen[0][1] is y
    close(seen[0][0], modules[1](modules[0](x)) + x, 1e-5)


def test_images_without_a_batch_axis(rng):
    modules, x = layers("float32", True, False), images(rng, "float32")
    with tg.no_grad():
        y = in_turn([*modules, Plus(x[0]), nn.ReLU()], x[0])
        close(y, in_turn([*modules, Plus(x), nn.ReLU()], x)[0], 0)


def test_plus_must_be_like_the_result(rng):
    conv, x = layers("float32", False, True)[0], images(rng, "float32")
    with pytest.raises(RuntimeError, match=r"plus to be like the result, \(1, 64, 4, 5\), got \(1, 64, 4, 1\)"):
        conv(x, plus=x[..., :1])
    with pytest.raises(RuntimeError, match="of one dtype"):
        conv(x, plus=x.double())
    y = conv(x, plus=x)
    close(conv(x, plus=x, then="relu_pool"), F.max_pool2d(F.relu(y), 2), 1e-6)
    np.testing.assert_allclose(y.detach().numpy(), (conv(x) + x).detach().numpy(), rtol=1e-5, atol=1e-6)
