"""autograd.Function: a user's own op."""

import gc
import weakref

import pytest

import tinygrad_mnist as tg
from tinygrad_mnist import autograd
from tinygrad_mnist.autograd import Function

pytestmark = pytest.mark.usefixtures("default_device")


class Cube(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * x * x * g


class Exp(Function):
    """Saves its output."""

    @staticmethod
    def forward(ctx, x):
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        return g * ctx.saved_tensors[0]


class Polar(Function):
    """Two outputs of different shape and dtype, one of them saved, and one without gradient."""

    calls = 0

    @staticmethod
    def forward(ctx, r, phi, name):
        x, total, index = r * phi.cos(), (r * phi.sin()).sum().double(), r.argmax()
        sign = (r > 0).float()
        ctx.save_for_backward(r, phi, x)
        ctx.mark_non_differentiable(sign)
        return x, total, index, sign

    @staticmethod
    def backward(ctx, dx, dtotal, dindex, dsign):
        Polar.calls += 1
        assert (dindex.tolist(), dsign.tolist()) == (0, [0.0] * len(dx))
        r, phi, x = ctx.saved_tensors
        dtotal = dtotal.float()
        return dx * phi.cos() + dtotal * phi.sin(), dx * -r * phi.sin() + dtotal * x, None


def leaf(*values):
    return tg.tensor(values, requires_grad=True)


def test_one_output():
    x = leaf(2.0)
    y = Cube.apply(x)
    assert repr(y.grad_fn) == "<CubeBackward>"
    y.backward()
    assert x.grad.tolist() == [12.0]


@pytest.mark.parametrize(("op", "values"), [(Cube, [8.0, 12.0, 12.0, 6.0]), (Exp, [7.389056] * 4)])
def test_higher_derivatives(op, values):
    x = leaf(2.0)
    y = op.apply(x)
    found = [y.item()]
    for _ in range(3):
        (y,) = autograd.grad(y, x, create_graph=True)
        found.append(y.item())
    assert found == pytest.approx(values)


def test_several_outputs():
    r, phi = leaf(1.0, 2.0), leaf(0.5, 0.25)
    x, total, index, sign = Polar.apply(r, phi, "polar")
    assert (x.requires_grad, total.requires_grad, index.requires_grad, sign.requires_grad) == (True, True, False, False)
    assert (x.dtype, total.dtype, x.shape, total.shape) == (tg.float32, tg.float64, (2,), ())
    Polar.calls = 0
    (x.sum() + 2 * total).backward(retain_graph=True)
    assert Polar.calls == 1
    other_r, other_phi = leaf(1.0, 2.0), leaf(0.5, 0.25)
    (other_r * other_phi.cos() + 2 * other_r * other_phi.sin()).sum().backward()
    assert r.grad.tolist() == pytest.approx(other_r.grad.tolist())
    assert phi.grad.tolist() == pytest.approx(other_phi.grad.tolist())


def test_several_outputs_twice_differentiated():
    def second(f):
        r, phi = leaf(1.0, 2.0), leaf(0.5, 0.25)
        x, total = f(r, phi)
        (g,) = autograd.grad((x * x).sum() + total, phi, create_graph=True)
        return [v.tolist() for v in autograd.grad((g * g).sum(), [r, phi])]

    ours = second(lambda r, phi: Polar.apply(r, phi, "")[:2])
    theirs = second(lambda r, phi: (r * phi.cos(), (r * phi.sin()).sum().double()))
    assert ours[0] == pytest.approx(theirs[0])
    assert ours[1] == pytest.approx(theirs[1])


def test_only_one_of_several_outputs_used():
    r, phi = leaf(1.0, 2.0), leaf(0.5, 0.25)
    Polar.apply(r, phi, "")[1].backward()
    assert r.grad.tolist() == pytest.approx(phi.sin().tolist())


def test_without_differentiable_outputs():
    class Sign(Function):
        @staticmethod
        def forward(ctx, x):
            y = (x > 0).float()
            ctx.mark_non_differentiable(y)
            return y, x.long()

    assert [y.requires_grad for y in Sign.apply(leaf(1.0))] == [False, False]


def test_without_recording():
    x = leaf(2.0)
    with tg.no_grad():
        assert Cube.apply(x).grad_fn is None
    assert Cube.apply(tg.ones(1)).grad_fn is None
    assert [y.requires_grad for y in Polar.apply(tg.ones(1), tg.ones(1), "")] == [False] * 4


def test_none_and_needs_input_grad():
    class Scale(Function):
        @staticmethod
        def forward(ctx, x, w, k):
            ctx.k = k
            assert ctx.needs_input_grad == (True, True, False)
            return x * w * k

        @staticmethod
        def backward(ctx, g):
            return g * ctx.k, None, None

    x, w = leaf(1.0), leaf(2.0)
    Scale.apply(x, w, 3).backward()
    assert x.grad.tolist() == [3.0]
    assert w.grad is None


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda g: (g, g, g), "Bad.backward returned 3 gradients, expected 2, one per argument"),
        (lambda g: g, "Bad.backward returned 1 gradients, expected 2"),
        (lambda g: (g, g[0]), r"gradient of shape \(\) for argument 1, expected \(2,\)"),
    ],
)
def test_wrong_gradients(result, message):
    class Bad(Function):
        @staticmethod
        def forward(ctx, x, z):
            return x + z

        @staticmethod
        def backward(ctx, g):
            return result(g)

    with pytest.raises(RuntimeError, match=message):
        Bad.apply(leaf(1.0, 2.0), leaf(1.0, 2.0)).sum().backward()


