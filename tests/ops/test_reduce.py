"""Accuracy of sums, gradients at zero, reductions of drawn shapes."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from op_case import numpy, variable

import tinygrad_mnist as tg
from tinygrad_mnist import ops
from tinygrad_mnist.autograd import grad

pytestmark = pytest.mark.usefixtures("default_device")


def half(n):
    return variable(np.ones(n, np.float16))


def test_float16_sums_in_float32():
    assert ops.sum(half(5000)).array == 5000  # adding ones in float16 stops at 2048
    assert ops.mean(half(70000)).array == 1  # their sum overflows float16
    assert ops.cumsum(half(5000), 0).array[-1] == 5000
    far = variable(np.array([300, 400], np.float16))  # their squares overflow float16
    assert (ops.norm(far).array, ops.std(ops.mul(far, 100), correction=0).array) == (500, 5000)
    assert ops.softmax(half(5000), 0).array[0].item() == np.float16(1 / 5000)
    for result in [
        ops.sum(half(3)),
        ops.mean(half(3)),
        ops.var(half(3)),
        ops.cumsum(half(3), 0),
        ops.softmax(half(3), 0),
    ]:
        assert result.dtype == np.float16


def test_float16_matrix_products_accumulate_in_float32():
    y = ops.matmul(half((1, 5000)), half((5000, 1)))
    assert (y.dtype, y.array.item()) == (np.float16, 5000)


def test_logsumexp_of_nothing_but_minus_infinity_has_gradient_zero():
    x = variable(np.array([[-np.inf, -np.inf], [-np.inf, 3.0]]))
    y = ops.logsumexp(x, 1)
    np.testing.assert_array_equal(numpy(y), [-np.inf, 3.0])
    (g,) = grad(ops.sum(y), x)
    np.testing.assert_array_equal(numpy(g), [[0, 0], [0, 1]])


@pytest.mark.parametrize("p", [2, 3, 1.5, 0.5])
def test_the_norm_of_zero_has_finite_derivatives(p):
    x = variable(np.zeros(3))
    (g,) = grad(ops.norm(x, p), x, create_graph=True)
    np.testing.assert_array_equal(numpy(g), 0)
    (second,) = grad(ops.sum(ops.mul(g, g)), x)
    np.testing.assert_array_equal(numpy(second), 0)


def test_reductions_give_the_same_bits_twice():
    x = variable(np.random.default_rng(0).standard_normal((64, 33)).astype(np.float32))
    assert ops.sum(x, 0).array.tobytes() == ops.sum(x, 0).array.tobytes()


@st.composite
def reductions(draw):
    """An array, dimensions of it (some negative) and keepdim."""
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4))
    x = draw(hnp.arrays(np.float64, shape, elements=st.floats(-5, 5), unique=True))
    dims = draw(st.lists(st.integers(0, len(shape) - 1), unique=True, min_size=1))
    return x, tuple(d - len(shape) if draw(st.booleans()) else d for d in dims), draw(st.booleans())


@given(reductions(), st.sampled_from(["sum", "mean", "var", "amax", "amin", "logsumexp"]))
def test_reductions_and_their_gradients_are_those_of_pytorch(drawn, name):
    array, dims, keepdim = drawn
    options = {"correction": 0} if name == "var" else {}
    x, t = variable(array), torch.tensor(array, requires_grad=True)
    y = getattr(ops, name)(x, dim=dims, keepdim=keepdim, **options)
    w = getattr(torch, name)(t, dim=dims, keepdim=keepdim, **options)
    assert y.shape == tuple(w.shape)
    np.testing.assert_allclose(numpy(y), w.detach().numpy(), rtol=1e-10, atol=1e-12)
    weights = np.arange(1.0, y.array.size + 1).reshape(y.shape)
    (g,) = grad(y, x, tg.tensor(weights))
    np.testing.assert_allclose(
        numpy(g), torch.autograd.grad(w, t, torch.tensor(weights))[0].numpy(), rtol=1e-9, atol=1e-11
    )
