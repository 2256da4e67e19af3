"""The optimizer steps against numbers worked by hand, a loop over single elements, and PyTorch."""

import itertools
import math

import numpy as np
import pytest
import torch

from tinygrad_mnist import kernels

SHAPES = [(3, 4), (5,), (), (0, 2), (2, 3, 2, 3)]
STATES = {
    "sgd": lambda o: ["momentum_buffer"] if o["momentum"] else [],
    "adam": lambda o: ["exp_avg", "exp_avg_sq"] + ["max_exp_avg_sq"] * o["amsgrad"],
    "rmsprop": lambda o: ["square_avg"] + ["grad_avg"] * o["centered"] + ["momentum_buffer"] * bool(o["momentum"]),
    "adadelta": lambda o: ["square_avg", "acc_delta"],
    "adagrad": lambda o: ["sum"],
}
"""What PyTorch calls the arrays of state, in the order of our arguments, for each kernel and options."""


def options(**choices: tuple) -> list[dict]:
    """Every combination of the choices."""
    return [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]


CASES = [
    *[("sgd", o) for o in options(lr=(0.1,), momentum=(0.0, 0.9), dampening=(0.0, 0.3), weight_decay=(0.0, 0.1),
                                  nesterov=(False, True), maximize=(False, True))
      if not o["nesterov"] or (o["momentum"] and not o["dampening"])],
    *[("adam", o) for o in options(lr=(0.1,), beta1=(0.8,), beta2=(0.95,), eps=(1e-3,), weight_decay=(0.0, 0.1),
                                   decoupled=(False, True), amsgrad=(False, True), maximize=(False, True))],
    *[("rmsprop", o) for o in options(lr=(0.1,), alpha=(0.9,), eps=(1e-3,), weight_decay=(0.0, 0.1),
                                      momentum=(0.0, 0.9), centered=(False, True), maximize=(False, True))],
    *[("adadelta", o) for o in options(lr=(0.5,), rho=(0.9,), eps=(1e-3,), weight_decay=(0.0, 0.1),
                                       maximize=(False, True))],
    *[("adagrad", o) for o in options(lr=(0.1,), lr_decay=(0.0, 0.2), weight_decay=(0.0, 0.1), eps=(1e-3,),
                                      maximize=(False, True))],
]  # fmt: skip


def split_state(name: str, o: dict, state: list) -> list[list]:
    """The state as the kernel's arguments: an empty list for what these options have no use for."""
    match name:
        case "sgd":
            return state or [[]]
        case "adam":
            return state if o["amsgrad"] else [*state, []]
        case "rmsprop":
            parts = iter(state)
            return [next(parts), next(parts) if o["centered"] else [], next(parts) if o["momentum"] else []]
    return state


def run(name: str, o: dict, params: list, gradients: list[list], layout=np.array) -> tuple[list, list[list]]:
    """The parameters and the state after one call of the kernel per entry of `gradients`."""
    params = [layout(p) for p in params]
    state = [[layout(np.zeros_like(p)) for p in params] for _ in STATES[name](o)]
    for t, grads in enumerate(gradients, 1):
        o_t = dict(o)
        if name in ("adam", "adagrad"):
            o_t = {"steps": [t] * len(params), **o}
        if name == "sgd" and t == 1:
            o_t["dampening"] = 0.0  # the first gradient enters the buffer whole
        getattr(kernels, name)(params, [layout(g) for g in grads], *split_state(name, o, state), **o_t)
    return params, state


def sgd_one(p, g, t, s, o):
    if o["momentum"]:
        s["b"] = g if t == 1 else o["momentum"] * s["b"] + (1 - o["dampening"]) * g
        g = g + o["momentum"] * s["b"] if o["nesterov"] else s["b"]
    return p - o["lr"] * g


def adam_one(p, g, t, s, o):
    s["m"] = o["beta1"] * s.get("m", 0) + (1 - o["beta1"]) * g
    s["v"] = o["beta2"] * s.get("v", 0) + (1 - o["beta2"]) * g**2
    s["max"] = max(s.get("max", 0), s["v"])
    v = s["max"] if o["amsgrad"] else s["v"]
    mean, variance = s["m"] / (1 - o["beta1"] ** t), v / (1 - o["beta2"] ** t)
    return p - o["lr"] * mean / (math.sqrt(variance) + o["eps"])


def rmsprop_one(p, g, t, s, o):
    s["v"] = o["alpha"] * s.get("v", 0) + (1 - o["alpha"]) * g**2
    s["a"] = o["alpha"] * s.get("a", 0) + (1 - o["alpha"]) * g
    variance = s["v"] - s["a"] ** 2 if o["centered"] else s["v"]
    d = g / (math.sqrt(variance) + o["eps"])
    s["b"] = o["momentum"] * s.get("b", 0) + d
    return p - o["lr"] * s["b"]


def adadelta_one(p, g, t, s, o):
    s["v"] = o["rho"] * s.get("v", 0) + (1 - o["rho"]) * g**2
    d = g * math.sqrt((s.get("u", 0) + o["eps"]) / (s["v"] + o["eps"]))
    s["u"] = o["rho"] * s.get("u", 0) + (1 - o["rho"]) * d**2
    return p - o["lr"] * d


