"""backward and grad: what is accumulated, what is computed, what is freed."""

import gc
import weakref

import numpy as np
import pytest
import torch

import tinygrad_mnist as tg
from tinygrad_mnist import autograd, nn
from tinygrad_mnist.autograd import record

pytestmark = pytest.mark.usefixtures("default_device")


def leaf(*values):
    return tg.tensor(values, dtype=tg.float64, requires_grad=True)


def counting(x, calls):
    """x, and a note in `calls` whenever its gradient function runs."""

    def gradient(g):
        calls.append(1)
        return g

    return record("CountBackward0", x.array.copy(), (x,), [gradient])


def test_accumulates_over_uses_and_over_calls():
    x = leaf(2.0, 3.0)
    (x * x + x).sum().backward()
    assert x.grad.tolist() == [5.0, 7.0]
    (x * 10).sum().backward()
    assert x.grad.tolist() == [15.0, 17.0]


def test_diamond_visits_each_node_once():
    x, calls = leaf(1.0), []
    y = counting(x, calls)
    (y * 2 + y * 3 + y).backward()
    assert x.grad.tolist() == [6.0]
    assert len(calls) == 1


def test_gradient_argument():
    x = leaf(1.0, 2.0)
    y = x * 3
    with pytest.raises(RuntimeError, match=r"only for scalar outputs, got shape \(2,\)"):
        y.backward()
    with pytest.raises(RuntimeError, match=r"shape \(3,\), expected that of the output, \(2,\)"):
        y.backward(tg.ones(3))
    y.backward(tg.tensor([1, 10]))  # an integer gradient is converted
    assert x.grad.tolist() == [3.0, 30.0]
    assert x.grad.dtype == tg.float64


def test_nothing_to_differentiate():
    with pytest.raises(RuntimeError, match="element 0 of tensors does not require grad and does not have a grad_fn"):
        tg.ones(1).backward()
    with pytest.raises(RuntimeError, match="element 1 of tensors"):
        autograd.backward([leaf(1.0), tg.ones(1)])


def test_backward_of_several_tensors_and_of_a_leaf():
    x = leaf(1.0, 2.0)
    autograd.backward([(x * x).sum(), x], [None, tg.tensor([10.0, 20.0])])
    assert x.grad.tolist() == [12.0, 24.0]


def test_second_backward_through_a_freed_graph():
    x = leaf(2.0)
    y = x * x
    y.backward()
    with pytest.raises(RuntimeError, match=r"second time \(MulBackward0\).*retain_graph=True"):
        y.backward()
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [12.0]


def test_backward_only_into_inputs():
    x, z = leaf(2.0), leaf(5.0)
    y = x * z
    (y * y).backward(inputs=[x, y])
    assert x.grad.tolist() == [100.0]
    assert y.grad.tolist() == [20.0]
    assert z.grad is None
    autograd.backward([x * x, z], inputs=[x])
    assert x.grad.tolist() == [104.0]
    assert z.grad is None


@pytest.mark.parametrize("create_graph", [False, True])
def test_grads_share_no_memory(create_graph):
    x, z = leaf(1.0, 2.0), leaf(3.0, 4.0)
    seed = tg.tensor([5.0, 6.0], dtype=tg.float64)
    (x + z).backward(seed, create_graph=create_graph)
    arrays = [seed.array, x.grad.array, z.grad.array]
    assert not any(x.xp.shares_memory(a, b) for i, a in enumerate(arrays) for b in arrays[:i])
    x.reshape(1, 2).backward(seed.reshape(1, 2), create_graph=create_graph)
    assert seed.tolist() == [5.0, 6.0]
    assert x.grad.tolist() == [10.0, 12.0]


class Doubled(tg.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, g):
        return 2 * g


@pytest.mark.parametrize(
    "make",
    [lambda: nn.Sequential(nn.Linear(3, 3), nn.ReLU()), lambda: nn.BatchNorm1d(3), lambda: Doubled.apply],
    ids=["linear", "norm", "own"],
)
@pytest.mark.parametrize("create_graph", [False, True])
def test_one_gradient_given_several_times(make, create_graph):
    """Ops that compute several gradients together must not take a later walk, or a changed g, for the same one."""
    f, x = make(), tg.randn(4, 3, generator=tg.Generator().manual_seed(0)).requires_grad_()
    leaves = [x, *f.parameters()] if isinstance(f, nn.Module) else [x]
    y, g = f(x), tg.ones(4, 3)
    once = [np.array(dx.tolist()) for dx in autograd.grad(y, leaves, tg.ones(4, 3), retain_graph=True)]
    for _ in range(3):
        y.backward(g, retain_graph=True, create_graph=create_graph)
    for v, dx in zip(leaves, once, strict=True):
        np.testing.assert_allclose(v.grad.tolist(), 3 * dx, rtol=1e-5, atol=1e-6)
    g.mul_(2)  # as who computes a Jacobian row by row does
    for changed, dx in zip(autograd.grad(y, leaves, g, create_graph=create_graph), once, strict=True):
        np.testing.assert_allclose(changed.tolist(), 2 * dx, rtol=1e-5, atol=1e-6)


def test_a_view_of_a_gradient_is_not_stored():
    x = leaf(1.0, 2.0)
    x.reshape(2, 1).sum().backward()
    assert x.grad.array.base is None


