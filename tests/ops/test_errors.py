"""What the ops refuse: the same kind of error as PyTorch, and a message that says what was got."""

import numpy as np
import pytest
from op_case import numpy, variable

from tinygrad_mnist import ops

X = variable(np.ones((2, 3)))
V = variable(np.ones(3))
S = variable(np.float64(1.0))
EMPTY = variable(np.ones((2, 0)))
INTS = variable(np.arange(3))
FLAGS = variable(np.ones(3, bool))
OUT_OF_RANGE = r"Dimension out of range \(expected to be in range of \[-2, 1\], but got 2\)"

ERRORS = [
    (lambda: ops.sum(X, 2), IndexError, OUT_OF_RANGE),
    (lambda: ops.sum(S, 1), IndexError, r"range of \[-1, 0\], but got 1"),
    (lambda: ops.sum(X, (0, -2)), RuntimeError, "dim 0 appears multiple times"),
    (lambda: ops.add(X, variable(np.ones(2))), RuntimeError, r"\(2, 3\) and \(2,\) cannot be broadcast"),
    (lambda: ops.add(X, "1"), TypeError, "expected a tensor or a number, got str"),
    (lambda: ops.add(X, [1, 2, 3]), TypeError, "got list"),
    (lambda: ops.add(X, None), TypeError, "got NoneType"),
    (lambda: ops.add(1, 2), TypeError, "at least one tensor"),
    (lambda: ops.expand(V, (3, 2)), RuntimeError, r"cannot expand a tensor of shape \(3,\) to \(3, 2\)"),
    (lambda: ops.floor_divide(INTS, 0), RuntimeError, "floor_divide: integer division by zero"),
    (lambda: ops.remainder(INTS, INTS), RuntimeError, "remainder: integer division by zero"),
    (lambda: ops.clamp(X), RuntimeError, "At least one of 'min' or 'max'|at least one of"),
    (lambda: ops.where(X, X, X), RuntimeError, "where: expected a bool tensor as condition, got float64"),
    (lambda: ops.pow(INTS, -1), RuntimeError, "negative integer powers"),
    (lambda: ops.gelu(X, "sigmoid"), RuntimeError, "approximate must be 'none' or 'tanh', got 'sigmoid'"),
    (lambda: ops.softmax(INTS, 0), NotImplementedError, "expected a floating dtype, got int64"),
    *((lambda f=f: f(INTS), RuntimeError, "floating point, got int64") for f in (ops.mean, ops.var, ops.std, ops.norm)),
    (lambda: ops.logsumexp(INTS, 0), RuntimeError, "floating point, got int64"),
    *(
        (lambda f=f: f(EMPTY, 1), IndexError, r"non-zero size, got shape \(2, 0\)")
        for f in (ops.amax, ops.amin, ops.argmax, ops.min)
    ),
    (lambda: ops.topk(V, 4), RuntimeError, "k is 4, dimension -1 has size 3"),
    (lambda: ops.reshape(X, (4,)), RuntimeError, r"shape '\[4\]' is invalid for input of size 6"),
    (lambda: ops.reshape(X, (-1, -1)), RuntimeError, "invalid for input of size 6"),
    (lambda: ops.permute(X, (0, 0)), RuntimeError, r"each of the 2 dimensions once, got \(0, 0\)"),
    (lambda: ops.movedim(X, (0, 1), 0), RuntimeError, "2 source and 1 destination"),
    (lambda: ops.flatten(X, 1, 0), RuntimeError, "start_dim 1 comes after end_dim 0"),
    (lambda: ops.squeeze(X, 2), IndexError, OUT_OF_RANGE),
    (lambda: ops.unsqueeze(X, 3), IndexError, r"range of \[-3, 2\], but got 3"),
    (lambda: ops.pad(X, [(0, 0), (-2, -2)]), RuntimeError, "takes more from shape"),
    (
        lambda: ops.pad(X, [(0, 0), (1, 1)], "mirror"),
        NotImplementedError,
        "'mirror', expected one of constant, reflect",
    ),
    (lambda: ops.pad(X, [(0, 0), (3, 0)], "reflect"), RuntimeError, "size 3: at most 2"),
    (lambda: ops.pad(EMPTY, [(0, 0), (1, 0)], "replicate"), RuntimeError, "size 0: at most 0"),
    (lambda: ops.cat([]), ValueError, "non-empty list"),
    (lambda: ops.cat([S, S]), RuntimeError, "zero-dimensional tensor"),
    (lambda: ops.cat([X, V]), RuntimeError, r"got \(2, 3\) at position 0 and \(3,\) at position 1"),
    (lambda: ops.stack([]), RuntimeError, "non-empty list"),
    (lambda: ops.stack([X, V]), RuntimeError, r"got \(2, 3\) at entry 0 and \(3,\) at entry 1"),
    (lambda: ops.split(X, 0), RuntimeError, "split_size to be positive, got 0"),
    (lambda: ops.split(X, [1, 3], 1), RuntimeError, r"\[1, 3\] to sum to 3"),
    (lambda: ops.chunk(X, 0), RuntimeError, "greater than 0, got 0"),
    (lambda: ops.repeat(X, (2,)), RuntimeError, r"got \(2,\) for shape \(2, 3\)"),
    (lambda: ops.tril(V), RuntimeError, r"at least 2 dimensions, got shape \(3,\)"),
    (lambda: ops.getitem(X, 2), IndexError, "(?i)index 2 is out of bounds"),
    (lambda: ops.getitem(X, (0, 0, 0)), IndexError, "too many indices"),
    (lambda: ops.getitem(X, INTS), IndexError, "an index is 2|index 2 is out of bounds"),
    (lambda: ops.getitem(X, V), IndexError, "must be integers or bools, got float64"),
    (lambda: ops.getitem(X, np.ones(3)), IndexError, "must be integers or bools, got float64"),
    (lambda: ops.getitem(X, slice(None, None, -1)), ValueError, "greater than zero, got -1"),
    (lambda: ops.getitem(V, np.ones(2, bool)), IndexError, "boolean index"),
    (lambda: ops.setitem(X, 0, variable(np.ones(2))), RuntimeError, r"input of shape \(2, 3\)"),
    (lambda: ops.gather(X, 0, INTS), RuntimeError, "index has 1 dimensions, expected as many as the input: 2"),
    (lambda: ops.gather(X, 0, variable(np.zeros((1, 4), int))), RuntimeError, "larger than the input"),
    (lambda: ops.gather(V, 0, variable(np.array([3]))), IndexError, "an index is 3|index 3 is out of bounds"),
    (lambda: ops.gather(V, 0, variable(np.array([-1]))), IndexError, "index -1 is out of bounds"),
    (lambda: ops.index_select(X, 0, variable(np.zeros((1, 1), int))), IndexError, "supposed to be a vector"),
    (lambda: ops.one_hot(V), RuntimeError, "expected an integer tensor, got float64"),
    (lambda: ops.one_hot(INTS, 2), RuntimeError, r"smaller than num_classes \(2\), got 2"),
    (lambda: ops.one_hot(variable(np.array([-1]))), RuntimeError, "non-negative"),
    (lambda: ops.matmul(X, X), RuntimeError, r"shapes \(2, 3\) and \(2, 3\) cannot be multiplied: 3 columns .* 2 rows"),
    (lambda: ops.matmul(X, S), RuntimeError, "at least 1 dimension, got 2 and 0"),
    (lambda: ops.matmul(X, variable(np.ones(3, "float32"))), RuntimeError, "same dtype, got float64 and float32"),
    (lambda: ops.mm(X, V), RuntimeError, r"mm: expected 2-d and 2-d tensors, got shapes \(2, 3\) and \(3,\)"),
    (
        lambda: ops.bmm(variable(np.ones((1, 2, 3))), variable(np.ones((2, 3, 2)))),
        RuntimeError,
        "same number of matrices",
    ),
    (
        lambda: ops.matmul(variable(np.ones((2, 2, 3))), variable(np.ones((3, 3, 2)))),
        RuntimeError,
        r"batch .*\(2, 2, 3\)",
    ),
    (lambda: ops.einsum("ij", X, X), RuntimeError, "names 1 operands, got 2"),
    (lambda: ops.einsum("i", X), RuntimeError, "'i' do not match an operand with 2 dimensions"),
    (lambda: ops.einsum("i1->i", X), RuntimeError, "invalid subscript '1'"),
    (lambda: ops.einsum("ij->k", X), RuntimeError, "output subscript 'k'"),
    (lambda: ops.einsum("ij,jk", X, X), RuntimeError, "subscript j has size 2 for operand 1 .* seen size 3"),
]


@pytest.fixture(autouse=True)
def _inputs_on_the_device(default_device, monkeypatch):
    for name in ("X", "V", "S", "EMPTY", "INTS", "FLAGS"):
        monkeypatch.setitem(globals(), name, variable(globals()[name].array))


@pytest.mark.parametrize(("call", "error", "message"), ERRORS, ids=range(len(ERRORS)))
def test_error(call, error, message):
    with pytest.raises(error, match=message):
        numpy(call())  # on a GPU, an index out of range shows when it is waited for