def adagrad_one(p, g, t, s, o):
    s["s"] = s.get("s", 0) + g**2
    return p - o["lr"] / (1 + (t - 1) * o["lr_decay"]) * g / (math.sqrt(s["s"]) + o["eps"])


ONE = {"sgd": sgd_one, "adam": adam_one, "rmsprop": rmsprop_one, "adadelta": adadelta_one, "adagrad": adagrad_one}


def slow(name: str, o: dict, params: list, gradients: list[list]) -> list:
    """The same as `run`, one Python number at a time."""
    results = []
    for i, p in enumerate(params):
        result = np.empty_like(p)
        for at in np.ndindex(p.shape):
            value, memory = float(p[at]), {}
            for t, grads in enumerate(gradients, 1):
                g = float(grads[i][at]) * (-1 if o["maximize"] else 1)
                if o.get("decoupled"):
                    value -= o["lr"] * o["weight_decay"] * value
                else:
                    g += o["weight_decay"] * value
                value = ONE[name](value, g, t, memory, o)
            result[at] = value
        results.append(result)
    return results


def in_torch(name: str, o: dict, params: list, gradients: list[list]) -> tuple[list, list[list]]:
    """The same as `run`, by torch.optim."""
    o = dict(o)
    if name == "adam":
        o["betas"] = o.pop("beta1"), o.pop("beta2")
        o["decoupled_weight_decay"] = o.pop("decoupled")
    names = {"sgd": "SGD", "adam": "Adam", "rmsprop": "RMSprop", "adadelta": "Adadelta", "adagrad": "Adagrad"}
    leaves = [torch.tensor(p, requires_grad=True) for p in params]
    optimizer = getattr(torch.optim, names[name])(leaves, **o)
    for grads in gradients:
        for leaf, g in zip(leaves, grads, strict=True):
            leaf.grad = torch.tensor(g)
        optimizer.step()
    state = [
        [optimizer.state[leaf][key].numpy() for leaf in leaves]
        for key in STATES[name]({**o, "momentum": o.get("momentum"), "amsgrad": o.get("amsgrad")})
    ]
    return [leaf.detach().numpy() for leaf in leaves], state


def draw(rng: np.random.Generator, dtype: type, steps: int = 4) -> tuple[list, list[list]]:
    """Parameters of all SHAPES, and gradients for each step."""

    def values() -> list:
        return [np.asarray(rng.standard_normal(s), dtype) for s in SHAPES]

    return values(), [values() for _ in range(steps)]


def assert_close(ours: list, theirs: list, tolerance: float) -> None:
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        assert bool((abs(a - b) <= tolerance * (1 + abs(b))).all())


def transposed(a: np.ndarray) -> np.ndarray:
    """A copy of `a` whose first axis moves fastest in memory."""
    return np.array(a.T).T


def strided(a: np.ndarray) -> np.ndarray:
    """A copy of `a` with gaps between the elements of its last axis."""
    return np.repeat(a, 2, axis=-1)[..., ::2] if a.ndim else np.array(a)


@pytest.mark.parametrize(("name", "o"), CASES)
def test_equals_a_loop_over_elements(name, o, rng):
    params, gradients = draw(rng, np.float64)
    assert_close(run(name, o, params, gradients)[0], slow(name, o, params, gradients), 1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 3e-6)])
@pytest.mark.parametrize(("name", "o"), CASES)
def test_equals_pytorch(name, o, dtype, tolerance, path, rng):
    params, gradients = draw(rng, dtype)
    ours, our_state = run(name, o, params, gradients)
    theirs, their_state = in_torch(name, o, params, gradients)
    assert_close(ours, theirs, tolerance)
    assert len(our_state) == len(their_state)
    for a, b in zip(our_state, their_state, strict=True):
        assert_close(a, b, tolerance)


@pytest.mark.parametrize(("layout", "threads"), [(transposed, 2), (strided, 3)], indirect=["threads"])
@pytest.mark.parametrize(("name", "o"), CASES)
def test_memory_layout_block_size_and_threads_change_nothing(name, o, layout, path, rng, threads, monkeypatch):
    params, gradients = draw(rng, np.float32)
    plain, plain_state = run(name, o, params, gradients)
    monkeypatch.setattr(kernels.optim, "BLOCK", 5)
    monkeypatch.setattr(kernels.optim, "SMALL", 1)
    other, other_state = run(name, o, params, gradients, layout)
    assert_close(plain, other, 0)
    for a, b in zip(plain_state, other_state, strict=True):
        assert_close(a, b, 0)


@pytest.mark.parametrize("gradient", [transposed, strided])
@pytest.mark.parametrize(("name", "o"), CASES)
def test_gradients_may_lie_otherwise_than_the_parameters(name, o, gradient, path, rng):
    params, gradients = draw(rng, np.float32)
    plain, _ = run(name, o, params, gradients)
    other, _ = run(name, o, params, [[gradient(g) for g in grads] for grads in gradients], lambda a: a)
    assert_close(plain, other, 0)


