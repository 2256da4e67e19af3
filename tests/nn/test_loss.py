"""Losses against PyTorch, by hand, and against mistakes in their targets."""

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_oracle import agree, close

import tinygrad_mnist as tg
import tinygrad_mnist.nn.functional as F
from tinygrad_mnist import nn

TF = torch.nn.functional
REDUCTIONS = ["mean", "sum", "none"]


def both(name, *inputs, device="cpu", targets=(), second=True, **options):
    """Compare F.name with torch's, differentiated in `inputs`; tensors in `targets` and `options` are constants."""

    def call(functional, to_tensor):
        constants = {k: to_tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
        return lambda *xs: getattr(functional, name)(*xs, *map(to_tensor, targets), **constants)

    agree(call(F, lambda v: tg.tensor(v, device=device)), call(TF, torch.tensor), *inputs, device=device, second=second)


def test_cross_entropy_by_hand(device):
    logits = tg.tensor([[0.0, math.log(3.0)], [0.0, 0.0]], device=device, requires_grad=True)
    loss = F.cross_entropy(logits, tg.tensor([1, 0], device=device), reduction="none")
    close(loss, [math.log(4 / 3), math.log(2)], 1e-6)
    loss.sum().backward()
    close(logits.grad, [[0.25, -0.25], [-0.5, 0.5]], 1e-6)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.sampled_from([(3,), (1, 1), (4, 3), (2, 3, 4), (2, 3, 2, 2)]),
    reduction=st.sampled_from(REDUCTIONS),
    weighted=st.booleans(),
    smoothing=st.sampled_from([0.0, 0.1, 1.0]),
    ignore=st.sampled_from([-100, -1]),
    seed=st.integers(0, 99),
)
def test_cross_entropy_with_indices_agrees(shape, reduction, weighted, smoothing, ignore, seed, device):
    rng = np.random.default_rng(seed)
    C = shape[0] if len(shape) == 1 else shape[1]
    target = rng.integers(0, C, shape[:1] + shape[2:] if len(shape) > 1 else ())
    if target.size > 1 and seed % 2:  # (the mean over nothing has a test of its own)
        target.reshape(-1)[0] = ignore
    options = {"weight": rng.uniform(0.5, 2, C)} if weighted else {}
    both(
        "cross_entropy",
        rng.normal(size=shape),
        targets=[np.asarray(target)],
        device=device,
        reduction=reduction,
        label_smoothing=smoothing,
        ignore_index=ignore,
        **options,
    )


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("shape", [(3,), (4, 3), (2, 3, 4)])
def test_cross_entropy_with_probabilities_agrees(shape, smoothing, weighted, reduction, device, rng):
    C = shape[0] if len(shape) == 1 else shape[1]
    q = rng.dirichlet(np.ones(C), math.prod(shape) // C).reshape(-1, C)
    q = q.reshape(shape) if len(shape) < 3 else np.moveaxis(q.reshape(shape[0], *shape[2:], C), -1, 1)
    options = {"weight": rng.uniform(0.5, 2, C)} if weighted else {}
    both(
        "cross_entropy",
        rng.normal(size=shape),
        q,
        device=device,
        reduction=reduction,
        label_smoothing=smoothing,
        **options,
    )


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_a_class_can_be_ignored(reduction, device, rng):
    target = np.array([0, 1, 2, 0])
    for name in ("cross_entropy", "nll_loss"):
        both(name, rng.normal(size=(4, 3)), targets=[target], device=device, reduction=reduction, ignore_index=0)


def test_one_hot_and_index_targets_agree(device, rng):
    logits = tg.tensor(rng.normal(size=(5, 4)), device=device)
    labels = tg.tensor(rng.integers(0, 4, 5), device=device)
    one_hot = F.one_hot(labels, 4).double()
    for smoothing in (0.0, 0.3):
        close(
            F.cross_entropy(logits, labels, label_smoothing=smoothing),
            F.cross_entropy(logits, one_hot, label_smoothing=smoothing),
            1e-12,
        )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logits_a_thousand_apart_stay_finite(dtype, device):
    for target in (tg.tensor([1, 0], device=device), tg.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=dtype, device=device)):
        logits = tg.tensor([[1000.0, 0.0], [0.0, -1000.0]], dtype=dtype, device=device, requires_grad=True)
        loss = F.cross_entropy(logits, target)
        loss.backward()
        close(loss, 500.0)
        close(logits.grad, [[0.5, -0.5], [0.0, 0.0]])


