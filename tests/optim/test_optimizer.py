"""Optimizers against torch.optim: the same parameters, losses, state, and errors."""

import copy
import itertools

import numpy as np
import pytest
import torch

import tinygrad_mnist as tg
from tinygrad_mnist import nn, optim
from tinygrad_mnist.nn import functional as F

pytestmark = pytest.mark.usefixtures("default_device")

SHAPES = [(3, 4), (5,), (2, 3, 3, 3)]


def options(**choices: tuple) -> list[dict]:
    """Every combination of the choices."""
    return [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]


ONOFF = (False, True)
CASES = [
    *[("SGD", o) for o in options(lr=(0.1,), momentum=(0, 0.9), dampening=(0, 0.5), nesterov=ONOFF,
                                  weight_decay=(0, 0.1), maximize=ONOFF)
      if not o["nesterov"] or (o["momentum"] and not o["dampening"])],
    *[("Adam", o) for o in options(lr=(0.1,), betas=((0.9, 0.99),), amsgrad=ONOFF, weight_decay=(0, 0.1),
                                   maximize=ONOFF, decoupled_weight_decay=ONOFF)],
    *[("AdamW", o) for o in options(lr=(0.1,), eps=(1e-3,), amsgrad=ONOFF, maximize=ONOFF)],
    *[("RMSprop", o) for o in options(lr=(0.01,), momentum=(0, 0.9), centered=ONOFF, weight_decay=(0, 0.1),
                                      maximize=ONOFF)],
    *[("Adadelta", o) for o in options(weight_decay=(0, 0.1), maximize=ONOFF)],
    *[("Adagrad", o) for o in options(lr=(0.1,), lr_decay=(0, 0.1), weight_decay=(0, 0.1),
                                      initial_accumulator_value=(0, 0.5), maximize=ONOFF)],
    *[(name, {}) for name in ("SGD", "Adam", "AdamW", "RMSprop", "Adadelta", "Adagrad")],
]  # fmt: skip
PLAIN = [
    ("SGD", {"lr": 0.05}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-3}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "dampening": 0.2}),
    ("Adam", {"lr": 0.002}),
    ("Adam", {"lr": 0.002, "amsgrad": True, "weight_decay": 1e-3}),
    ("AdamW", {"lr": 0.002}),
    ("RMSprop", {"lr": 0.001}),
    ("RMSprop", {"lr": 0.001, "centered": True, "momentum": 0.9}),
    ("Adadelta", {}),
    ("Adagrad", {}),
]
IDS = [f"{name}-{'-'.join(f'{k}={v}' for k, v in o.items())}" for name, o in CASES]


def pair(rng, dtype, device="cpu") -> tuple[list, list]:
    """The same parameters as ours and as PyTorch's."""
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in SHAPES]
    return (
        [tg.tensor(a, device=device, requires_grad=True) for a in arrays],
        [torch.tensor(a, requires_grad=True) for a in arrays],
    )


def set_gradients(params: list, rng) -> None:
    """Random gradients; the first parameter has none on every third call."""
    for p in params:
        a = rng.standard_normal(tuple(p.shape))
        if isinstance(p, torch.Tensor):
            p.grad = torch.tensor(a, dtype=p.dtype)
        else:
            p.grad = tg.tensor(a, dtype=p.dtype, device=p.device)
    if rng.random() < 1 / 3:
        params[0].grad = None


def assert_close(mine, theirs, tolerance) -> None:
    a, b = mine.numpy(force=True), theirs.numpy(force=True)
    assert a.shape == b.shape
    assert a.dtype == b.dtype
    assert bool((abs(a - b) <= tolerance * (1 + abs(b))).all())


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 3e-6)])
@pytest.mark.parametrize(("name", "o"), CASES, ids=IDS)
def test_equals_pytorch_step_for_step(name, o, dtype, tolerance, rng, device):
    ours, theirs = pair(rng, dtype, device)
    mine, other = getattr(optim, name)(ours, **o), getattr(torch.optim, name)(theirs, **o)
    for step in range(6):
        set_gradients(ours, np.random.default_rng(step))
        set_gradients(theirs, np.random.default_rng(step))
        mine.step()
        other.step()
        for a, b in zip(ours, theirs, strict=True):
            assert_close(a, b, tolerance)
    a, b = mine.state_dict(), other.state_dict()
    assert a["state"].keys() == {i for i, state in b["state"].items() if state}
    for i, state in a["state"].items():
        assert {k for k, v in b["state"][i].items() if v is not None} == set(state)
        assert all(k == "step" or v.device.type == device for k, v in state.items())
    for group, expected in zip(a["param_groups"], b["param_groups"], strict=True):
        unknown = {"foreach", "capturable", "differentiable", "fused"}
        assert group == {k: v for k, v in expected.items() if k not in unknown}


