"""float16: the result of the same numbers in float32, rounded once."""

from typing import Any

import numpy as np
import pytest

from tinygrad_mnist import kernels


def normal(*shape: int) -> np.ndarray:
    """Random numbers in float16."""
    return np.asarray(np.random.default_rng(sum(shape)).standard_normal(shape)).astype(np.float16)


X, C, ROWS, CLASSES = normal(3, 4, 6, 5), normal(4), normal(5, 8), np.arange(5)
LSE = np.full(5, 3, np.float32)
SAME = (1, 1), (1, 1), (1, 1), 1
PAIRS = (2, 2), (1, 1), (0, 0), (1, 1)

# The arguments, and how many results are rounded: what a kernel hands on to its gradient stays as it is.
CASES: dict[str, tuple[tuple[Any, ...], int]] = {
    "conv2d": ((X, normal(7, 4, 3, 3), normal(7), *SAME), 1),
    "conv2d_input_grad": ((normal(3, 7, 6, 5), normal(7, 4, 3, 3), X.shape, *SAME), 1),
    "conv2d_weight_grad": ((normal(3, 7, 6, 5), X, (7, 4, 3, 3), *SAME), 1),
    "col2im": ((normal(1, 3, 3, 2, 2, 4), (1, 4, 4, 4), (1, 1), (0, 0), (1, 1)), 1),
    "avg_pool2d": ((X, (3, 2), (2, 1), (1, 1), True, False, None), 1),
    "avg_pool2d_input_grad": ((normal(3, 4, 5, 4), X.shape, *PAIRS[:3], True, None), 1),
    "adaptive_avg_pool2d": ((X, (3, 4)), 1),
    "adaptive_avg_pool2d_input_grad": ((normal(3, 4, 4, 4), X.shape), 1),
    "max_pool2d_input_grad": ((normal(3, 4, 5, 4), np.full((3, 4, 5, 4), 6, np.int32), X.shape, *PAIRS), 1),
    "max_unpool2d": ((normal(3, 4, 3, 2), np.zeros((3, 4, 3, 2), np.int32), (6, 5)), 1),
    "batch_norm": ((X, C, C, 1e-5), 1),
    "batch_norm_grad": ((X, X, C, np.zeros(4), np.ones(4), 1e-5), 3),
    "channel_affine": ((X, C, C), 1),
    "layer_norm": ((ROWS, normal(8), normal(8), 1e-5), 1),
    "layer_norm_grad": ((ROWS, ROWS, normal(8), LSE[:, None], LSE[:, None]), 3),
    "softmax_cross_entropy": ((ROWS, CLASSES, 0.1), 1),
    "softmax_cross_entropy_grad": ((normal(5), ROWS, CLASSES, LSE, 0.1), 1),
    "mean_cross_entropy": ((ROWS, CLASSES, 2, 0.1), 1),
    "mean_cross_entropy_grad": ((normal(), ROWS, CLASSES, LSE, np.array(5, np.float32), 0.1), 1),
    "soft_cross_entropy": ((ROWS, ROWS, 0.1), 1),
    "soft_cross_entropy_grad": ((normal(5), ROWS, ROWS, LSE, 0.1), 1),
    "dropout": ((X, X.shape, 0.3, 1 / 0.7, 1, 0), 1),
    "dropout_kept": ((X, np.ones(X.shape, bool), 1 / 0.7), 1),
    "erf": ((X,), 1),
    "add_relu": ((X, X[::-1].copy()), 1),
    "matmul": ((normal(3, 50), normal(50, 4)), 1),
    "bias_grad": ((X,), 1),
    "scatter_sum": ((np.arange(8) % 3, normal(8), 3), 1),
    "sample": ((X, np.full((3, 2, 2), 1.7), np.full((3, 2, 2), 2.2), False, 0.5), 1),
    "warp": ((X, np.tile(np.eye(3) + 0.1, (3, 1, 1)), False, 0.5), 1),
    "random_affine": ((X, np.full(6, 0.5), np.ones(6), np.array([2.0, 3.0]), False, 0.5, 1, 0), 1),
}
MOVE_NUMBERS = {
    "adaptive_max_pool2d", "im2col", "look_up_rows", "max_pool2d", "max_pool2d_at", "relu", "relu_grad", "reshape",
    "take_rows",
}  # fmt: skip
IN_PLACE = {"add_bias", "adadelta", "adagrad", "adam", "rmsprop", "sgd"}
OF_TWO = {"linear"}  # kernels, each of which rounds
CHECKS = {"check_index", "check_probabilities", "class_labels", "count_correct"}


def results(value: Any) -> list[Any]:
    return list(value) if isinstance(value, tuple) else [value]


def in_float32(value: Any) -> Any:
    """A float16 array, or a list of some, as float32."""
    if isinstance(value, list):
        return [in_float32(v) for v in value]
    return value.astype(np.float32) if getattr(value, "dtype", None) == np.float16 else value


@pytest.mark.parametrize("name", CASES)
def test_a_result_is_that_of_float32_rounded_once(name: str) -> None:
    (arguments, rounded), kernel = CASES[name], getattr(kernels, name)
    got = results(kernel(*arguments))
    expected = results(kernel(*map(in_float32, arguments)))
    expected[:rounded] = [y.astype(np.float16) for y in expected[:rounded]]
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(a, b, strict=True)


@pytest.mark.parametrize("name", sorted(IN_PLACE - {"add_bias"}))
def test_an_optimizer_rounds_once_too(name: str) -> None:
    numbers = {
        "sgd": (0.1, 0.9, 0.1, 0.1, True, False),
        "adam": ([2], 0.01, 0.9, 0.99, 1e-4, 0.1, False, True, False),
        "rmsprop": (0.01, 0.9, 1e-4, 0.1, 0.9, False, False),
        "adadelta": (1.0, 0.9, 1e-4, 0.1, False),
        "adagrad": ([2], 0.1, 0.1, 0.1, 1e-4, False),
    }[name]
    states = {"sgd": 1, "adam": 3, "rmsprop": 3, "adadelta": 2, "adagrad": 1}[name]
    half = [[abs(normal(3, 4 + i))[:, :4].T] for i in range(2 + states)]
    exact = in_float32(half)
    getattr(kernels, name)(*half, *numbers)
    getattr(kernels, name)(*exact, *numbers)
    for a, b in zip(half, exact, strict=True):
        np.testing.assert_array_equal(a[0], b[0].astype(np.float16), strict=True)


def test_sums_are_not_those_of_float16() -> None:
    """Adding ones in float16 stops at 2048; 65520 and more is infinite."""
    ones = np.ones((2, 3, 50, 50), np.float16)
    assert kernels.bias_grad(ones).tolist() == [5000, 5000, 5000]
    assert kernels.batch_norm_grad(ones, ones, None, np.zeros(3), np.ones(3), 0.0)[2].tolist() == [5000, 5000, 5000]
    assert kernels.avg_pool2d(ones, (50, 50), (1, 1), (0, 0), False, True, None).tolist() == [[[[1]]] * 3] * 2
    assert kernels.conv2d(ones[:1], ones[:1], None, (1, 1), (0, 0), (1, 1), 1).tolist() == [[[[7500]]]]
    rows, classes = np.zeros((70000, 2), np.float16), np.zeros(70000, np.int64)
    mean, _, _, count = kernels.mean_cross_entropy(rows, classes, -100, 0.0)
    assert (mean, count) == (np.float16(np.log(2)), 70000)


def test_every_kernel_is_here() -> None:
    assert set(CASES) | MOVE_NUMBERS | IN_PLACE | OF_TWO | CHECKS == set(kernels.__all__)