def test_cross_entropy_keeps_targets_of_any_integer_type_and_strided_logits(device, rng):
    x = rng.normal(size=(3, 6))
    for dtype in ("uint8", "int32", "int64"):
        labels = np.array([0, 2, 5, 1, 1, 0]) % 3
        close(
            F.cross_entropy(tg.tensor(x, device=device).T, tg.tensor(labels, dtype=dtype, device=device)),
            TF.cross_entropy(torch.tensor(x).T, torch.tensor(labels)),
        )


def test_nothing_to_average_gives_nan_and_sums_to_zero(device):
    logits = tg.zeros(0, 3, device=device, requires_grad=True)
    labels = tg.zeros(0, dtype="int64", device=device)
    assert math.isnan(F.cross_entropy(logits, labels).item())
    total = F.cross_entropy(logits, labels, reduction="sum")
    total.backward()
    assert total.item() == 0
    assert logits.grad.shape == (0, 3)
    ignored = F.cross_entropy(tg.zeros(2, 3, device=device), tg.tensor([-100, -100], device=device))
    assert math.isnan(ignored.item())
    assert math.isnan(F.mse_loss(tg.zeros(0, device=device), tg.zeros(0, device=device)).item())


def test_an_ignored_row_may_hold_nan(device):
    logits = tg.tensor([[math.nan, 0.0], [0.0, 0.0]], device=device, requires_grad=True)
    loss = F.cross_entropy(logits, tg.tensor([-100, 0], device=device))
    loss.backward()
    close(loss, math.log(2), 1e-6)
    close(logits.grad, [[0.0, 0.0], [-0.5, 0.5]], 1e-6)


@pytest.mark.parametrize("loss", [F.cross_entropy, F.nll_loss])
@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        ([0, 3, 1], IndexError, r"target 3 at position \(1,\) is out of bounds for 3 classes: expected 0 to 2"),
        ([0, 1, -1], IndexError, r"target -1 at position \(2,\)"),
        ([0, 1], ValueError, r"expected target of shape \(3,\) for input \(3, 3\), got \(2,\)"),
        ([[0], [1], [1]], ValueError, r"use y.squeeze\(1\)"),
        ([[0, 0, 1], [1, 0, 0], [1, 0, 0]], ValueError, "one-hot targets must be floating"),
        ([0.0, 1.0, 2.0], RuntimeError, r"use y.long\(\)|become integers with y.long\(\)"),
        ([True, False, True], RuntimeError, "got bool"),
    ],
)
def test_bad_targets_are_named(loss, target, error, message, device):
    if device == "cuda" and error is IndexError:
        message = "a target is (3|-1), but there are 3 classes"
    with pytest.raises(error, match=message):
        loss(tg.zeros(3, 3, device=device), tg.tensor(target, device=device)).item()  # a GPU says it when it is read


def test_bad_target_position_in_images(device):
    target = tg.zeros(2, 2, 2, dtype="int64", device=device)
    target[1, 0, 1] = 7
    message = r"target 7 at position \(1, 0, 1\)" if device == "cpu" else "a target is 7, but there are 3 classes"
    with pytest.raises(IndexError, match=message):
        F.cross_entropy(tg.zeros(2, 3, 2, 2, device=device), target).item()


