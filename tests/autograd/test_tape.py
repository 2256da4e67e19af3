"""Recording: leaves, requires_grad, views, mixed devices."""

import numpy as np
import pytest

import tinygrad_mnist as tg
from tinygrad_mnist.autograd import Variable, op

pytestmark = pytest.mark.usefixtures("default_device")


def test_leaves():
    x = tg.ones(2, requires_grad=True)
    y = x + 1
    assert (x.is_leaf, y.is_leaf, tg.ones(1).is_leaf) == (True, False, True)
    assert (x.requires_grad, y.requires_grad, (tg.ones(1) + 1).requires_grad) == (True, True, False)
    assert x.grad_fn is None
    assert repr(y.grad_fn) == "<AddBackward0>"


def test_requires_grad_of_integers_and_of_results():
    with pytest.raises(RuntimeError, match="only floating-point tensors can require gradients, got int64"):
        tg.arange(3).requires_grad_()
    with pytest.raises(RuntimeError, match=r"got bool; call \.float\(\) first"):
        tg.tensor([True], requires_grad=True)
    y = tg.ones(1, requires_grad=True) * 2
    with pytest.raises(RuntimeError, match=r"only change requires_grad flags of leaf tensors.*detach\(\)"):
        y.requires_grad_(False)
    assert y.requires_grad_().grad_fn is not None
    x = tg.ones(1, requires_grad=True).requires_grad_(False)
    assert not x.requires_grad


def test_detach():
    x = tg.ones(2, requires_grad=True)
    y = x * 2
    d = y.detach()
    assert (d.requires_grad, d.is_leaf) == (False, True)
    assert d.xp.shares_memory(d.array, y.array)
    assert y.detach_() is y
    assert (y.is_leaf, y.requires_grad) == (True, False)
    y += 1
    assert d.tolist() == [3.0, 3.0]


def test_mixed_devices_name_both(fake_device):
    message = r"add: expected all tensors to be on the same device, but found \(2,\) on cpu, \(2,\) on cuda:0; move"
    with pytest.raises(RuntimeError, match=message):
        tg.ones(2, device="cpu") + fake_device
    with pytest.raises(RuntimeError, match="backward: expected all tensors to be on the same device"):
        tg.ones(2, device="cpu", requires_grad=True).backward(fake_device)


def test_an_op_with_fewer_gradients_than_arguments():
    @op
    def first_of(x: Variable, y: Variable) -> object:
        """x"""
        return x.array + 0, lambda g: g

    x, y = tg.ones(1, requires_grad=True), tg.ones(1, requires_grad=True)
    first_of(x, y).backward()
    assert x.grad.tolist() == [1.0]
    assert y.grad is None
    assert first_of.__name__ == "first_of"
    assert not first_of(tg.ones(1), y).requires_grad


def test_captured_sequences_are_watched():
    @op
    def total(*xs: Variable) -> object:
        """The sum of products with each other."""
        kept = list(xs)

        def gradient(g: Variable) -> object:
            return g * kept[1]

        return xs[0].array * xs[1].array, gradient

    x, y = tg.ones(1, requires_grad=True), tg.ones(1)
    z = total(x, y)
    y.zero_()
    with pytest.raises(RuntimeError, match="TotalBackward0 needs has been modified"):
        z.backward()


def test_a_result_without_dimensions_is_an_array():
    x = tg.ones(3).sum()
    assert isinstance(x.array, x.xp.ndarray)
    assert x.shape == ()


def test_views_share_their_count_of_changes():
    x = tg.zeros(2, 3)
    before = x.version[0]
    x.T[0].add_(1)
    x.reshape(6).add_(1)
    assert x.version[0] == before + 2
    assert (x + 1).version is not x.version
    assert x.clone().version is not x.version
    y = x.contiguous()  # the same memory: not a view of it for NumPy, but the array itself
    assert y.array is x.array
    assert y.version is x.version


def test_where_gradients_meet_memory_layout_is_kept():
    x = tg.ones(2, 3, 4, requires_grad=True)
    (x.permute(2, 0, 1) * 2).sum().backward()
    assert x.grad.shape == x.shape
    assert x.grad.tolist() == (tg.ones(2, 3, 4) * 2).tolist()


def test_a_bare_variable():
    x = Variable.wrap(np.ones((2, 3)))
    assert (x.shape, x.ndim, x.dtype, x.device) == ((2, 3), 2, tg.float64, "cpu")
    assert isinstance(x.detach(), tg.Tensor)
