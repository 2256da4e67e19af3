"""Schedules against torch.optim.lr_scheduler, epoch for epoch."""

import copy
import json

import pytest
import torch
from torch.optim import lr_scheduler as theirs

import tinygrad_mnist as tg
from tinygrad_mnist import optim
from tinygrad_mnist.optim import lr_scheduler as ours

EPOCHS = 30


class Halve:
    """A function with state of its own."""

    def __init__(self, by=2.0):
        self.by = by

    def __call__(self, epoch):
        return 1 / self.by ** (epoch // 4)


CASES = {
    "StepLR": lambda s, o: s.StepLR(o, 4),
    "StepLR, gamma": lambda s, o: s.StepLR(o, step_size=3, gamma=0.5),
    "MultiStepLR": lambda s, o: s.MultiStepLR(o, [9, 2, 9, 15], gamma=0.3),
    "ConstantLR": lambda s, o: s.ConstantLR(o),
    "ConstantLR, factor": lambda s, o: s.ConstantLR(o, factor=0.25, total_iters=7),
    "LinearLR": lambda s, o: s.LinearLR(o),
    "LinearLR, down": lambda s, o: s.LinearLR(o, start_factor=0.9, end_factor=0.1, total_iters=11),
    "LinearLR, to 0": lambda s, o: s.LinearLR(o, 1.0, 0.0, 6),
    "ExponentialLR": lambda s, o: s.ExponentialLR(o, 0.8),
    "PolynomialLR": lambda s, o: s.PolynomialLR(o),
    "PolynomialLR, power": lambda s, o: s.PolynomialLR(o, total_iters=20, power=2.5),
    "LambdaLR": lambda s, o: s.LambdaLR(o, lambda epoch: 1 / (1 + epoch)),
    "LambdaLR, a function for each group": lambda s, o: s.LambdaLR(o, [Halve(), lambda epoch: 0.9**epoch]),
    "MultiplicativeLR": lambda s, o: s.MultiplicativeLR(o, lambda epoch: 0.95 + 0.01 * (epoch % 3)),
    "CosineAnnealingLR": lambda s, o: s.CosineAnnealingLR(o, 8),
    "CosineAnnealingLR, eta_min": lambda s, o: s.CosineAnnealingLR(o, T_max=7, eta_min=0.01),
    "CosineAnnealingWarmRestarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 5),
    "CosineAnnealingWarmRestarts, T_mult": lambda s, o: s.CosineAnnealingWarmRestarts(o, 3, T_mult=2, eta_min=0.01),
    "OneCycleLR": lambda s, o: s.OneCycleLR(o, 0.3, total_steps=EPOCHS + 1),
    "OneCycleLR, for each group": lambda s, o: s.OneCycleLR(
        o, [0.3, 0.7], epochs=5, steps_per_epoch=8, base_momentum=[0.8, 0.7], max_momentum=[0.9, 0.95]
    ),
    "OneCycleLR, three phases, linear": lambda s, o: s.OneCycleLR(
        o, 0.5, EPOCHS + 1, three_phase=True, anneal_strategy="linear", pct_start=0.4, div_factor=5, final_div_factor=50
    ),
    "OneCycleLR, momentum untouched": lambda s, o: s.OneCycleLR(o, 0.5, EPOCHS + 1, cycle_momentum=False),
    "SequentialLR": lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o, 0.1, total_iters=5), s.CosineAnnealingLR(o, 10), s.StepLR(o, 3)], milestones=[5, 16]
    ),
    "SequentialLR of the others": lambda s, o: s.SequentialLR(
        o,
        [s.ConstantLR(o, 0.5, 3), s.ExponentialLR(o, 0.9), s.MultiStepLR(o, [2, 4]), s.PolynomialLR(o, 4),
         s.CosineAnnealingWarmRestarts(o, 3), s.LambdaLR(o, Halve(3))],
        milestones=[4, 8, 13, 18, 23],
    ),
    "SequentialLR from epoch 0": lambda s, o: s.SequentialLR(
        o, [s.StepLR(o, 1), s.ExponentialLR(o, 0.5)], milestones=[0]
    ),
    "ChainedScheduler": lambda s, o: s.ChainedScheduler(
        [s.ConstantLR(o, 0.1, total_iters=4), s.ExponentialLR(o, 0.9), s.CosineAnnealingLR(o, 9)]
    ),
}  # fmt: skip


