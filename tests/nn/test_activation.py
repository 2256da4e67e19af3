"""Activation layers and functions against PyTorch."""

import math

import numpy as np
import pytest
import torch
from torch_oracle import agree, close

import tinygrad_mnist as tg
import tinygrad_mnist.nn.functional as F
from tinygrad_mnist import nn

ACTIVATIONS = [
    lambda nn: nn.ReLU(),
    lambda nn: nn.ReLU6(),
    lambda nn: nn.LeakyReLU(),
    lambda nn: nn.LeakyReLU(0.3),
    lambda nn: nn.ELU(),
    lambda nn: nn.ELU(0.5),
    lambda nn: nn.GELU(),
    lambda nn: nn.GELU(approximate="tanh"),
    lambda nn: nn.SiLU(),
    lambda nn: nn.Hardswish(),
    lambda nn: nn.Sigmoid(),
    lambda nn: nn.Tanh(),
    lambda nn: nn.Softplus(),
    lambda nn: nn.Softplus(2.0, 3.0),
    lambda nn: nn.Softmax(dim=1),
    lambda nn: nn.LogSoftmax(dim=0),
]
INPLACE = [
    lambda nn: nn.ReLU(inplace=True),
    lambda nn: nn.ReLU6(inplace=True),
    lambda nn: nn.LeakyReLU(inplace=True),
    lambda nn: nn.ELU(inplace=True),
    lambda nn: nn.SiLU(inplace=True),
    lambda nn: nn.Hardswish(inplace=True),
]


@pytest.mark.parametrize("make", ACTIVATIONS)
@pytest.mark.parametrize("shape", [(3, 5), (2, 0), (4, 2, 3)])
def test_layers_are_torchs(make, shape, device, rng):
    # Not at the kinks (-3, 0, 3, 6), where the second derivatives are a matter of taste.
    agree(make(nn), make(torch.nn), rng.normal(0.1, 3, shape), device=device)
    assert repr(make(nn)) == repr(make(torch.nn))


@pytest.mark.parametrize("make", ACTIVATIONS)
def test_values_and_gradients_far_out_and_at_the_kinks_are_torchs(make, device):
    x = np.array([[-1000.0, -100.0, -3.0, 0.0, 3.0, 6.0, 100.0, 1000.0]] * 2)
    agree(make(nn), make(torch.nn), x, device=device, second=False)


@pytest.mark.parametrize("make", INPLACE)
def test_inplace_overwrites_the_input_and_keeps_the_gradient(make, device, rng):
    agree(
        lambda x: make(nn)(x * 2),
        lambda x: make(torch.nn)(x * 2),
        rng.normal(0.1, 3, (3, 4)),
        device=device,
        second=False,
    )
    x = tg.tensor(rng.normal(size=(3, 4)), device=device)
    y = make(nn)(x)
    close(x, y)
    assert repr(make(nn)) == repr(make(torch.nn))


def test_functions_without_a_layer(device, rng):
    x = rng.normal(0, 3, (3, 4))
    agree(F.hardtanh, torch.nn.functional.hardtanh, x, device=device)
    agree(F.logsigmoid, torch.nn.functional.logsigmoid, x * 300, device=device)
    assert F.logsigmoid(tg.tensor([math.inf, -math.inf], device=device)).tolist() == [0.0, -math.inf]


def test_softplus_does_not_overflow_below_its_threshold(device):
    x = tg.tensor([-13.0, 13.0, 19.0], device=device)
    close(F.softplus(x.half()), [0.0, 13.0, 19.0], 1e-3)
    close(F.softplus(x * 10, threshold=1000), [0.0, 130.0, 190.0])


def test_softmax_of_far_apart_numbers(device):
    x = tg.tensor([[1000.0, 0.0, -1000.0]], device=device)
    close(F.softmax(x, 1), [[1.0, 0.0, 0.0]])
    close(F.log_softmax(x, 1), [[0.0, -1000.0, -2000.0]])
    assert math.isclose(F.softmax(x, 1, dtype=tg.float64).sum().item(), 1)


def test_softmax_says_what_is_missing(device):
    with pytest.raises(TypeError, match=r"Softmax\(dim=None\): say along which dim of input \(2, 3\)"):
        nn.Softmax()(tg.zeros(2, 3, device=device))
    with pytest.raises(RuntimeError, match="floating-point input, got int64"):
        F.log_softmax(tg.tensor([1, 2], device=device), 0)
    with pytest.raises(RuntimeError, match="approximate"):
        nn.GELU("sinh")(tg.zeros(2, device=device))


@pytest.mark.parametrize("inplace", [False, True])
def test_relu_of_a_sum(device, rng, inplace):
    a, b = (tg.tensor(rng.standard_normal((2, 70, 40)), requires_grad=True, device=device) for _ in range(2))
    y = F.relu(a * 1, inplace, plus=b)
    expected = F.relu(a + b)
    close(y, expected)
    seed = tg.tensor(rng.standard_normal((2, 70, 40)), device=device)
    for mine, theirs in zip(*(tg.autograd.grad(found, [a, b], seed) for found in (y, expected)), strict=True):
        close(mine, theirs)


def test_relu_of_a_sum_needs_one_shape_and_dtype(device):
    x = tg.ones(2, 3, device=device)
    for plus in (x[0], x.double()):
        with pytest.raises(RuntimeError, match=r"plus to be like the input, \(2, 3\) float32, got .*use relu\(input"):
            F.relu(x, plus=plus)