def test_bad_options(device):
    x, t = tg.zeros(2, 3, device=device), tg.tensor([0, 1], device=device)
    for raises, message, call in [
        (ValueError, "'avg' is not a valid value for reduction", lambda: F.cross_entropy(x, t, reduction="avg")),
        (RuntimeError, "label_smoothing must be between 0 and 1", lambda: F.cross_entropy(x, t, label_smoothing=1.5)),
        (RuntimeError, r"each of 3 classes or be None, got \(2,\)", lambda: F.cross_entropy(x, t, tg.ones(2))),
        (RuntimeError, "one dtype, got float32 and float64", lambda: F.cross_entropy(x, t, tg.ones(3).double())),
        (RuntimeError, "one dtype, got float32 and float64", lambda: F.cross_entropy(x, x.double())),
        (RuntimeError, "ignore_index is not supported", lambda: F.cross_entropy(x, x, ignore_index=0)),
        (RuntimeError, "floating-point input, got int64", lambda: F.cross_entropy(t, t)),
        (RuntimeError, "without axes", lambda: F.cross_entropy(tg.tensor(1.0), tg.tensor(0))),
        (RuntimeError, "negative values for beta", lambda: F.smooth_l1_loss(x, x, beta=-1.0)),
        (RuntimeError, "non-positive values for delta", lambda: F.huber_loss(x, x, delta=0.0)),
        (
            ValueError,
            r"target size \(3,\) must be the same as input size \(2, 3\)",
            lambda: F.binary_cross_entropy(x, x[0]),
        ),
        (ValueError, "must be the same", lambda: F.binary_cross_entropy_with_logits(x, x[0])),
        *(
            (RuntimeError, "between 0 and 1; for logits use", lambda bad=bad: F.binary_cross_entropy(bad, x).item())
            for bad in (x - 0.1, x + 1.1, x * math.nan)
        ),
    ]:
        with pytest.raises(raises, match=message):
            call()


@settings(max_examples=30, deadline=None)
@given(
    shape=st.sampled_from([(3,), (4, 3), (2, 3, 4)]),
    reduction=st.sampled_from(REDUCTIONS),
    weighted=st.booleans(),
    seed=st.integers(0, 99),
)
def test_nll_loss_agrees(shape, reduction, weighted, seed, device):
    rng = np.random.default_rng(seed)
    C = shape[0] if len(shape) == 1 else shape[1]
    target = rng.integers(0, C, shape[:1] + shape[2:] if len(shape) > 1 else ())
    options = {"weight": rng.uniform(0.5, 2, C)} if weighted else {}
    x = np.log(rng.dirichlet(np.ones(math.prod(shape)))).reshape(shape)
    both("nll_loss", x, targets=[np.asarray(target)], device=device, reduction=reduction, **options)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mse_loss", {}),
        ("l1_loss", {}),
        ("smooth_l1_loss", {}),
        ("smooth_l1_loss", {"beta": 0.3}),
        ("smooth_l1_loss", {"beta": 0.0}),
        ("huber_loss", {"delta": 0.7}),
    ],
)
def test_distances_agree(name, options, reduction, device, rng):
    both(name, rng.normal(size=(3, 4)), rng.normal(size=(3, 4)), device=device, reduction=reduction, **options)


def test_distances_by_hand(device):
    x, t = tg.tensor([0.0, 3.0], device=device), tg.tensor([0.5, 0.0], device=device)
    assert F.mse_loss(x, t).item() == pytest.approx((0.25 + 9) / 2)
    assert F.l1_loss(x, t).item() == pytest.approx(1.75)
    assert F.smooth_l1_loss(x, t, beta=2.0).item() == pytest.approx((0.0625 + 2.0) / 2)
    assert F.huber_loss(x, t, delta=2.0).item() == pytest.approx((0.125 + 4.0) / 2)


def test_a_target_that_broadcasts_is_warned_about(device):
    with pytest.warns(UserWarning, match=r"target size \(3,\) that is different to the input size \(3, 1\)"):
        F.mse_loss(tg.zeros(3, 1, device=device), tg.zeros(3, device=device))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [True, False])
