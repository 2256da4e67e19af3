"""Initial weights: bounds, moments and exact patterns, against torch.nn.init."""

import math

import numpy as np
import pytest
import torch
from torch_oracle import close

import tinygrad_mnist as tg
from tinygrad_mnist.nn import Linear, Parameter, init

SHAPE = (40, 30, 5, 3)


def drawn(name, *args, shape=SHAPE, device="cpu", **kwargs):
    """What init.name fills a tensor with, and what torch's does."""
    ours, theirs = tg.empty(shape, device=device), torch.empty(shape)
    getattr(torch.nn.init, name)(theirs, *args, **kwargs)
    assert getattr(init, name)(ours, *args, generator=tg.Generator().manual_seed(1), **kwargs) is ours
    return ours.cpu().numpy(), theirs.numpy()


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("uniform_", ()),
        ("uniform_", (-3.0, 1.0)),
        ("xavier_uniform_", ()),
        ("xavier_uniform_", (2.0,)),
        ("kaiming_uniform_", ()),
        ("kaiming_uniform_", (math.sqrt(5), "fan_out")),
        ("kaiming_uniform_", (0, "fan_in", "relu")),
        ("kaiming_uniform_", (0, "fan_in", "tanh")),
    ],
)
def test_uniform_distributions_are_torchs(name, args, device):
    ours, theirs = drawn(name, *args, device=device)
    width = theirs.max() - theirs.min()
    for a, b in [(ours.max(), theirs.max()), (ours.min(), theirs.min()), (ours.mean(), theirs.mean())]:
        assert abs(a - b) < 0.02 * width  # 18,000 draws: the mean's standard deviation is 0.002 of the width
    assert ours.std() == pytest.approx(width / math.sqrt(12), rel=0.02)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("normal_", ()),
        ("normal_", (3.0, 0.5)),
        ("xavier_normal_", (1.5,)),
        ("kaiming_normal_", (0.2, "fan_out", "leaky_relu")),
        ("kaiming_normal_", (0, "fan_in", "relu")),
        ("trunc_normal_", ()),
        ("trunc_normal_", (1.0, 2.0, 0.0, 3.0)),
        ("trunc_normal_", (0.0, 0.02)),
    ],
)
def test_normal_distributions_are_torchs(name, args, device):
    ours, theirs = drawn(name, *args, device=device)
    assert ours.std() == pytest.approx(theirs.std(), rel=0.03)
    assert abs(ours.mean() - theirs.mean()) < 0.05 * theirs.std()
    if name == "trunc_normal_":
        low, high = args[2:] or (-2.0, 2.0)
        assert low <= ours.min() <= ours.max() <= high


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 2, 3)])
def test_orthogonal_rows_or_columns(shape, device):
    w = init.orthogonal_(tg.empty(shape, device=device), gain=2.0).cpu().numpy().reshape(shape[0], -1)
    gram = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    close(gram, 4 * np.eye(min(w.shape)), 1e-5)


def test_sparse_columns(device):
    w = init.sparse_(tg.empty(10, 4, device=device), 0.25, std=2.0).cpu().numpy()
    assert ((w == 0).sum(axis=0) == 3).all()
    assert 0.5 < w[w != 0].std() < 4


@pytest.mark.parametrize(
    ("shape", "groups"), [((4, 4, 3), 1), ((4, 2, 3, 5), 2), ((5, 3, 2, 2), 1), ((2, 3, 3, 3, 3), 1)]
)
def test_dirac_is_torchs(shape, groups, device):
    close(init.dirac_(tg.empty(shape, device=device), groups), torch.nn.init.dirac_(torch.empty(shape), groups))


def test_constants_are_torchs(device):
    for name, args in [("ones_", ()), ("zeros_", ()), ("constant_", (0.3,)), ("eye_", ())]:
        ours = getattr(init, name)(tg.empty(3, 4, device=device), *args)
        close(ours, getattr(torch.nn.init, name)(torch.empty(3, 4), *args))


def test_orthogonal_matrices_are_uniformly_distributed():
    source = tg.Generator().manual_seed(0)
    corners = [init.orthogonal_(tg.empty(2, 2), generator=source)[0, 0].item() for _ in range(400)]
    assert abs(np.mean(corners)) < 0.15  # standard deviation 0.035; a plain QR gives -0.64


@pytest.mark.parametrize("param", [None, 0.3, 2])
@pytest.mark.parametrize("name", ["linear", "conv_transpose2d", "sigmoid", "tanh", "relu", "selu", "leaky_relu"])
def test_gains_are_torchs(name, param):
    assert init.calculate_gain(name, param) == pytest.approx(torch.nn.init.calculate_gain(name, param))


def test_the_seed_decides(device):
    a = init.normal_(tg.empty(4, device=device), generator=tg.Generator().manual_seed(5))
    tg.manual_seed(5)
    close(init.normal_(tg.empty(4, device=device)), a)
    tg.manual_seed(5)
    first = Linear(3, 2, device=device)
    tg.manual_seed(5)
    close(Linear(3, 2, device=device).weight, first.weight)


def test_filling_a_parameter_is_not_recorded_but_noticed(device):
    p = Parameter(tg.ones(2, device=device))
    y = (p * p).sum()
    init.zeros_(p)
    assert p.is_leaf
    with pytest.raises(RuntimeError, match="modified by an"):
        y.backward()


def test_empty_weights_stay_empty():
    for fill in (init.kaiming_uniform_, init.kaiming_normal_, init.orthogonal_):
        assert fill(tg.empty(0, 3)).shape == (0, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: init.eye_(tg.empty(2)), r"expected a matrix, got shape \(2,\)"),
        (lambda: init.sparse_(tg.empty(2), 0.1), "expected a matrix"),
        (lambda: init.dirac_(tg.empty(2, 2)), "expected 3, 4 or 5 axes"),
        (lambda: init.dirac_(tg.empty(3, 2, 1), 2), "2 groups do not divide 3"),
        (lambda: init.orthogonal_(tg.empty(2)), "at least 2 axes"),
        (lambda: init.xavier_normal_(tg.empty(2)), "at least 2 axes"),
        (lambda: init.kaiming_normal_(tg.empty(2, 2), mode="fan"), "mode 'fan' not supported"),
        (lambda: init.kaiming_normal_(tg.empty(2, 2), nonlinearity="swish"), "unsupported nonlinearity 'swish'"),
        (lambda: init.calculate_gain("leaky_relu", "x"), "not a valid number"),
        (lambda: init.trunc_normal_(tg.empty(2), a=5.0, b=6.0), "at most 4 std from the mean"),
        (lambda: init.trunc_normal_(tg.empty(2), a=1.0, b=-1.0), "expected a < b"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
