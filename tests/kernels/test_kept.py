"""What is made of weights and kept: it must never be out of date, and go with the weights."""

import itertools

import numpy as np
import pytest
from tinygrad_mnist.kernels import kept as module
from tinygrad_mnist.kernels.kept import LARGEST, constant, kept


@pytest.fixture
def count():
    return itertools.count().__next__


def test_made_once_while_nothing_changes(count):
    w, b = np.zeros(3, np.float32), np.ones(2, np.float32)
    assert [kept(count, "a", w, b, None) for _ in range(3)] == [0, 0, 0]
    assert kept(count, "b", w, b, None) == 1  # another name, another thing
    assert kept(count, "a", w.copy(), b, None) == 2
    assert kept(count, "a", w, b, None) == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda w, b: w.__setitem__(1, 5),
        lambda w, b: w[::-1].__setitem__(0, 5),  # through a view
        lambda w, b: b.__setitem__(0, 5),
        lambda w, b: np.negative(w, out=w),  # 0 and -0 are equal, but not the same
    ],
)
def test_made_anew_after_every_change(change, count):
    w, b = np.zeros(3, np.float32), np.ones(2, np.float32)
    assert kept(count, "a", w, b) == 0
    change(w, b)
    assert [kept(count, "a", w, b) for _ in range(2)] == [1, 1]


def test_a_view_made_before_writes_to_what_cannot_be_written_to(count):
    w = np.zeros(3, np.float32)
    view = w[:]
    w.flags.writeable = False
    assert kept(count, "a", w) == 0
    view[1] = 5
    assert kept(count, "a", w) == 1


def test_what_is_constant_is_known_by_itself_not_by_its_bytes(count):
    w, b = constant(np.zeros(3)), constant(np.zeros(3))
    assert [kept(count, "a", w, b), kept(count, "a", w, b)] == [0, 0]
    w[1] = 5  # against the promise: nobody looks
    assert kept(count, "a", w, b) == 0
    b = constant(np.zeros(3))  # the same bytes, another array
    assert [kept(count, "a", w, b), kept(count, "a", w, b)] == [1, 1]
    assert kept(count, "a", w, np.zeros(3)) == 2


def test_constants_are_forgotten_when_they_go():
    before = len(module._constants)
    w = constant(np.zeros(3))
    assert len(module._constants) == before + 1
    del w
    assert len(module._constants) == before


def test_nan_is_no_change(count):
    w = np.full(3, np.nan)
    assert [kept(count, "a", w) for _ in range(2)] == [0, 0]


def test_it_goes_with_the_weights(count):
    before = len(module._kept)
    w = np.zeros(3)
    kept(count, "a", w)
    w[0] = 1
    kept(count, "a", w)
    assert len(module._kept) == before + 1
    del w
    assert len(module._kept) == before


def test_of_large_weights_nothing_is_kept(count):
    w = np.zeros(LARGEST + 1, np.uint8)
    assert [kept(count, "a", w) for _ in range(2)] == [0, 1]
