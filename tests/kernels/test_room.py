"""Memory that a compiled function works in."""

import resource

import numpy as np
import pytest

pytest.importorskip("numba")

from numba import njit
from tinygrad_mnist.kernels.memory import LINE
from tinygrad_mnist.kernels.room import give_back, image_at, take


@njit
def _use(sizes, times):
    """Where rooms began, of these sizes, each filled with its own number and looked at when all were."""
    starts, right = np.zeros(len(sizes), np.int64), True
    for _ in range(times):
        for i in range(len(sizes)):
            starts[i] = take(sizes[i])
            image_at(starts[i], 1, 1, sizes[i])[:] = i
        for i in range(len(sizes)):
            for number in image_at(starts[i], 1, 1, sizes[i])[0, 0]:
                right &= number == i
            give_back(starts[i])
    return starts, right


def test_rooms_begin_at_lines_of_the_cache_and_do_not_overlap():
    starts, right = _use(np.array([15, 0, 7, 6, 1, 300_000]), 1)
    assert right
    assert (starts % LINE == 0).all()
    assert len(set(starts)) == 6


def test_what_is_given_back_is_free():
    _use(np.array([1_000_000]), 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _use(np.array([1_000_000, 1_000]), 200)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 100_000  # KiB, of 800,000 that were taken


@njit
def _second(address):
    x = image_at(address, 2, 3, 4)
    x[:] = np.arange(24).reshape(2, 3, 4)
    return x.shape, x.size, x[1].sum(), x[1, 2, 3]


@njit
def _in_a_room():
    address = take(24)
    found = _second(address)
    give_back(address)
    return found


def test_a_room_as_an_image():
    assert _in_a_room() == ((2, 3, 4), 24, 210, 23)
