"""Generators: seeds, states, and what is drawn."""

import numpy as np
import pytest

import tinygrad_mnist as tg

pytestmark = pytest.mark.usefixtures("default_device")


def test_the_same_seed_gives_the_same_numbers():
    def draw(g):
        return [
            tg.rand(2, 3, generator=g),
            tg.randn(4, generator=g, dtype=tg.float64),
            tg.randint(10, (5,), generator=g),
            tg.randint(-3, 4, (5,), generator=g),
            tg.randperm(6, generator=g),
            tg.normal(1.0, 2.0, (3,), generator=g),
            tg.bernoulli(tg.full((9,), 0.5), generator=g),
            tg.multinomial(tg.ones(5), 3, generator=g),
        ]

    for a, b in zip(draw(tg.Generator().manual_seed(3)), draw(tg.Generator().manual_seed(3)), strict=True):
        assert tg.equal(a, b)
    assert not tg.equal(draw(tg.Generator().manual_seed(4))[0], draw(tg.Generator().manual_seed(3))[0])


def test_the_default_generator():
    assert tg.manual_seed(5) is tg.default_generator
    assert tg.initial_seed() == 5
    state = tg.get_rng_state()
    first = tg.rand(3)
    tg.set_rng_state(state)
    assert tg.equal(tg.rand(3), first)
    tg.cuda.manual_seed_all(5)
    assert tg.equal(tg.rand(3), first)
    assert tg.seed() == tg.initial_seed() != 5


def test_state():
    g = tg.Generator().manual_seed(7)
    g.normal(3, np.float32)
    state = g.get_state()
    assert state.dtype == tg.uint8
    assert g.take(3) == (7, 0)
    state = g.get_state()
    expected = g.uniform(4)
    other = tg.Generator()
    other.set_state(state.numpy(force=True))
    assert other.initial_seed() == 7
    assert other.take(1) == g.take(1) == (7, 3)
    assert other.manual_seed(7).take(1) == (7, 0)
    other.set_state(state)
    assert (other.uniform(4) == expected).all()
    for bad in (np.zeros(5, np.uint8), np.frombuffer(b'{"seed": 1}', np.uint8), np.frombuffer(b"[]", np.uint8)):
        with pytest.raises(ValueError, match="not a generator state"):
            other.set_state(bad)


def test_seeds():
    assert tg.Generator().initial_seed() == tg.Generator("cpu").initial_seed()
    assert tg.Generator().manual_seed(-1).initial_seed() == 2**64 - 1
    with pytest.raises(ValueError, match="at most 64 bits"):
        tg.manual_seed(2**64)
    assert repr(tg.Generator().device) == "device(type='cpu')"


def test_arrays_of_a_generator():
    g = tg.Generator().manual_seed(0)
    assert g.uniform(()).shape == ()
    assert g.normal((2,), np.float16).dtype == np.float16
    drawn = g.uniform((1000,), np.float32)
    assert drawn.dtype == np.float32
    assert (drawn * 2**24 % 1 == 0).all()  # not rounded from float64, which could give 1
    assert sorted(g.permutation(5)) == [0, 1, 2, 3, 4]
    assert set(g.choice(3, 100, p=np.array([0.5, 0.5, 0]))) == {0, 1}
    assert set(g.integers(2, 100, 4)) == {2, 3}


def test_distributions():
    g = tg.Generator().manual_seed(0)
    n = 100_000
    tolerance = 5 / n**0.5  # five standard errors of numbers of standard deviation 1
    u, z = tg.rand(n, generator=g), tg.randn(n, generator=g)
    assert abs(u.mean().item() - 0.5) < tolerance * 0.29
    assert (u.min() >= 0)
    assert (u.max() < 1)
    assert abs(z.mean().item()) < tolerance
    assert abs(z.std().item() - 1) < tolerance
    assert abs(tg.bernoulli(tg.full((n,), 0.3), generator=g).mean().item() - 0.3) < tolerance * 0.46
    counts = tg.randint(4, (n,), generator=g).bincount(minlength=4) / n
    assert (counts - 0.25).abs().max() < tolerance * 0.44
    picked = tg.multinomial(tg.tensor([1.0, 0.0, 3.0]), n, True, generator=g).bincount(3) / n
    assert abs(np.mean([g.beta(2.0, 6.0) for _ in range(10_000)]) - 0.25) < 0.05 * 0.145  # its standard deviation
    assert picked[1] == 0
    assert abs(picked[2].item() - 0.75) < tolerance * 0.44


def test_shapes_and_types():
    x = tg.ones(2, 3, dtype=tg.float64)
    assert (tg.rand_like(x).shape, tg.rand_like(x).dtype) == ((2, 3), tg.float64)
    assert tg.randn_like(x, dtype=tg.float32).dtype == tg.float32
    assert tg.randint_like(x, 5).dtype == tg.float64
    assert set(tg.randint_like(x, 5, 6).flatten().tolist()) == {5.0}
    assert tg.rand(()).shape == tg.randn(()).shape == ()
    assert tg.randn(2, requires_grad=True).requires_grad
    assert tg.randint(3, (2,)).dtype == tg.randperm(3).dtype == tg.int64
    assert tg.randperm(3, dtype=tg.int32).dtype == tg.int32
    assert tg.normal(tg.zeros(3), 0.0).tolist() == [0.0] * 3
    assert tg.normal(2.0, tg.zeros(2, 1)).tolist() == [[2.0], [2.0]]
    assert tg.normal(tg.zeros(3), tg.ones(2, 1)).shape == (2, 3)


def test_multinomial_rows():
    drawn = tg.multinomial(tg.tensor([[0.0, 1.0], [1.0, 0.0]]), 1)
    assert drawn.tolist() == [[1], [0]]
    assert sorted(tg.multinomial(tg.ones(4), 4).tolist()) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: tg.rand(2, dtype=tg.int64), NotImplementedError, "expected a floating dtype, got int64; use randint"),
        (lambda: tg.randint(3, 3, (2,)), RuntimeError, "low < high, got 3 and 3"),
        (lambda: tg.bernoulli(tg.tensor([2.0])), RuntimeError, r"probabilities in \[0, 1\]"),
        (lambda: tg.bernoulli(tg.tensor([float("nan")])), RuntimeError, r"probabilities in \[0, 1\]"),
        (lambda: tg.multinomial(tg.ones(3), 5), RuntimeError, "cannot draw 5 samples without replacement"),
        (lambda: tg.multinomial(tg.zeros(3), 1, True), RuntimeError, "positive sum"),
        (lambda: tg.multinomial(tg.tensor([-1.0, 2.0]), 1), RuntimeError, "at least 0"),
        (lambda: tg.multinomial(tg.ones(1, 1, 1), 1), RuntimeError, r"\(n,\) or \(m, n\), got \(1, 1, 1\)"),
    ],
)
def test_errors(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
