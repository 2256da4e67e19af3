"""Dropout: what is dropped, how the rest is scaled, and from which numbers it is drawn."""

import pytest
import torch
from torch_oracle import close

import tinygrad_mnist as tg
import tinygrad_mnist.nn.functional as F
from tinygrad_mnist import nn


def test_the_mean_stays_and_the_rest_is_scaled(device):
    tg.manual_seed(0)
    y = nn.Dropout(0.25)(tg.ones(200, 200, device=device))
    values = y.cpu().numpy()
    assert set(values.ravel().tolist()) == {0.0, float(values.max())}
    close(values.max(), 1 / 0.75, 1e-6)
    assert abs((values == 0).mean() - 0.25) < 0.01  # 40,000 draws: standard deviation 0.002
    assert abs(values.mean() - 1) < 0.015


def test_the_gradient_is_dropped_where_the_value_is(device):
    x = tg.ones(30, device=device, requires_grad=True)
    y = nn.Dropout()(x)
    y.sum().backward()
    close(x.grad, y)


def test_whole_channels_are_dropped(device):
    for shape in [(8, 5, 3, 4), (40, 3, 4)]:
        y = nn.Dropout2d()(tg.ones(shape, device=device)).cpu().numpy()
        channels = y.reshape(40, 12)
        assert (channels == channels[:, :1]).all()
        assert 0 < (channels[:, 0] == 0).sum() < 40


@pytest.mark.parametrize("make", [nn.Dropout, nn.Dropout2d])
def test_evaluation_and_p_0_and_1(make, device):
    x = tg.ones(2, 3, 4, device=device)
    assert make().eval()(x) is x
    assert make(0.0)(x) is x
    assert make(1.0)(x).sum().item() == 0
    y = make(0.5, inplace=True)(x)
    close(x, y)
    assert repr(make(0.3, True)) == repr(getattr(torch.nn, make.__name__)(0.3, True))


def test_the_same_seed_drops_the_same(device):
    x = tg.ones(50, device=device)
    tg.manual_seed(3)
    first = F.dropout(x)
    second = F.dropout(x)
    tg.manual_seed(3)
    close(F.dropout(x), first)
    assert (first != second).any().item()
    own = nn.Dropout(generator=tg.Generator().manual_seed(3))
    tg.manual_seed(0)
    close(own(x), first)
    close(F.dropout(x.double(), generator=tg.Generator().manual_seed(3)) > 0, first > 0)


def test_errors(device):
    with pytest.raises(ValueError, match=r"between 0 and 1, but got 1\.5"):
        nn.Dropout(1.5)
    with pytest.raises(ValueError, match=r"between 0 and 1, but got -0\.1"):
        F.dropout(tg.zeros(2, device=device), -0.1)
    with pytest.raises(ValueError, match="but got nan"):
        nn.Dropout2d(float("nan"))
    with pytest.raises(RuntimeError, match=r"expected images .* got \(2, 3\); or use dropout"):
        nn.Dropout2d()(tg.zeros(2, 3, device=device))
    with pytest.raises(RuntimeError, match="floating-point input, got int64"):
        F.dropout(tg.tensor([1, 2], device=device))


def test_a_state_that_is_set_again_drops_the_same(device):
    x = tg.ones(50, device=device)
    F.dropout(x)
    state = tg.get_rng_state()
    first, second = F.dropout(x), F.dropout(x)
    assert (first != second).any().item()
    tg.set_rng_state(state)
    close(F.dropout(x), first)
    close(F.dropout(x), second)


def test_no_two_draws_share_a_block():
    own = tg.Generator()
    F.dropout(tg.ones(9), generator=own)  # nine words: two blocks of eight
    F.dropout2d(tg.ones(2, 3, 4, 4), generator=own)  # six words
    assert own.take(0)[1] == 3
