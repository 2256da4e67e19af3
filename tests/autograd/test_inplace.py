"""Changing tensors in place while the tape records: allowed where the gradient stays right, an error where not."""

import numpy as np
import pytest
import torch

import tinygrad_mnist as tg

pytestmark = pytest.mark.usefixtures("default_device")

CASES = {
    "add": lambda x, y: x.add_(y, alpha=3),
    "mul": lambda x, y: x.mul_(y),
    "mul a copy": lambda x, y: x.mul_(x.clone()),
    "operator": lambda x, y: x.__itruediv__(y),
    "output needed": lambda x, y: x.exp_(),
    "input needed": lambda x, y: x.pow_(3),
    "relu": lambda x, y: x.relu_(),
    "clamp": lambda x, y: x.clamp_(0.6, 0.8),
    "addcmul": lambda x, y: x.addcmul_(x.clone(), y, value=0.5),
    "zero": lambda x, y: x.zero_(),
    "fill": lambda x, y: x.fill_(y[0, 0]),
    "copy": lambda x, y: x.copy_(y[0]),
    "row": lambda x, y: x.__setitem__(1, y[0]),
    "rows": lambda x, y: x.__setitem__([0, 2], y[:1] * 2),
    "mask": lambda x, y: x.__setitem__(x > 1, 0),
    "itself shifted": lambda x, y: x.__setitem__((slice(1, None), 0), x[:-1, 0].clone()),
}


