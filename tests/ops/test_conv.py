"""The fused convolution: its gradients in one pass, as separate ops, and second derivatives."""

import numpy as np
import pytest
from tinygrad_mnist.kernels import compiled, conv_direct

import tinygrad_mnist as tg
from tinygrad_mnist import ops
from tinygrad_mnist.autograd import grad

pytestmark = pytest.mark.usefixtures("default_device")

GEOMETRIES = [
    ((3, 5, 8, 9), (4, 5, 3, 3), ((1, 1), (0, 0), (1, 1), 1)),
    ((2, 4, 9, 7), (6, 2, 3, 2), ((2, 1), (1, 1), (1, 1), 2)),
]


def tensors(x_shape, w_shape):
    rng = np.random.default_rng(0)
    shapes = x_shape, w_shape, w_shape[:1]
    return [tg.tensor(rng.standard_normal(s).astype(np.float32), requires_grad=True) for s in shapes]


def separate(x, w, b, geometry, pool):
    y = ops.relu(ops.conv2d(x, w, b, *geometry))
    return ops.max_pool2d(y, (2, 2), (2, 2), (0, 0), (1, 1)) if pool else y


def assert_same(got, expected):
    for a, e in zip(got, expected, strict=True):
        np.testing.assert_allclose(a.numpy(force=True), e.numpy(force=True), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize(("x_shape", "w_shape", "geometry"), GEOMETRIES)
@pytest.mark.parametrize("way", ["fused", "create_graph", "compiled code switched off before backward"])
def test_gradients_are_those_of_the_separate_ops(way, x_shape, w_shape, geometry, pool):
    inputs = tensors(x_shape, w_shape)
    expected = separate(*inputs, geometry, pool)
    y = ops.conv2d_relu(*inputs, *geometry, pool)
    assert type(y.node).__name__ == "Node"
    assert "Fused" in y.node.name  # else this test compares a thing with itself
    assert_same([y], [expected])
    g = tg.tensor(np.random.default_rng(1).standard_normal(y.shape).astype(np.float32))
    before = compiled.use_compiled(way != "compiled code switched off before backward")
    try:
        assert_same(grad(y, inputs, g, create_graph=way == "create_graph"), grad(expected, inputs, g))
    finally:
        compiled.use_compiled(before)


@pytest.mark.parametrize("device", ["cpu"], indirect=True)
@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize(
    ("x_shape", "w_shape", "geometry"), [*GEOMETRIES, ((2, 32, 6, 7), (32, 32, 3, 3), ((1, 1), (1, 1), (1, 1), 1))]
)
def test_they_are_fused_on_numpy_alone_too(x_shape, w_shape, geometry, create_graph, pool):
    """By patches, and by tiles."""
    inputs = tensors(x_shape, w_shape)
    before = compiled.use_compiled(False)
    try:
        expected = separate(*inputs, geometry, pool)
        y = ops.conv2d_relu(*inputs, *geometry, pool)
        assert "Fused" in y.node.name
        g = tg.tensor(np.random.default_rng(1).standard_normal(y.shape).astype(np.float32))
        assert_same([y, *grad(y, inputs, g, create_graph=create_graph)], [expected, *grad(expected, inputs, g)])
        y = ops.conv2d_relu(inputs[0], *(t.detach() for t in inputs[1:]), *geometry, pool)
        assert_same(grad(y, inputs[:1], g), grad(separate(*inputs, geometry, pool), inputs[:1], g))
    finally:
        compiled.use_compiled(before)


@pytest.mark.parametrize("device", ["cpu"], indirect=True)
@pytest.mark.parametrize("then", ["nothing", "relu"])
@pytest.mark.parametrize(
    ("x_shape", "w_shape", "geometry"), [*GEOMETRIES, ((2, 16, 6, 7), (32, 16, 3, 3), ((1, 1), (1, 1), (1, 1), 1))]
)
def test_backward_computes_all_gradients_at_once_and_grad_only_those_asked_for(
    x_shape, w_shape, geometry, then, monkeypatch
):
    def result(x, w, b):
        return ops.conv2d(x, w, b, *geometry) if then == "nothing" else ops.conv2d_relu(x, w, b, *geometry, False)

    def watched(*args, real=conv_direct.conv2d_gradients):
        calls.append(args[-1])
        return real(*args)

    calls = []
    monkeypatch.setattr(conv_direct, "conv2d_gradients", watched)
    inputs = tensors(x_shape, w_shape)
    y = result(*inputs)
    g = tg.tensor(np.random.default_rng(1).standard_normal(y.shape).astype(np.float32))
    doubles = [tg.tensor(t.numpy(force=True).astype(np.float64), requires_grad=True) for t in inputs]
    expected = grad(result(*doubles), doubles, tg.tensor(g.numpy().astype(np.float64)))
    y.backward(g, retain_graph=True)
    assert calls == [(True, True)]
    assert_same([t.grad for t in inputs], expected)
    for i, wanted in [(0, (True, False)), (1, (False, True)), (2, (False, True))]:
        calls.clear()
        assert_same(grad(y, inputs[i], g.clone(), retain_graph=True), expected[i : i + 1])
        assert calls == [wanted]


@pytest.mark.parametrize("pool", [False, True])
def test_second_derivatives_are_those_of_the_separate_ops(pool):
    x_shape, w_shape, geometry = GEOMETRIES[1]
    inputs = tensors(x_shape, w_shape)

    def second(y):
        first = grad((y * y).sum(), inputs, create_graph=True)
        return grad(sum((d * d).sum() for d in first), inputs)

    got = second(ops.conv2d_relu(*inputs, *geometry, pool))
    for a, e in zip(got, second(separate(*inputs, geometry, pool)), strict=True):
        scale = np.abs(e.numpy(force=True)).max()
        assert np.abs(a.numpy(force=True) - e.numpy(force=True)).max() <= 1e-4 * scale


def test_overwriting_what_the_gradient_needs_is_noticed():
    x, w, b = tensors(*GEOMETRIES[0][:2])
    y = ops.conv2d_relu(x, w, b, *GEOMETRIES[0][2], True)
    y.version[0] += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


@pytest.mark.parametrize("device", ["cpu"], indirect=True)  # on a GPU it is
def test_float64_is_not_fused():
    x, w, b = (t.detach().double().requires_grad_() for t in tensors(*GEOMETRIES[0][:2]))
    assert "Fused" not in ops.conv2d_relu(x, w, b, *GEOMETRIES[0][2], False).node.name