def optimizers(name: str = "SGD") -> tuple:
    """One of ours and one of PyTorch's, with two groups."""
    options = {"momentum": 0.5} if name == "SGD" else {}
    mine = getattr(optim, name)([{"params": [tg.zeros(1)]}, {"params": [tg.zeros(1)], "lr": 0.2}], lr=0.1, **options)
    other = getattr(torch.optim, name)(
        [{"params": [torch.zeros(1)]}, {"params": [torch.zeros(1)], "lr": 0.2}], lr=0.1, **options
    )
    return mine, other


def run(optimizer, schedule, epochs: int) -> list:
    """What the schedule does to each group in every epoch."""
    found = []
    for _ in range(epochs):
        optimizer.step()
        groups = [(g["lr"], g.get("momentum", 0), g.get("betas", (0, 0))[0]) for g in optimizer.param_groups]
        assert [g[0] for g in groups] == schedule.get_last_lr()
        found.append([x for group in groups for x in group])
        schedule.step()
    return found


def assert_equal(a: list, b: list) -> None:
    assert len(a) == len(b)
    for epoch, (x, y) in enumerate(zip(a, b, strict=True)):
        assert x == pytest.approx(y, rel=1e-10, abs=1e-14), f"epoch {epoch}"


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore:.*optimizer.step")  # PyTorch's warns of the inner schedules of a SequentialLR
def test_equals_pytorch(name, optimizer):
    mine, other = optimizers(optimizer)
    assert_equal(
        run(mine, CASES[name](ours, mine), EPOCHS), run(other, CASES[name](theirs, other), EPOCHS)
    )


@pytest.mark.parametrize("name", CASES)
def test_goes_on_from_a_state_dict(name):
    optimizer, _ = optimizers()
    schedule = CASES[name](ours, optimizer)
    run(optimizer, schedule, 7)
    state = copy.deepcopy((optimizer.state_dict(), schedule.state_dict()))
    json.dumps(state[1])  # fits in a checkpoint
    expected = run(optimizer, schedule, EPOCHS - 7)
    optimizer, _ = optimizers()
    schedule = CASES[name](ours, optimizer)
    optimizer.load_state_dict(state[0])
    schedule.load_state_dict(state[1])
    assert run(optimizer, schedule, EPOCHS - 7) == expected


RESUMABLE = {
    "StepLR": lambda s, o, e: s.StepLR(o, 4, last_epoch=e),
    "MultiStepLR": lambda s, o, e: s.MultiStepLR(o, [2, 9], last_epoch=e),
    "ConstantLR": lambda s, o, e: s.ConstantLR(o, last_epoch=e),
    "LinearLR": lambda s, o, e: s.LinearLR(o, last_epoch=e),
    "ExponentialLR": lambda s, o, e: s.ExponentialLR(o, 0.8, last_epoch=e),
    "PolynomialLR": lambda s, o, e: s.PolynomialLR(o, 20, 2.0, last_epoch=e),
    "LambdaLR": lambda s, o, e: s.LambdaLR(o, lambda epoch: 0.9**epoch, last_epoch=e),
    "MultiplicativeLR": lambda s, o, e: s.MultiplicativeLR(o, lambda epoch: 0.9, last_epoch=e),
    "CosineAnnealingLR": lambda s, o, e: s.CosineAnnealingLR(o, 8, last_epoch=e),
    "CosineAnnealingWarmRestarts": lambda s, o, e: s.CosineAnnealingWarmRestarts(o, 50, last_epoch=e),
    "OneCycleLR": lambda s, o, e: s.OneCycleLR(o, 0.5, EPOCHS, last_epoch=e),
}


