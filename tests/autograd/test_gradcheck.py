"""The gradient checker must find wrong gradients: each test here gives it one."""

import numpy as np
import pytest

import tinygrad_mnist as tg
from tinygrad_mnist import ops
from tinygrad_mnist.autograd import GradcheckError, gradcheck, gradgradcheck, op

pytestmark = pytest.mark.usefixtures("default_device")


def tensor(values, dtype="float64", requires_grad=True):
    return tg.tensor(np.asarray(values, dtype), requires_grad=requires_grad)


def cube(gradient):
    """x³ with a gradient function of one's choice."""

    @op
    def cubed(x):
        return x.array**3, lambda g: gradient(g, x)

    return cubed


def right(g, x):
    return ops.mul(g, ops.mul(ops.mul(x, x), 3))


X = [0.5, -1.5, 2.0]


def test_right_gradients_pass():
    assert gradcheck(cube(right), tensor(X), rtol=1e-6, atol=1e-8)
    assert gradgradcheck(cube(right), tensor(X), rtol=1e-6, atol=1e-7)
    assert gradcheck(lambda x, n, y: (ops.mul(x, n), y), (tensor(X), 2, tensor(1.0)))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda g, x: ops.mul(right(g, x), 1.001),
        lambda g, x: ops.mul(right(g, x), 1 / 3),
        lambda g, x: ops.neg(right(g, x)),
        lambda g, x: ops.mul(right(g, x), np.nan),
        lambda g, x: ops.flip(right(g, x), 0),
        lambda g, x: ops.mul(g, 0.0),
    ],
    ids=["0.1 % off", "missing factor", "sign", "NaN", "order", "zero"],
)
def test_a_wrong_gradient_fails(wrong):
    with pytest.raises(GradcheckError, match=r"output 0 with respect to input 0"):
        gradcheck(cube(wrong), tensor(X), rtol=1e-4)
    assert gradcheck(cube(wrong), tensor(X), rtol=1e-4, raise_exception=False) is False


def test_nan_fails_where_both_sides_are_nan():
    with pytest.raises(GradcheckError):
        gradcheck(ops.log, tensor([-1.0]))


def test_the_message_names_the_input_and_both_values():
    def second_is_wrong(x, y):
        return ops.add(x, cube(lambda g, x: ops.mul(g, 7.0))(y))

    with pytest.raises(GradcheckError, match=r"(?s)input 1: at output element 0.*numerical 3\b.*analytical 7\b"):
        gradcheck(second_is_wrong, (tensor([1.0]), tensor([1.0])))


def test_a_wrong_second_output_fails():
    with pytest.raises(GradcheckError, match="output 1 with respect to input 0"):
        gradcheck(lambda x: (ops.exp(x), cube(lambda g, x: g)(x)), tensor(X))


def test_a_wrong_second_derivative_fails_only_gradgradcheck():
    @op
    def slope(g, x):
        return g.array * 3 * x.array**2, lambda h: ops.mul(h, ops.mul(ops.mul(x, x), 3)), lambda h: ops.mul(h, g)

    assert gradcheck(cube(slope), tensor(X))
    with pytest.raises(GradcheckError):
        gradgradcheck(cube(slope), tensor(X))
    assert gradgradcheck(cube(slope), tensor(X), raise_exception=False) is False


def test_a_gradient_cut_off_from_the_tape_fails_only_gradgradcheck():
    def constant(g, x):
        return g.like(right(g, x).array)

    assert gradcheck(cube(constant), tensor(X))
    with pytest.raises(RuntimeError):
        gradgradcheck(cube(constant), tensor(X))


def test_a_gradient_of_the_wrong_shape_or_dtype_fails():
    with pytest.raises((GradcheckError, RuntimeError), match="shape"):
        gradcheck(cube(lambda g, x: ops.sum(right(g, x))), tensor(X))
    with pytest.raises((GradcheckError, RuntimeError), match="float32"):
        gradcheck(cube(lambda g, x: g.like(right(g, x).array.astype("float32"))), tensor(X))


def test_an_output_without_a_gradient_must_be_constant():
    assert gradcheck(lambda x: (x, x.like(x.xp.ones(2))), tensor(X))
    with pytest.raises(GradcheckError, match="output 1"):
        gradcheck(lambda x: (x, x.like(x.array * 2)), tensor(X))


def test_integer_outputs_are_left_out():
    assert gradcheck(lambda x: ops.max(x, 0), tensor(X))


def test_given_grad_outputs_are_used():
    g = tensor([1.0, 2.0, 3.0])
    assert gradgradcheck(cube(right), tensor(X), g)
    assert gradgradcheck(cube(right), tensor(X), [g])


def test_inputs_are_put_back():
    x = tensor(X)
    gradcheck(cube(right), x)
    assert x.tolist() == X

    def stop(x):
        if x.array[1] != X[1]:
            raise KeyError("stop")
        return ops.exp(x)

    with pytest.raises(KeyError):
        gradcheck(stop, x)
    assert x.tolist() == X


def test_float32_is_warned_about():
    with pytest.warns(UserWarning, match=r"input 0 is float32, not double precision"):
        gradcheck(ops.neg, tensor([1.0], "float32"), eps=1e-2, atol=1e-2)


def test_an_input_must_require_grad():
    with pytest.raises(ValueError, match="requires_grad=True"):
        gradcheck(ops.neg, tensor(X, requires_grad=False))


def test_an_expanded_input_is_refused():
    x = tg.ones(1, dtype=tg.float64).expand(3).requires_grad_()
    with pytest.raises(RuntimeError, match="clone"):
        gradcheck(ops.neg, x)


def test_empty_inputs_pass():
    assert gradcheck(ops.neg, tensor(np.zeros((0, 2))))