@pytest.mark.parametrize("others", [0, 1])
def test_a_view_that_alone_shows_its_memory_is_stored_as_it_is(others):
    """Such gradients come from kernels that order memory as they like: copying them costs as much as the kernel."""
    x = tg.zeros(2, 3, requires_grad=True)
    made, kept = [], []

    def gradient(g):
        array = x.xp.ones((3, 2), x.dtype)
        made.append(id(array))
        kept.extend([array] * others)
        return g.like(array.T)

    record("TurnBackward0", x.array.copy(), (x,), [gradient]).backward(tg.ones(2, 3))
    assert (id(x.grad.array.base) == made[0]) is not bool(others)
    x.grad += 1
    assert all((array == 1).all() for array in kept)
    assert (x.grad.array == 2).all()


def test_grad_function():
    x, z = leaf(2.0), leaf(3.0)
    y = x * x * z
    gx, gz = autograd.grad(y, [x, z])
    assert (gx.item(), gz.item()) == (12.0, 4.0)
    assert x.grad is None
    assert gx.grad_fn is None


def test_grad_at_a_non_leaf():
    x = leaf(2.0)
    h = x * x
    (gh,) = autograd.grad((h * 3).sum(), h)
    assert gh.tolist() == [3.0]


def test_grad_stops_at_a_non_leaf_whose_own_graph_is_freed():
    x = leaf(2.0)
    h = x * x
    h.backward()
    (gh,) = autograd.grad(h * 5, h)
    assert gh.tolist() == [5.0]


def test_grad_of_unused_inputs():
    x, z = leaf(2.0), leaf(3.0)
    y = x * x
    with pytest.raises(RuntimeError, match="was not used in computing the outputs; pass allow_unused=True"):
        autograd.grad(y, [x, z], retain_graph=True)
    assert autograd.grad(y, [x, z], retain_graph=True, allow_unused=True)[1] is None
    assert autograd.grad(y, [x, z], materialize_grads=True)[1].tolist() == [0.0]
    with pytest.raises(RuntimeError, match="does not require grad"):
        autograd.grad(x * 2, tg.ones(1))


def test_gradients_that_nobody_needs_are_not_computed():
    x, z, calls = leaf(2.0), leaf(3.0), []
    y = counting(z, calls) * x
    autograd.grad(y, x, retain_graph=True)
    assert calls == []
    autograd.grad(y, z)
    assert calls == [1]
    frozen = tg.ones(1)
    y = counting(frozen, calls) * x
    y.backward()
    assert calls == [1]


def test_a_root_that_does_not_lead_to_the_input_is_left_alone():
    x, z, calls = leaf(2.0), leaf(3.0), []
    (g,) = autograd.grad([x * x, counting(z, calls)], x)
    assert g.tolist() == [4.0]
    assert calls == []


def test_higher_derivatives_of_a_power():
    x = leaf(2.0)
    y = x * x * x * x
    derivatives = []
    for _ in range(4):
        (y,) = autograd.grad(y, x, create_graph=True)
        derivatives.append(y.item())
    assert derivatives == [32.0, 48.0, 48.0, 24.0]


def test_create_graph_accumulates_differentiably():
    x = leaf(3.0)
    (x * x * x).backward(create_graph=True)
    (x * x).backward(create_graph=True)
    assert x.grad.tolist() == [33.0]
    (second,) = autograd.grad(x.grad, x)
    assert second.tolist() == [20.0]


def test_derivatives_against_torch(rng):
    value = rng.normal(size=(3, 4))

    def run(lib, x):
        y = (lib.exp(x) * x[1:2] - (x @ x.T).sum(1, keepdim=True) / 2).tanh()
        (g,) = lib.autograd.grad(y.sum(), x, create_graph=True)
        (h,) = lib.autograd.grad((g * g).sum(), x, create_graph=True)
        (t,) = lib.autograd.grad((h * x).sum(), x)
        return [v.numpy(force=True) for v in (y, g, h, t)]

    ours = run(tg, tg.tensor(value, requires_grad=True))
    theirs = run(torch, torch.tensor(value, requires_grad=True))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("device", ["cpu"], indirect=True)  # the walk knows no device; this takes time
def test_a_chain_of_100000_ops_needs_no_recursion():
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = y + 1
    y.backward(retain_graph=True)
    assert x.grad.tolist() == [1.0]
    (g,) = autograd.grad(y, x, retain_graph=True)
    assert g.tolist() == [1.0]
    del y


def test_the_graph_is_freed_as_backward_walks():
    x = leaf(1.0, 2.0)
    h = x * x
    y = (h * h).sum()
    content = weakref.ref(h.array)
    del h
    gc.collect()
    assert content() is not None
    died = []
    x.register_hook(lambda g: died.append(content() is None))
    y.backward()
    assert died == [True]  # before backward was over, although y still holds its node


def test_a_step_leaves_no_reference_cycles():
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    gc.collect()
    gc.disable()
    try:
        h = (x * w).exp() * x
        h += w
        y = (h[0] * h.sum()).tanh()
        refs = [weakref.ref(v) for v in (h, y)] + [weakref.ref(h.array)]
        y.backward()
        del h, y
        assert [r() for r in refs] == [None, None, None]
    finally:
        gc.enable()


def test_dropping_a_graph_without_backward_frees_it():
    x = leaf(1.0, 2.0)
    gc.collect()
    gc.disable()
    try:
        y = (x * x).exp().sum()
        node = y.grad_fn
        ref = weakref.ref(y)
        del y, node
        assert ref() is None
    finally:
        gc.enable()


def test_grad_fn_names_its_inputs():
    x = leaf(1.0)
    y = x.exp() * x
    assert repr(y.grad_fn) == "<MulBackward0>"
    (first, _), (second, _) = y.grad_fn.next_functions
    assert repr(first) == "<ExpBackward0>"
    assert second is x
    y.backward()
    assert y.grad_fn.next_functions == ()
