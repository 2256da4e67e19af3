"""detect_anomaly names the op that made the first NaN, and the user's line."""

import pytest

import tinygrad_mnist as tg
from tinygrad_mnist.autograd import detect_anomaly, set_detect_anomaly

pytestmark = pytest.mark.usefixtures("default_device")


def test_forward():
    x = tg.tensor([-1.0, 1.0])
    with detect_anomaly(), pytest.raises(RuntimeError) as error:
        x.log().sum()  # the line at fault
    assert "Log" in str(error.value)
    assert "from inputs of shape (2,)" in str(error.value)
    assert "x.log().sum()  # the line at fault" in str(error.value)
    x.log()


def test_backward():
    x = tg.tensor([0.0], requires_grad=True)
    with detect_anomaly():
        y = x.sqrt() * 0  # the line at fault
        with pytest.raises(RuntimeError) as error:
            y.backward()
    assert "the gradient of SqrtBackward0 is the first NaN" in str(error.value)
    assert "y = x.sqrt() * 0  # the line at fault" in str(error.value)


def test_backward_of_what_was_recorded_before():
    x = tg.tensor([0.0], requires_grad=True)
    y = x.sqrt() * 0
    with detect_anomaly(), pytest.raises(RuntimeError, match="recorded outside detect_anomaly"):
        y.backward()


def test_a_nan_that_came_in_is_not_reported():
    x = tg.tensor([float("nan")], requires_grad=True)
    with detect_anomaly():
        y = x * 2
        assert y.isnan().all()
        (tg.ones(2) * 3).sum()


def test_integers_have_no_nan():
    with detect_anomaly():
        assert (tg.arange(3) + 1).tolist() == [1, 2, 3]


def test_set_detect_anomaly():
    set_detect_anomaly(True)
    try:
        with pytest.raises(RuntimeError, match="first NaN"):
            tg.tensor([-1.0]).sqrt()
    finally:
        set_detect_anomaly(False)
    with set_detect_anomaly(True), pytest.raises(RuntimeError, match="first NaN"):
        tg.tensor([-1.0]).sqrt()
    tg.tensor([-1.0]).sqrt()
