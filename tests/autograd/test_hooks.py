"""Hooks on tensors, and retain_grad."""

import gc
import weakref

import pytest

import tinygrad_mnist as tg
from tinygrad_mnist import autograd

pytestmark = pytest.mark.usefixtures("default_device")


def leaf(*values):
    return tg.tensor(values, requires_grad=True)


def test_hook_on_a_leaf_sees_the_whole_gradient_once():
    x, seen = leaf(2.0), []
    x.register_hook(lambda g: seen.append(g.item()))
    (x * x + x).backward()
    assert seen == [5.0]


def test_hooks_replace_gradients_in_order():
    x = leaf(1.0)
    h = x * 3
    h.register_hook(lambda g: g * 10)
    h.register_hook(lambda g: g + 1)
    (h * 2).backward()
    assert x.grad.tolist() == [63.0]


def test_hook_is_removed():
    x = leaf(1.0)
    handle = x.register_hook(lambda g: g * 100)
    handle.remove()
    handle.remove()
    with x.register_hook(lambda g: g * 10):
        (x * 2).backward()
    (x * 2).backward()
    assert x.grad.tolist() == [22.0]


def test_what_a_hook_keeps_or_gives_is_not_the_grad():
    x, kept, given = leaf(1.0), [], tg.tensor([7.0])
    x.register_hook(kept.append)
    (x * 2).backward()
    (x * 2).backward()
    assert [g.item() for g in kept] == [2.0, 2.0]
    z = leaf(1.0)
    z.register_hook(lambda g: given)
    (z * 2).backward()
    (z * 2).backward()
    assert (given.item(), z.grad.item()) == (7.0, 14.0)


def test_hook_that_changes_the_shape():
    x = leaf(1.0, 2.0)

    def bad_hook(g):
        return g[0]

    x.register_hook(bad_hook)
    with pytest.raises(RuntimeError, match=r"hook bad_hook has changed the shape of a gradient from \(2,\) to \(\)"):
        x.sum().backward()


def test_hook_stays_with_the_content_when_changed_in_place():
    x, seen = leaf(1.0), []
    h = x * 2
    h.register_hook(lambda g: seen.append(g.item()))
    h *= 10
    h.backward()
    assert seen == [10.0]


def test_hooks_are_differentiable_with_create_graph():
    x = leaf(3.0)
    x.register_hook(lambda g: g * g)
    (g,) = autograd.grad(x * x, x, create_graph=True)
    assert g.item() == 36.0
    assert autograd.grad(g, x)[0].item() == 24.0**2  # d(4x²)/dx, squared by the hook again


def test_no_hook_without_gradient():
    with pytest.raises(RuntimeError, match="cannot register a hook on a tensor that doesn't require gradient"):
        tg.ones(1).register_hook(print)
    with pytest.raises(RuntimeError, match="can't retain_grad"):
        tg.ones(1).retain_grad()


def test_retain_grad():
    x = leaf(2.0)
    x.retain_grad()
    h = x * x
    assert not h.retains_grad
    h.retain_grad()
    h.retain_grad()
    assert h.retains_grad
    (h * 3).backward(retain_graph=True)
    assert h.grad.tolist() == [3.0]
    (h * 3).backward()
    assert h.grad.tolist() == [6.0]
    assert h.is_leaf is False


def test_retained_grad_shares_no_memory_and_counts_hooks():
    x = leaf(2.0)
    h = x + 0
    h.retain_grad()
    h.register_hook(lambda g: g * 5)
    h.backward()
    h.grad.zero_()
    assert x.grad.tolist() == [5.0]


def test_retain_grad_follows_an_in_place_change():
    x = leaf(2.0)
    h = x * x
    h.retain_grad()
    h *= 2
    (h * 3).backward()
    assert h.grad.tolist() == [3.0]


def test_retain_grad_makes_no_reference_cycle():
    gc.collect()
    gc.disable()
    try:
        h = leaf(2.0) * 3
        h.retain_grad()
        ref = weakref.ref(h)
        del h
        assert ref() is None
    finally:
        gc.enable()


def test_retain_grad_of_a_dropped_tensor():
    x = leaf(2.0)
    h = x * x
    h.retain_grad()
    y = h * 3
    del h
    y.backward()
    assert x.grad.tolist() == [12.0]
