"""EarlyStopping: when it stops and what it restores."""

import math

import pytest

import tinygrad_mnist as tg
from tinygrad_mnist import nn
from tinygrad_mnist.training import EarlyStopping


def weights(value: float) -> nn.Module:
    model = nn.Linear(1, 1, bias=False)
    model.load_state_dict({"weight": tg.full((1, 1), value)})
    return model


@pytest.mark.parametrize(
    ("losses", "stops"),
    [
        ([3, 2, 1, 0.5], [False] * 4),
        ([1, 1, 1], [False, False, True]),
        ([1, 2, 0.8, 1, 0.75], [False, False, False, False, True]),
        ([1, 0.95, 0.91], [False, False, True]),  # by less than min_delta
        ([math.nan, math.nan], [False, True]),
        ([1, math.nan, 0.5], [False, False, False]),
    ],
)
def test_when_it_stops(losses: list[float], stops: list[bool]) -> None:
    stopping = EarlyStopping(patience=2, min_delta=0.1)
    assert [stopping.step(loss, weights(0)) for loss in losses] == stops
    assert stopping.should_stop is stops[-1]


def test_best_weights_are_a_copy_and_come_back() -> None:
    stopping, model = EarlyStopping(patience=1), weights(1.0)
    stopping.step(0.5, model)
    model.load_state_dict(weights(2.0).state_dict())
    stopping.step(0.6, model)
    stopping.restore_best(model)
    assert model.weight.item() == 1.0


def test_without_an_improvement_nothing_is_restored() -> None:
    stopping, model = EarlyStopping(patience=1), weights(1.0)
    stopping.step(math.nan, model)
    stopping.restore_best(model)
    assert model.weight.item() == 1.0


def test_state_goes_on() -> None:
    first, second = EarlyStopping(patience=2), EarlyStopping(patience=2)
    first.step(0.5, weights(1.0))
    first.step(0.6, weights(2.0))
    second.load_state_dict(first.state_dict())
    assert second.step(0.55, weights(3.0))
    model = weights(3.0)
    second.restore_best(model)
    assert model.weight.item() == 1.0


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="expected patience >= 1, got 0"):
        EarlyStopping(0)
    with pytest.raises(ValueError, match="expected min_delta >= 0, got nan"):
        EarlyStopping(1, math.nan)