@pytest.mark.parametrize(("name", "o"), CASES, ids=IDS)
def test_goes_on_from_a_state_dict_bit_for_bit(name, o, rng, device):
    ours, _ = pair(rng, "float32", device)
    optimizer = getattr(optim, name)(ours, **o)
    for step in range(3):
        set_gradients(ours, np.random.default_rng(step))
        optimizer.step()
    state, values = copy.deepcopy(optimizer.state_dict()), [p.tolist() for p in ours]
    copies = [tg.tensor(v, device=device, requires_grad=True) for v in values]
    resumed = getattr(optim, name)(copies, lr=77)
    resumed.load_state_dict(state)
    assert resumed.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]
    for step in range(3, 6):
        for params, opt in ((ours, optimizer), (copies, resumed)):
            set_gradients(params, np.random.default_rng(step))
            opt.step()
    assert [p.tolist() for p in ours] == [p.tolist() for p in copies]
    assert str(resumed.state_dict()) == str(optimizer.state_dict())


def to_torch(state_dict: dict) -> dict:
    """One of our state dicts with PyTorch's tensors."""
    state = {
        i: {k: torch.tensor(v.numpy(force=True)) if isinstance(v, tg.Tensor) else v for k, v in entries.items()}
        for i, entries in state_dict["state"].items()
    }
    return {**state_dict, "state": state}


def from_torch(state_dict: dict) -> dict:
    """One of PyTorch's state dicts with our tensors."""
    state = {
        i: {k: tg.tensor(v.numpy(force=True)) if isinstance(v, torch.Tensor) else v for k, v in entries.items()}
        for i, entries in state_dict["state"].items()
    }
    return {**state_dict, "state": state}


@pytest.mark.parametrize(("name", "o"), PLAIN)
def test_state_dicts_are_exchanged_with_pytorch(name, o, rng):
    ours, theirs = pair(rng, "float64")
    mine, other = getattr(optim, name)(ours, **o), getattr(torch.optim, name)(theirs, **o)
    for step in range(8):
        if step == 3:  # each goes on from the other's state
            state = from_torch(copy.deepcopy(other.state_dict())), to_torch(copy.deepcopy(mine.state_dict()))
            mine, other = getattr(optim, name)(ours), getattr(torch.optim, name)(theirs)
            mine.load_state_dict(state[0])
            other.load_state_dict(state[1])
        for params, opt in ((ours, mine), (theirs, other)):
            set_gradients(params, np.random.default_rng(step))
            opt.step()
    for a, b in zip(ours, theirs, strict=True):
        assert_close(a, b, 1e-10)


def test_options_by_group_and_names(device):
    a, b = (tg.ones(2, device=device, requires_grad=True) for _ in range(2))
    optimizer = optim.SGD([{"params": [("a", a)]}, {"params": [("b", b)], "lr": 0.5}], lr=0.1, momentum=0.9)
    (a.sum() + b.sum()).backward()
    optimizer.step()
    np.testing.assert_allclose([*a.tolist(), *b.tolist()], [0.9, 0.9, 0.5, 0.5], rtol=1e-6)
    state = optimizer.state_dict()
    assert [g["param_names"] for g in state["param_groups"]] == [["a"], ["b"]]
    assert [g["params"] for g in state["param_groups"]] == [[0], [1]]
    assert state["state"][1]["momentum_buffer"].tolist() == [1, 1]
    other = optim.SGD([{"params": [("c", a)]}, {"params": [("d", b)]}])
    other.load_state_dict(state)
    assert [g["param_names"] for g in other.param_groups] == [["c"], ["d"]]
    assert [g["lr"] for g in other.param_groups] == [0.1, 0.5]


def test_a_model_s_named_parameters():
    model = nn.Linear(2, 1)
    optimizer = optim.Adam(model.named_parameters())
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]
    assert optimizer.param_groups[0]["params"][0] is model.weight


def test_a_group_added_later():
    a, b = (tg.ones(2, requires_grad=True) for _ in range(2))
    optimizer = optim.SGD([a], lr=0.5)
    optimizer.add_param_group({"params": b, "lr": 0.25})
    (a.sum() + b.sum()).backward()
    optimizer.step()
    assert (a.tolist(), b.tolist()) == ([0.5, 0.5], [0.75, 0.75])


