"""Views and copies, repeated indices, drawn indices."""

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


def test_ints_and_slices_give_views_and_arrays_give_copies(device):
    x = variable(np.arange(12.0).reshape(3, 4))
    number = variable(np.array(2)) if device == "cpu" else 2  # on a GPU, to read it would wait: it counts as an array
    for index in [0, (1, 2), slice(1, 3), (..., 0), None, np.array(1), number]:
        assert x.xp.may_share_memory(ops.getitem(x, index).array, x.array)
    for index in [np.array([0, 1]), [0, 1], ops.gt(x, 3)]:
        assert not x.xp.may_share_memory(ops.getitem(x, index).array, x.array)


def test_a_tensor_is_an_index():
    x = variable(np.arange(12.0).reshape(3, 4))
    rows, mask = variable(np.array([2, 0, 2])), ops.gt(ops.getitem(x, 0), 1)
    a, i, m = numpy(x), numpy(rows), numpy(mask)
    np.testing.assert_array_equal(numpy(ops.getitem(x, rows)), a[i])
    np.testing.assert_array_equal(numpy(ops.getitem(x, (rows, slice(1, 3)))), a[i, 1:3])
    np.testing.assert_array_equal(numpy(ops.getitem(x, (slice(None), mask))), a[:, m])


def test_repeated_indices_add_up_the_same_way_every_time():
    rng = np.random.default_rng(0)
    x = variable(rng.standard_normal((50, 3)).astype(np.float32))
    index = rng.integers(0, 50, 1000)
    weights = rng.standard_normal((1000, 3)).astype(np.float32)
    first, again = (grad(ops.getitem(x, index), x, tg.tensor(weights))[0] for _ in range(2))
    assert numpy(first).tobytes() == numpy(again).tobytes()
    wanted = np.zeros((50, 3))
    for i, w in zip(index, weights, strict=True):
        wanted[i] += w
    np.testing.assert_allclose(numpy(first), wanted, rtol=1e-6, atol=1e-6)


def test_assign_writes_into_the_memory_of_the_tensor():
    x = variable(np.zeros((2, 2)))
    memory = x.detach()
    ops.assign(x, (0, slice(None)), variable(np.array([1.0, 2.0])))
    np.testing.assert_array_equal(numpy(memory), [[1, 2], [0, 0]])


@st.composite
def indexed(draw):
    """An array and an index that NumPy and PyTorch understand alike."""
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4))
    index = draw(hnp.basic_indices(shape, allow_newaxis=True))
    index = index if isinstance(index, tuple) else (index,)
    index = tuple(i if not isinstance(i, slice) or (i.step or 1) > 0 else slice(None) for i in index)
    return np.arange(float(np.prod(shape))).reshape(shape), index


@given(indexed())
def test_basic_indices_and_their_gradients_are_those_of_pytorch(drawn):
    array, index = drawn
    x, t = variable(array), torch.tensor(array, requires_grad=True)
    y, w = ops.getitem(x, index), t[index]
    np.testing.assert_array_equal(numpy(y), w.detach().numpy())
    (g,) = grad(y, x, y.like(y.array + 1))
    np.testing.assert_array_equal(numpy(g), torch.autograd.grad(w, t, w.detach() + 1)[0].numpy())


@given(
    hnp.arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 4)), elements=st.floats(-5, 5)),
    st.data(),
)
def test_integer_indices_and_their_gradients_are_those_of_pytorch(array, data):
    n, m = array.shape
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=2, min_side=0, max_side=5))
    index = data.draw(hnp.arrays(np.int64, shape, elements=st.integers(-n, n - 1)))
    column = data.draw(st.sampled_from([slice(None), slice(0, m, 2), 0, None, ...]))
    x, t = variable(array), torch.tensor(array, requires_grad=True)
    y, w = ops.getitem(x, (index, column)), t[(torch.tensor(index), column)]
    np.testing.assert_array_equal(numpy(y), w.detach().numpy())
    weights = np.arange(1.0, y.array.size + 1).reshape(y.shape)
    (g,) = grad(y, x, tg.tensor(weights))
    np.testing.assert_allclose(numpy(g), torch.autograd.grad(w, t, torch.tensor(weights))[0].numpy(), rtol=1e-12)


@given(hnp.array_shapes(min_dims=0, max_dims=4, min_side=1, max_side=4), st.data())
def test_reshape_of_any_layout_is_that_of_pytorch(shape, data):
    array = np.arange(float(np.prod(shape))).reshape(shape).transpose(data.draw(st.permutations(range(len(shape)))))
    factors = [f for f in range(1, array.size + 1) if array.size % f == 0]
    target = (data.draw(st.sampled_from(factors)), -1)
    x, t = variable(array), torch.tensor(array.copy(), requires_grad=True)
    y = ops.reshape(x, target)
    np.testing.assert_array_equal(numpy(y), t.reshape(target).detach().numpy())
    (g,) = grad(y, x, y.like(y.array * 2))
    np.testing.assert_array_equal(numpy(g), array * 2)