def test_not_written():
    with pytest.raises(NotImplementedError, match=r"static forward\(ctx, \*args\)"):
        Function.apply(leaf(1.0))

    class NoBackward(Function):
        @staticmethod
        def forward(ctx, x):
            return x + 1

    with pytest.raises(NotImplementedError, match=r"static backward\(ctx, \*grads\)"):
        NoBackward.apply(leaf(1.0)).backward()


def test_a_users_tensor_is_not_stored_as_grad():
    mine = tg.tensor([5.0])

    class Constant(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 5

        @staticmethod
        def backward(ctx, g):
            return mine

    x = leaf(1.0)
    Constant.apply(x).backward()
    Constant.apply(x).backward()
    assert (x.grad.item(), mine.item()) == (10.0, 5.0)


def test_a_saved_tensor_that_was_changed():
    x = leaf(2.0)
    h = x * 1
    y = Cube.apply(h)
    h.zero_()
    with pytest.raises(RuntimeError, match="CubeBackward needs has been modified"):
        y.backward()


def test_forward_may_return_its_input():
    class Identity(Function):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 2

    x = leaf(1.0, 2.0)
    y = Identity.apply(x)
    assert y is not x
    y.sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]


def test_leaves_no_reference_cycles():
    gc.collect()
    gc.disable()
    try:
        x = leaf(1.0)
        y = Exp.apply(x)
        x2, total, _, _ = Polar.apply(y, y, "")
        refs = [weakref.ref(v) for v in (y, x2, total, y.array)]
        (x2.sum() + total).backward()
        del y, x2, total, _
        assert [r() for r in refs] == [None] * 4
    finally:
        gc.enable()


def test_an_unused_graph_leaves_no_reference_cycles():
    gc.collect()
    gc.disable()
    try:
        y = Exp.apply(leaf(1.0))
        refs = [weakref.ref(y), weakref.ref(y.array)]
        del y
        assert [r() for r in refs] == [None, None]
    finally:
        gc.enable()


def test_the_same_seed_for_a_plain_and_a_recorded_gradient():
    x, seed = leaf(2.0), tg.ones(1)
    y = Cube.apply(x)
    autograd.grad(y, x, seed, retain_graph=True)
    (g,) = autograd.grad(y, x, seed, create_graph=True)
    assert autograd.grad(g, x)[0].tolist() == [12.0]


def test_mixed_devices(fake_device):
    with pytest.raises(RuntimeError, match="Cube: expected all tensors to be on the same device"):
        Cube.apply(tg.ones(1, device="cpu", requires_grad=True), fake_device)