def test_load_state_dict_copies_and_converts():
    p = tg.ones(2, dtype=tg.float64, requires_grad=True)
    optimizer = optim.Adam([p])
    buffer = tg.tensor([1.0, 2.0])
    state = {"step": tg.tensor(3.0), "exp_avg": buffer, "exp_avg_sq": buffer}
    optimizer.load_state_dict({"state": {7: state}, "param_groups": [{"params": [7], "lr": 1.0}]})
    assert optimizer.state[p]["step"] == 3
    assert optimizer.state[p]["exp_avg"].dtype == np.float64
    p.grad = tg.ones(2, dtype=tg.float64)
    optimizer.step()
    assert buffer.tolist() == [1, 2]
    assert optimizer.param_groups[0]["betas"] == (0.9, 0.999)


def test_load_state_dict_keeps_numbers_and_drops_none():
    p = tg.ones(1, requires_grad=True)
    optimizer = optim.SGD([p], momentum=0.9)
    state = {0: {"momentum_buffer": None, "note": 5}}
    optimizer.load_state_dict({"state": state, "param_groups": [{"params": [0]}]})
    assert dict(optimizer.state[p]) == {"note": 5}
    p.grad = tg.ones(1)
    optimizer.step()
    assert optimizer.state[p]["momentum_buffer"].item() == 1


def test_step_runs_a_closure_with_gradients():
    p = tg.ones(1, requires_grad=True)
    optimizer = optim.SGD([p], lr=0.25)

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with tg.no_grad():
        loss = optimizer.step(closure)
    assert (loss.item(), p.item()) == (1.0, 0.5)
    assert optimizer.step() is None


def test_zero_grad(device):
    p = tg.ones(2, device=device, requires_grad=True)
    optimizer = optim.SGD([p])
    optimizer.zero_grad(set_to_none=False)
    assert p.grad is None
    p.sum().backward()
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.tolist() == [0, 0]
    optimizer.zero_grad()
    assert p.grad is None


def test_the_tape_notices_a_step():
    p = tg.ones(2, requires_grad=True)
    loss = (p * p).sum()
    p.grad = tg.ones(2)
    optim.SGD([p]).step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_parameter_stays_the_same_memory():
    p = tg.ones(2, requires_grad=True)
    array = p.array
    p.grad = tg.ones(2)
    optim.Adam([p], lr=0.5).step()
    assert p.array is array
    assert float(array[0]) == pytest.approx(0.5)
    assert p.is_leaf


def test_a_numpy_learning_rate_does_not_widen():
    p, q = (tg.ones(2, requires_grad=True) for _ in range(2))
    p.grad, q.grad = tg.ones(2) / 3, tg.ones(2) / 3
    optim.SGD([p], lr=np.float64(0.1)).step()
    optim.SGD([q], lr=0.1).step()
    assert p.tolist() == q.tolist()


def test_an_overflow_is_a_result_and_no_warning():
    p = nn.Parameter(tg.tensor([1e30]))
    p.grad = tg.tensor([1e30])
    optim.SGD([p], lr=1e30).step()
    assert p.tolist() == [-np.inf]


def test_repr():
    text = repr(optim.SGD([("w", tg.zeros(1))], lr=0.5))
    assert text.startswith("SGD (\nParameter Group 0\n    dampening: 0\n    lr: 0.5\n")
    assert "params" not in text


