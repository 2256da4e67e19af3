"""Promotion, Python numbers, broadcasting, NaN and inf."""

import itertools
import warnings

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

DTYPES = ["bool", "uint8", "int8", "int32", "int64", "float16", "float32", "float64"]
NUMBERS = [True, 3, 2.5, np.float64(2.5), np.float32(2.5), np.int64(3)]


# The type is decided before any array is touched, and each pair costs the CUDA device several kernels to build.
SHAPES = [((2,), (2,)), ((2,), ()), ((), ())]
FEW = ["bool", "uint8", "int64", "float16", "float32"]
ON_EACH_DEVICE = [("cpu", *pair) for pair in itertools.product(DTYPES, DTYPES, SHAPES)]
ON_EACH_DEVICE += [("cuda", *pair) for pair in itertools.product(FEW, FEW, SHAPES[:1])]


@pytest.mark.parametrize("name", ["add", "mul", "div", "maximum", "pow"])
@pytest.mark.parametrize(("device", "a", "b", "shapes"), ON_EACH_DEVICE, indirect=["device"])
def test_two_tensors_meet_in_the_dtype_of_pytorch(name, a, b, shapes):
    x, y = np.ones(shapes[0], a), np.ones(shapes[1], b)
    if name == "pow" and a == b == "bool":
        return  # PyTorch has no power of bools
    wanted = getattr(torch, name)(torch.tensor(x), torch.tensor(y))
    got = getattr(ops, name)(tg.tensor(x), tg.tensor(y))
    assert got.dtype == wanted.numpy().dtype
    assert got.shape == tuple(wanted.shape)


@pytest.mark.parametrize("name", ["add", "mul", "div"])
@pytest.mark.parametrize(
    ("device", "dtype", "number"),
    [*itertools.product(["cpu"], DTYPES, NUMBERS), *itertools.product(["cuda"], FEW, NUMBERS)],
    indirect=["device"],
    ids=repr,
)
def test_a_tensor_and_a_number_meet_in_the_dtype_of_pytorch(name, dtype, number):
    x = np.ones(2, dtype)
    wanted = getattr(torch, name)(torch.tensor(x), number)
    for operands in [(tg.tensor(x), number), (number, tg.tensor(x))]:
        assert getattr(ops, name)(*operands).dtype == wanted.numpy().dtype


def test_a_number_costs_no_entry_on_the_tape(device):
    x = variable(np.ones(3))
    y = ops.add(ops.mul(x, 2.0), 1)
    assert [type(parent) for parent, _ in y.node.next_functions[0][0].next_functions] == [type(x)]
    assert len(y.node.next_functions) == len(y.node.next_functions[0][0].next_functions) == 1


def test_broadcast_expands_tensors_and_leaves_numbers():
    x, y, number = ops.broadcast(variable(np.ones((2, 1))), variable(np.ones(3)), 2.0)
    assert (x.shape, y.shape, number) == ((2, 3), (2, 3), 2.0)


def test_promote_casts_tensors_and_leaves_numbers():
    x, number = ops.promote(variable(np.arange(3)), np.float64(1.5))
    assert (x.dtype, type(number), number) == (np.float32, float, 1.5)


def test_infinity_and_nan_come_without_warnings():
    x = variable(np.array([0.0, -1.0, 1e308]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ["log", "sqrt", "rsqrt", "reciprocal", "exp"]:
            y = getattr(ops, name)(x)
            grad(y, x, tg.ones(3, dtype=tg.float64))
        assert np.isinf(numpy(ops.mul(x, 1e10))[2])
        assert np.isinf(numpy(ops.div(1.0, x))[0])
        assert np.isnan(numpy(ops.floor_divide(x, 0.0))[0])


@pytest.mark.parametrize("name", ["add", "mul", "maximum", "sub"])
def test_an_operand_used_twice_gets_both_gradients(name):
    x = variable(np.array([1.5, -2.0]))
    t = torch.tensor(numpy(x), requires_grad=True)
    (g,) = grad(ops.sum(getattr(ops, name)(x, x)), x)
    getattr(torch, name)(t, t).sum().backward()
    np.testing.assert_array_equal(numpy(g), t.grad.numpy())


@st.composite
def operands(draw):
    """Two arrays that broadcast, of any layout."""
    shapes = draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=3, min_side=0)).input_shapes
    arrays = []
    for shape in shapes:
        a = draw(hnp.arrays(np.float64, shape, elements=st.floats(-3, 3)))
        axes = draw(st.permutations(range(a.ndim)))
        a = a.transpose(axes).copy().transpose(np.argsort(axes)) if a.ndim else a
        arrays.append(a[::-1] if a.ndim and draw(st.booleans()) else a)
    return arrays


@given(operands(), st.sampled_from(["add", "sub", "mul", "maximum", "minimum"]))
def test_broadcasting_and_its_gradients_are_those_of_pytorch(arrays, name):
    xs = [variable(a) for a in arrays]
    ts = [torch.tensor(a.copy(), requires_grad=True) for a in arrays]
    y, t = getattr(ops, name)(*xs), getattr(torch, name)(*ts)
    np.testing.assert_array_equal(numpy(y), t.detach().numpy())
    weights = np.arange(y.array.size, dtype=float).reshape(y.shape)
    mine = grad(y, xs, tg.tensor(weights))
    for g, x, w in zip(mine, xs, torch.autograd.grad(t, ts, torch.tensor(weights)), strict=True):
        assert g.shape == x.shape
        np.testing.assert_allclose(numpy(g), w.numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("device", ["cpu"], indirect=True)  # CuPy's kernels give row-major results
@pytest.mark.parametrize(
    "make", [np.ascontiguousarray, np.asfortranarray, lambda a: a.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)]
)
def test_relu_keeps_the_memory_layout_forward_and_backward(make):
    x = variable(make(np.random.default_rng(0).standard_normal((2, 3, 4, 5))))
    y = ops.relu(x)
    (g,) = grad(y, x, y.like(make(np.ones(x.shape))))
    assert x.array.strides == y.array.strides == g.array.strides


def test_relu_gives_no_gradient_to_what_it_cut_off_even_if_that_is_infinite():
    x = variable(np.array([-1.0, 0.0, 2.0]))
    (g,) = grad(ops.relu(x), x, tg.tensor([np.inf, np.nan, np.inf], dtype=tg.float64))
    np.testing.assert_array_equal(numpy(g), [0.0, 0.0, np.inf])


def test_negative_powers_in_a_tensor_of_the_cpu_are_refused():
    """A GPU gives zeros: to look at the powers there would be to wait for it."""
    x, y = tg.tensor([2, 3], device="cpu"), tg.tensor([1, -1], device="cpu")
    with pytest.raises(RuntimeError, match="pow: Integers to negative integer powers are not allowed"):
        ops.pow(x, y)