@pytest.mark.parametrize(("name", "o"), CASES)
def test_a_parameter_that_may_not_be_written_is_refused(name, o, path, rng):
    def frozen(a):
        a = np.array(a)
        a.flags.writeable = False
        return a

    params, gradients = draw(rng, np.float32, steps=1)
    with pytest.raises(ValueError, match="read-only"):
        run(name, o, params, gradients, frozen)


@pytest.mark.parametrize(("name", "o"), CASES)
def test_leaves_gradients_as_they_were(name, o, rng):
    params, gradients = draw(rng, np.float64, steps=1)
    before = [g.copy() for g in gradients[0]]
    run(name, o, params, gradients, layout=lambda a: a)
    assert_close(gradients[0], before, 0)


@pytest.mark.parametrize(
    ("name", "o", "expected"),
    [
        # b = 1/2, p = 1 - 1/10 · 1/2; b = 9/10 · 1/2 + 1/2, p = 0.95 - 1/10 · 0.95
        ("sgd", {"momentum": 0.9, "dampening": 0.0, "nesterov": False}, [0.95, 0.855]),
        # b = 1/2, p = 1 - 1/10 (1/2 + 0.45); b = 0.95, p = 0.905 - 1/10 (1/2 + 0.855)
        ("sgd", {"momentum": 0.9, "dampening": 0.0, "nesterov": True}, [0.905, 0.7695]),
        # A constant gradient makes every step of Adam lr long, whatever the betas.
        ("adam", {"beta1": 0.9, "beta2": 0.99, "eps": 0.0, "decoupled": False, "amsgrad": False}, [0.9, 0.8]),
        # v = 1/4 · 1/4 = 1/16, d = 2; v = 3/64 + 1/16 = 7/64, d = 4 / sqrt(7)
        ("rmsprop", {"alpha": 0.75, "eps": 0.0, "momentum": 0.0, "centered": False}, [0.8, 0.8 - 0.4 / 7**0.5]),
        # v = 1/16, d = 1/2 / sqrt(17/16) = 2 / sqrt(17)
        ("adadelta", {"rho": 0.75, "eps": 1.0}, [1 - 0.2 / 17**0.5]),
        # s = 1/4, d = 1; s = 1/2, d = sqrt(1/2)
        ("adagrad", {"lr_decay": 0.0, "eps": 0.0}, [0.9, 0.9 - 0.1 * 0.5**0.5]),
    ],
)
def test_worked_by_hand(name, o, expected):
    o = {"lr": 0.1, "weight_decay": 0.0, "maximize": False, **o}
    gradients = [[np.array([0.5])]] * len(expected)
    got = [run(name, o, [np.array([1.0])], gradients[: t + 1])[0][0][0] for t in range(len(expected))]
    assert got == pytest.approx(expected, rel=1e-14)


def test_different_steps_for_different_parameters():
    params = [np.ones(2), np.ones(2)]
    m, v = [np.zeros(2), np.zeros(2)], [np.zeros(2), np.zeros(2)]
    kernels.adam(params, [np.ones(2)] * 2, m, v, [], [1, 3], 0.1, 0.5, 0.5, 0.0, 0.0, False, False, False)
    # m = v = 1/2; corrected by 1/2 at step 1 and by 7/8 at step 3
    np.testing.assert_allclose(params[0], 1 - 0.1, rtol=1e-14)
    np.testing.assert_allclose(params[1], 1 - 0.1 * (4 / 7) / (4 / 7) ** 0.5, rtol=1e-14)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "o"), CASES)
def test_nan_and_infinity_pass_through(name, o, bad, dtype, path):
    with np.errstate(all="ignore"):
        params, _ = run(name, o, [np.ones(3, dtype)], [[np.array([0.0, bad, 0.0], dtype)]])
    assert list(np.isfinite(params[0])) == [True, False, True]


@pytest.mark.parametrize("o", [o for name, o in CASES if name == "sgd"])
def test_an_infinite_parameter_stays_infinite_without_decay(o, path):
    params, _ = run("sgd", {**o, "weight_decay": 0.0}, [np.full(2, np.inf, np.float32)], [[np.ones(2, np.float32)]])
    assert list(params[0]) == [np.inf, np.inf]


@pytest.mark.parametrize(("name", "o"), CASES)
def test_runs_of_one_step_give_the_same_bits(name, o, path, rng, threads, monkeypatch):
    monkeypatch.setattr(kernels.optim, "SMALL", 1)
    params, gradients = draw(rng, np.float32)
    first, again = (run(name, o, params, gradients)[0] for _ in range(2))
    assert_close(first, again, 0)


@pytest.mark.parametrize("name", ["sgd", "adam", "rmsprop", "adadelta", "adagrad"])
def test_lists_of_different_length_are_refused(name, rng):
    o = next(o for case, o in CASES if case == name)
    params, gradients = draw(rng, np.float64, steps=1)
    with pytest.raises(ValueError, match="zip"):
        run(name, o, params, [[*gradients[0], np.ones(1)]])