def test_binary_losses_agree(reduction, weighted, device, rng):
    options = {"weight": rng.uniform(0.5, 2, (3, 4))} if weighted else {}
    p, t = rng.uniform(0.1, 0.9, (3, 4)), rng.uniform(0, 1, (3, 4))
    both("binary_cross_entropy", p, targets=[t], device=device, reduction=reduction, **options)
    both("binary_cross_entropy_with_logits", rng.normal(size=(3, 4)), t, device=device, reduction=reduction, **options)
    options["pos_weight"] = rng.uniform(0.5, 2, 4)
    both("binary_cross_entropy_with_logits", rng.normal(size=(3, 4)), t, device=device, reduction=reduction, **options)


def test_binary_losses_at_the_edges(device):
    x = tg.tensor([0.0, 1.0, 0.0, 1.0], device=device, requires_grad=True)
    t = tg.tensor([0.0, 1.0, 1.0, 0.0], device=device)
    loss = F.binary_cross_entropy(x, t, reduction="none")
    close(loss, [0, 0, 100, 100], 1e-6)
    loss.sum().backward()
    close(x.grad, [0, 0, -1e12, 1e12], 1e-6)
    logits = tg.tensor([1000.0, -1000.0, 0.0], device=device, requires_grad=True)
    loss = F.binary_cross_entropy_with_logits(logits, tg.tensor([0.0, 1.0, 1.0], device=device), reduction="none")
    close(loss, [1000.0, 1000.0, math.log(2)], 1e-6)
    loss.sum().backward()
    close(logits.grad, [1.0, -1.0, -0.5], 1e-6)


@pytest.mark.parametrize("reduction", [*REDUCTIONS, "batchmean"])
@pytest.mark.parametrize("log_target", [True, False])
def test_kl_div_agrees(reduction, log_target, device, rng):
    x, t = (rng.dirichlet(np.ones(4), 3) for _ in range(2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about 'mean', in both libraries
        both(
            "kl_div",
            np.log(x),
            np.log(t) if log_target else t,
            device=device,
            reduction=reduction,
            log_target=log_target,
        )


def test_kl_div_of_impossible_events_and_its_warning(device):
    x, t = tg.tensor([[-1.0, -2.0]], device=device), tg.tensor([[0.0, 1.0]], device=device)
    assert F.kl_div(x, t, reduction="batchmean").item() == 2.0
    with pytest.warns(UserWarning, match="batchmean"):
        F.kl_div(x, t)


LAYERS = [
    (lambda nn, w: nn.CrossEntropyLoss(w, label_smoothing=0.1), "index"),
    (lambda nn, w: nn.CrossEntropyLoss(reduction="sum", ignore_index=1), "index"),
    (lambda nn, w: nn.NLLLoss(w), "index"),
    (lambda nn, w: nn.MSELoss(), "same"),
    (lambda nn, w: nn.L1Loss(reduction="sum"), "same"),
    (lambda nn, w: nn.SmoothL1Loss(beta=0.5), "same"),
    (lambda nn, w: nn.HuberLoss(delta=0.5), "same"),
    (lambda nn, w: nn.BCELoss(), "same"),
    (lambda nn, w: nn.BCEWithLogitsLoss(pos_weight=w), "same"),
    (lambda nn, w: nn.KLDivLoss(reduction="batchmean"), "same"),
]


@pytest.mark.parametrize(("make", "kind"), LAYERS)
def test_loss_layers_are_torchs(make, kind, device, rng):
    w = rng.uniform(0.5, 2, 3)
    x = rng.uniform(0.1, 0.9, (4, 3))
    target = rng.integers(0, 3, 4) if kind == "index" else rng.uniform(0.1, 0.9, (4, 3))
    ours, theirs = make(nn, tg.tensor(w, device=device)), make(torch.nn, torch.tensor(w))
    close(
        ours(tg.tensor(x, device=device), tg.tensor(target, device=device)),
        theirs(torch.tensor(x), torch.tensor(target)),
    )
    assert repr(ours) == repr(theirs)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