@pytest.mark.parametrize("last_epoch", [1, 3, 4, 8])
@pytest.mark.parametrize("name", RESUMABLE)
def test_last_epoch_equals_pytorch(name, last_epoch):
    found = []
    for s, optimizer in zip((ours, theirs), optimizers(), strict=True):
        run(optimizer, RESUMABLE[name](s, optimizer, -1), last_epoch)
        found.append(run(optimizer, RESUMABLE[name](s, optimizer, last_epoch), EPOCHS - last_epoch - 2))
    assert_equal(*found)


def test_fractions_of_an_epoch():
    found = []
    for s, optimizer in zip((ours, theirs), optimizers(), strict=True):
        schedule = s.CosineAnnealingWarmRestarts(optimizer, 3, T_mult=2)
        lrs = []
        for step in range(100):
            optimizer.step()
            schedule.step(step / 4)
            lrs.append(schedule.get_last_lr())
        schedule.step()
        found.append([*lrs, schedule.get_last_lr()])
    assert_equal(*found)
    with pytest.raises(ValueError, match="non-negative epoch, but got -1"):
        ours.CosineAnnealingWarmRestarts(optimizers()[0], 3).step(-1)


METRICS = [5, 4, 4, 4.0001, 3.9999, *[3] * 7, 2.99, 3, *[1] * 6, float("nan"), *[1] * 4, 0.5, -1, -1]


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
@pytest.mark.parametrize(
    "options",
    [
        {"patience": 2},
        {"patience": 0, "factor": 0.5, "cooldown": 3},
        {"patience": 1, "threshold": 0.1, "min_lr": [0.02, 0.05]},
        {"patience": 1, "min_lr": 0.001, "eps": 0.05},
    ],
    ids=str,
)
def test_plateau_equals_pytorch(mode, threshold_mode, options):
    found = []
    for s, optimizer in zip((ours, theirs), optimizers(), strict=True):
        schedule = s.ReduceLROnPlateau(optimizer, mode, threshold_mode=threshold_mode, **options)
        lrs = []
        for metric in METRICS:
            schedule.step(metric if mode == "min" else 5 - metric)
            lrs.append([*schedule.get_last_lr(), schedule.num_bad_epochs, schedule.cooldown_counter, schedule.best])
        found.append(lrs)
    assert_equal(*found)
    assert len({tuple(lrs[:2]) for lrs in found[0]}) > 1


def test_plateau_takes_tensors_and_goes_on_from_a_state_dict():
    optimizer, _ = optimizers()
    schedule = ours.ReduceLROnPlateau(optimizer, patience=2)
    for metric in (3.0, 2.0, 2.0):
        schedule.step(tg.tensor(metric))
    state = json.loads(json.dumps(schedule.state_dict()))
    other = ours.ReduceLROnPlateau(optimizer, patience=9, mode="max")
    other.load_state_dict(state)
    for _ in range(2):
        other.step(2.0)
    assert other.get_last_lr() == pytest.approx([0.01, 0.02])


def test_nested_combinations():
    def make(optimizer):
        warm = ours.ChainedScheduler([ours.LinearLR(optimizer, 0.5, 1.0, 2), ours.ConstantLR(optimizer, 0.1, 3)])
        down = ours.SequentialLR(optimizer, [ours.StepLR(optimizer, 9), ours.ExponentialLR(optimizer, 0.5)], [2])
        return ours.SequentialLR(optimizer, [warm, down, ours.ChainedScheduler([ours.StepLR(optimizer, 1)])], [4, 8])

    optimizer = optim.SGD([tg.zeros(1)], lr=1.0)
    lrs = [epoch[0] for epoch in run(optimizer, make(optimizer), 10)]
    assert lrs == pytest.approx([0.05, 0.075, 0.1, 1, 1, 1, 1, 0.5, 1, 0.1])


def test_warns_of_the_wrong_order_once():
    optimizer, _ = optimizers()
    schedule = ours.StepLR(optimizer, 2)
    with pytest.warns(UserWarning, match=r"before optimizer.step\(\)"):
        schedule.step()
    schedule.step()


def test_no_warning_for_an_optimizer_with_a_step_of_its_own():
    class Own(optim.Optimizer):
        def step(self, closure=None):
            return None

    ours.StepLR(Own([tg.zeros(1)], {"lr": 0.1}), 2).step()


