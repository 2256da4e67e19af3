"""Switches: no_grad and its relatives as context, decorator and across threads."""

import threading
import warnings

import numpy as np
import pytest

import tinygrad_mnist as tg
from tinygrad_mnist import autograd
from tinygrad_mnist.autograd import every_gradient_is_wanted, op

pytestmark = pytest.mark.usefixtures("default_device")

x = tg.ones(1, requires_grad=True)


def recorded():
    return (x * 2).requires_grad


def test_as_contexts():
    with tg.no_grad():
        assert not recorded()
        with tg.enable_grad():
            assert recorded()
        with tg.set_grad_enabled(True):
            assert recorded()
        assert not recorded()
    with tg.set_grad_enabled(False):
        assert not recorded()
    assert recorded()


def test_restored_after_an_exception():
    with pytest.raises(ZeroDivisionError), tg.no_grad():
        raise ZeroDivisionError
    assert tg.is_grad_enabled()


def test_one_object_entered_twice():
    switch = tg.no_grad()
    with switch:
        with switch:
            assert not recorded()
        assert not recorded()
    assert recorded()


def test_set_grad_enabled_acts_at_once():
    before = tg.set_grad_enabled(False)
    try:
        assert not recorded()
    finally:
        tg.set_grad_enabled(True)
    assert recorded()
    with before:
        assert not recorded()
    assert recorded()


def test_as_decorators():
    for switch in (tg.no_grad, tg.no_grad(), tg.set_grad_enabled(False), tg.inference_mode, tg.inference_mode()):
        tg.set_grad_enabled(True)
        named = switch(recorded)
        assert named() is False
        assert named.__name__ == "recorded"
        assert recorded()
    with tg.no_grad():
        assert tg.enable_grad()(recorded)()


def test_a_generator_function_is_refused():
    def stream():
        yield 1

    with pytest.raises(TypeError, match="no_grad: cannot decorate a generator function"):
        tg.no_grad()(stream)


def test_inference_mode():
    assert not tg.is_inference_mode_enabled()
    with tg.inference_mode():
        assert tg.is_inference_mode_enabled()
        assert not recorded()
        with tg.inference_mode(False):
            assert recorded()
            assert not tg.is_inference_mode_enabled()
    assert not tg.is_inference_mode_enabled()


def test_each_thread_has_its_own_switches():
    seen = []
    with tg.no_grad(), autograd.detect_anomaly():
        thread = threading.Thread(target=lambda: seen.append((recorded(), autograd.modes.thread.mode.anomaly)))
        thread.start()
        thread.join()
    assert seen == [(True, False)]


def test_backward_does_not_depend_on_the_switch():
    z = tg.ones(1, requires_grad=True)
    y = z * z
    with tg.no_grad():
        y.backward()
    assert z.grad.tolist() == [2.0]
    assert z.grad.grad_fn is None


def test_every_gradient_is_wanted_by_backward_and_not_by_grad():
    seen = []
    x = tg.ones(2, requires_grad=True)
    y = x * 2
    y.register_hook(lambda g: seen.append(every_gradient_is_wanted()))
    y.sum().backward(retain_graph=True)
    y.sum().backward(inputs=[x], retain_graph=True)
    tg.autograd.grad(y.sum(), x)
    assert seen == [True, False, False]
    assert not every_gradient_is_wanted()


def _divide_by_zero():
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        np.float32(1) / np.float32(0)
    return len(said)


def test_numpy_is_silent_in_an_op_and_in_an_op_in_that_and_only_there():
    @op
    def fails(v):
        found.append(_divide_by_zero())
        raise ZeroDivisionError

    @op
    def outer(v):
        with pytest.raises(ZeroDivisionError):
            fails(v)
        found.append(_divide_by_zero())
        return (v.array,)

    def thread():
        outer(x)
        found.append(_divide_by_zero())

    found = []
    thread()
    worker = threading.Thread(target=thread)
    worker.start()
    worker.join()
    with pytest.raises(ZeroDivisionError):
        fails(x)
    outer(x)  # and goes on after an error
    assert found == [0, 0, 1, 0, 0, 1, 0, 0, 0]