LEAF = tg.zeros(1, requires_grad=True)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: optim.SGD(LEAF), TypeError, "put it into a list"),
        (lambda: optim.SGD([]), ValueError, "empty parameter list"),
        (lambda: optim.SGD([3]), TypeError, "one of the params is int"),
        (lambda: optim.SGD([LEAF * 2]), ValueError, "non-leaf"),
        (lambda: optim.SGD([{"params": {1}}]), TypeError, "use a list"),
        (lambda: optim.SGD([{"params": [LEAF]}, 3]), TypeError, "param_group must be a dict, but got int"),
        (lambda: optim.SGD([{"params": [LEAF]}, {"params": [LEAF]}]), ValueError, "more than one parameter group"),
        (lambda: optim.SGD([("a", LEAF), tg.zeros(1)]), ValueError, "some param names are missing"),
        (lambda: optim.SGD([{"params": [("a", LEAF)]}, {"params": [tg.zeros(1)]}]), ValueError, "all without"),
        (lambda: optim.SGD([LEAF], -1), ValueError, "Invalid learning rate: -1"),
        (lambda: optim.SGD([LEAF], float("nan")), ValueError, "Invalid learning rate: nan"),
        (lambda: optim.SGD([LEAF], momentum=-1), ValueError, "Invalid momentum value: -1"),
        (lambda: optim.SGD([LEAF], weight_decay=-1), ValueError, "Invalid weight_decay value: -1"),
        (lambda: optim.SGD([LEAF], nesterov=True), ValueError, "Nesterov momentum requires"),
        (lambda: optim.SGD([LEAF], momentum=1, dampening=1, nesterov=True), ValueError, "Nesterov"),
        (lambda: optim.Adam([LEAF], betas=(1.0, 0.9)), ValueError, "beta parameter at index 0: 1.0"),
        (lambda: optim.AdamW([LEAF], betas=(0.9, -1)), ValueError, "beta parameter at index 1: -1"),
        (lambda: optim.Adam([LEAF], eps=-1), ValueError, "Invalid epsilon value: -1"),
        (lambda: optim.RMSprop([LEAF], alpha=-1), ValueError, "Invalid alpha value: -1"),
        (lambda: optim.Adadelta([LEAF], rho=1.1), ValueError, "Invalid rho value: 1.1"),
        (lambda: optim.Adagrad([LEAF], lr_decay=-1), ValueError, "Invalid lr_decay value: -1"),
    ],
)
def test_bad_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_duplicates_within_a_group_warn():
    with pytest.warns(UserWarning, match="duplicate parameters"):
        optim.SGD([LEAF, LEAF])


def test_an_optimizer_without_update():
    p = tg.zeros(1, requires_grad=True)
    p.grad = tg.zeros(1)
    with pytest.raises(NotImplementedError, match="_update"):
        optim.Optimizer([p], {}).step()


@pytest.mark.parametrize("grad", [tg.zeros(3), tg.zeros(2, dtype=tg.float64)])
@pytest.mark.parametrize(("named", "name"), [(True, "'w'"), (False, "0 of its group")])
def test_a_gradient_that_does_not_fit_names_the_parameter(grad, named, name):
    p = tg.zeros(2, requires_grad=True)
    p.grad = grad
    with pytest.raises(RuntimeError, match=f"gradient of parameter {name} does not fit"):
        optim.SGD([("w", p)] if named else [p]).step()


@pytest.mark.parametrize(
    ("groups", "state", "message"),
    [
        ([], {}, "different number of parameter groups: 0, this optimizer has 1"),
        ([{"params": [0, 1]}], {}, "group 0 has 2 parameters there and 1 here"),
        ([{"params": [0]}], {0: {"exp_avg": tg.zeros(3)}}, r"exp_avg of shape \(3,\) for parameter 'w', whose shape"),
    ],
)
def test_a_state_dict_that_does_not_fit(groups, state, message):
    optimizer = optim.Adam([("w", tg.zeros(2))])
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict({"state": state, "param_groups": groups})
    assert not optimizer.state


class Net(nn.Module):
    """conv, pool, linear."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.fc = nn.Linear(4 * 5 * 5, 10)

    def forward(self, x):
        return self.fc(F.max_pool2d(F.relu(self.conv(x)), 2).flatten(1))


class TorchNet(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 4, 3)
        self.fc = torch.nn.Linear(4 * 5 * 5, 10)

    def forward(self, x):
        pooled = torch.nn.functional.max_pool2d(torch.relu(self.conv(x)), 2)
        return self.fc(pooled.flatten(1))


@pytest.mark.parametrize(("name", "o"), PLAIN)
def test_a_cnn_has_pytorch_s_losses_for_50_steps(name, o, rng, device):
    torch.manual_seed(0)
    theirs, ours = TorchNet(), Net().to(device)
    ours.load_state_dict({k: tg.tensor(v.numpy(force=True)) for k, v in theirs.state_dict().items()})
    mine, other = getattr(optim, name)(ours.parameters(), **o), getattr(torch.optim, name)(theirs.parameters(), **o)
    images = rng.standard_normal((64, 1, 12, 12)).astype(np.float32)
    labels = rng.integers(0, 10, 64)
    for step in range(50):
        rows = np.random.default_rng(step).permutation(64)[:16]
        loss = F.cross_entropy(ours(tg.tensor(images[rows], device=device)), tg.tensor(labels[rows], device=device))
        expected = torch.nn.functional.cross_entropy(theirs(torch.tensor(images[rows])), torch.tensor(labels[rows]))
        assert abs(loss.item() - expected.item()) <= 1e-4, f"step {step}"
        for opt, value in ((mine, loss), (other, expected)):
            opt.zero_grad()
            value.backward()
            opt.step()
    assert loss.item() < 2.2  # it learned something