SGD = optimizers()[0]
OTHER = optimizers()[0]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ours.StepLR(3, 1), TypeError, "int is not an Optimizer"),
        (lambda: ours.OneCycleLR(3, 1, 1), TypeError, "int is not an Optimizer"),
        (lambda: ours.ReduceLROnPlateau(3), TypeError, "int is not an Optimizer"),
        (lambda: ours.LRScheduler(SGD), NotImplementedError, "get_lr"),
        (lambda: ours.factors.ScaledLR(SGD), NotImplementedError, "scale"),
        (lambda: ours.StepLR(optimizers()[0], 2, last_epoch=3), KeyError, "'initial_lr' is not specified"),
        (lambda: ours.LambdaLR(SGD, [len]), ValueError, "Expected 2 lr_lambdas, but got 1"),
        (lambda: ours.LambdaLR(SGD, 3), TypeError, "should be a function, but got int"),
        (lambda: ours.ConstantLR(SGD, 1.1), ValueError, "between 0 and 1"),
        (lambda: ours.LinearLR(SGD, 0.0), ValueError, "Starting"),
        (lambda: ours.LinearLR(SGD, 1.0, 1.1), ValueError, "Ending"),
        (lambda: ours.CosineAnnealingWarmRestarts(SGD, 0), ValueError, "T_0, but got 0"),
        (lambda: ours.CosineAnnealingWarmRestarts(SGD, 1.5), ValueError, "T_0, but got 1.5"),
        (lambda: ours.CosineAnnealingWarmRestarts(SGD, 1, 0), ValueError, "T_mult >= 1, but got 0"),
        (lambda: ours.OneCycleLR(SGD, 1), ValueError, "total_steps OR"),
        (lambda: ours.OneCycleLR(SGD, 1, 0), ValueError, "positive integer total_steps, but got 0"),
        (lambda: ours.OneCycleLR(SGD, 1, epochs=1.5, steps_per_epoch=2), ValueError, "epochs, but got 1.5"),
        (lambda: ours.OneCycleLR(SGD, 1, epochs=1, steps_per_epoch=-2), ValueError, "steps_per_epoch, but got -2"),
        (lambda: ours.OneCycleLR(SGD, 1, 9, pct_start=1), ValueError, "pct_start, but got 1"),
        (lambda: ours.OneCycleLR(SGD, 1, 9, anneal_strategy="x"), ValueError, "instead got x"),
        (lambda: ours.OneCycleLR(SGD, [1], 9), ValueError, "max_lr must have the same length"),
        (lambda: ours.OneCycleLR(optim.Adadelta([tg.zeros(1)]), 1, 9), ValueError, "momentum or beta1"),
        (lambda: ours.ReduceLROnPlateau(SGD, factor=1.0), ValueError, "< 1.0"),
        (lambda: ours.ReduceLROnPlateau(SGD, "x"), ValueError, "mode x is unknown"),
        (lambda: ours.ReduceLROnPlateau(SGD, threshold_mode="x"), ValueError, "threshold mode x is unknown"),
        (lambda: ours.ReduceLROnPlateau(SGD, min_lr=[1]), ValueError, "min_lr must have the same length"),
        (lambda: ours.SequentialLR(SGD, [], []), ValueError, "at least one"),
        (lambda: ours.SequentialLR(SGD, [ours.StepLR(SGD, 1)], [1]), ValueError, "1 schedulers and 1 milestones"),
        (lambda: ours.SequentialLR(SGD, [ours.StepLR(OTHER, 1)], []), ValueError, "same optimizer"),
        (lambda: ours.ChainedScheduler([ours.ReduceLROnPlateau(SGD)]), ValueError, "ReduceLROnPlateau"),
        (lambda: ours.ChainedScheduler([ours.StepLR(SGD, 1), 3]), TypeError, "got int at index 1"),
    ],
)
def test_bad_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_too_many_steps():
    optimizer, _ = optimizers()
    schedule = ours.OneCycleLR(optimizer, 1.0, 2)
    run(optimizer, schedule, 2)
    with pytest.raises(ValueError, match="Tried to step 3 times"):
        schedule.step()