@pytest.mark.parametrize("name", CASES)
def test_gradients_against_torch(name, rng):
    values = rng.uniform(0.5, 1.5, size=(2, 3, 4))

    def run(lib):
        a, b = (lib.tensor(v, requires_grad=True) for v in values)
        x = a * 2
        before = x.detach()
        CASES[name](x, b)
        assert before.numpy(force=True).tobytes() == x.numpy(force=True).tobytes()  # the same memory
        ga, gb = lib.autograd.grad((x * x).sum(), [a, b], create_graph=True, materialize_grads=True)
        if ga.requires_grad:
            (gg,) = lib.autograd.grad((ga * ga).sum(), b, allow_unused=True, materialize_grads=True)
        else:
            gg = ga
        return [v.numpy(force=True) for v in (x, ga, gb, gg)]

    for ours, theirs in zip(run(tg), run(torch), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


OWN_OPERAND = {
    "mul": (lambda x, y: x.mul_(x), lambda x, y: x * x),
    "addcmul": (lambda x, y: x.addcmul_(x, x), lambda x, y: x + x * x),
    "pow": (lambda x, y: x.pow_(x), lambda x, y: x**x),
    "two changes": (lambda x, y: x.mul_(x).exp_(), lambda x, y: (x * x).exp()),
    "keyword": (lambda x, y: x.addcmul_(x, tensor2=x), lambda x, y: x + x * x),
}


@pytest.mark.parametrize("name", OWN_OPERAND)
def test_a_tensor_may_be_an_operand_of_its_own_change(name):
    """PyTorch refuses the first of these in backward; here the gradient works on the old content."""
    found = []
    for change in OWN_OPERAND[name]:
        a, b = (tg.tensor(v, dtype=tg.float64, requires_grad=True) for v in ([1.0, 2.0], [3.0, 4.0]))
        x = change(a * 2, b)
        (g,) = tg.autograd.grad(x.sum(), a, create_graph=True)
        (h,) = tg.autograd.grad(g.sum(), a)
        found.append([v.tolist() for v in (x, g, h)])
    assert found[0] == found[1]


def test_a_leaf_that_requires_grad_refuses():
    x = tg.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad is being used in an in-place operation"):
        x += 1
    with pytest.raises(RuntimeError, match="a view of a leaf Variable that requires grad"):
        x[0].zero_()
    with pytest.raises(RuntimeError, match="a leaf Variable"):
        x[0] = 1
    with tg.no_grad():
        x += 1
        x[0] = 7
        x[1:].mul_(2)
    assert x.tolist() == [7.0, 4.0, 4.0]
    assert x.is_leaf
    assert x.requires_grad


def test_a_leaf_without_grad_takes_the_history():
    x, y = tg.ones(2), tg.tensor([3.0, 4.0], requires_grad=True)
    x *= y
    assert (x.requires_grad, x.is_leaf) == (True, False)
    x.sum().backward()
    assert y.grad.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("make", [lambda x: x * x, lambda x: x.exp(), lambda x: x.pow(3)])
def test_backward_notices_that_what_it_needs_has_changed(make):
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    h = x * 1
    y = make(h)
    (y if make(h).grad_fn.output else h).mul_(2)
    with pytest.raises(RuntimeError, match=r"shape \(2,\) that the gradient of .* needs has been modified .*\(1 since"):
        y.sum().backward()


def test_a_change_through_a_view_or_an_alias_is_noticed():
    for change in (lambda h: h[0].zero_(), lambda h: h.detach().zero_(), lambda h: h.data.zero_()):
        x = tg.tensor([1.0, 2.0], requires_grad=True)
        h = x * 1
        y = h * h
        with tg.no_grad():
            change(h)
        with pytest.raises(RuntimeError, match="modified"):
            y.sum().backward()


def test_assigned_data_is_noticed():
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    y = (w * w).sum()
    w.data = tg.zeros(2)
    with pytest.raises(RuntimeError, match="modified"):
        y.backward()
    assert w.is_leaf
    (w + 1).sum().backward()
    assert w.grad.tolist() == [1.0, 1.0]


def test_an_output_that_the_gradient_needs_is_kept_once():
    h = tg.ones(2, requires_grad=True) * 1
    h.exp_()
    assert h.grad_fn.output[1] is h.array
    with tg.no_grad():
        h.zero_()
    with pytest.raises(RuntimeError, match="the gradient of ExpBackward0 needs has been modified"):
        h.sum().backward()


def test_what_the_gradient_does_not_need_may_change():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    h = x * 3
    y = h + 1
    h.zero_()
    y.sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


def test_a_view_that_gradients_flow_through_refuses():
    x = tg.ones(2, 2, requires_grad=True)
    h = x * 2
    with pytest.raises(RuntimeError, match=r"on a view \(shape \(2,\), of a tensor of shape \(2, 2\)\)"):
        h[0] += 1
    buffer = tg.zeros(2, 2)
    with pytest.raises(RuntimeError, match=r"assign to the tensor itself, x\[index\] = x\[index\] \+ 1"):
        buffer[0].copy_(x[0])
    assert buffer.tolist() == [[0, 0], [0, 0]]
    buffer[0] = x[0]
    buffer[1] = buffer[0] + 1
    buffer.sum().backward()
    assert x.grad.tolist() == [[2.0, 2.0], [0.0, 0.0]]


def test_a_view_taken_before_the_change_is_out_of_date():
    x = tg.ones(2, requires_grad=True)
    h = x * 2
    view = h[0]
    h *= 3
    assert view.item() == 6.0
    with pytest.raises(RuntimeError, match=r"is a view of a tensor of shape \(2,\) that was changed in place"):
        view * 2
    with tg.no_grad():
        assert (view * 2).item() == 12.0
    assert view.long().item() == 6  # needs no history: it has no gradient
    (h[0] * 2).backward()
    assert x.grad.tolist() == [12.0, 0.0]


def test_views_without_gradients_write_through():
    x = tg.zeros(2, 3)
    x[0].add_(1)
    x.T[2] = 5
    assert x.tolist() == [[1, 1, 5], [0, 0, 5]]


def test_expanded_memory_refuses():
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor"):
        tg.zeros(3).expand(2, 3).add_(1)


def test_result_must_fit():
    with pytest.raises(RuntimeError, match="result type float32 can't be cast to the desired output type int64"):
        tg.ones(2, dtype=tg.int64).add_(1.5)
    with pytest.raises(RuntimeError, match=r"output with shape \[3\] doesn't match the broadcast shape \[2, 3\]"):
        tg.ones(3).add_(tg.ones(2, 3))
    with pytest.raises(RuntimeError, match=r"\(4,\)"):
        tg.ones(3)[:] = tg.ones(4)
    x = tg.ones(2, dtype=tg.uint8)
    x += 100
    assert x.dtype == tg.uint8


def test_double_into_float_keeps_the_gradients_dtypes():
    x, y = tg.ones(2, requires_grad=True), tg.ones(2, dtype=tg.float64, requires_grad=True)
    h = x * 2
    h += y
    assert h.dtype == tg.float32
    h.sum().backward()
    assert (x.grad.dtype, y.grad.dtype) == (tg.float32, tg.float64)
    assert y.grad.tolist() == [1.0, 1.0]


def test_random_fill():
    x = tg.empty(1000)
    g = tg.Generator().manual_seed(0)
    assert 0.4 < x.uniform_(0, 1, generator=g).mean() < 0.6
    assert 2.8 < x.normal_(3, 1, generator=g).mean() < 3.2
    assert set(x.bernoulli_(0.3, generator=g).tolist()) == {0.0, 1.0}
    assert set(x.random_(2, 5, generator=g).tolist()) == {2.0, 3.0, 4.0}
    assert x.random_(1).sum() == 0
