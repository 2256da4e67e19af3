"""Samplers: which indices, how often, and from whose random numbers."""

import numpy as np
import pytest

import tinygrad_mnist as tg
from tinygrad_mnist.utils.data import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)


def generator(seed: int = 0) -> tg.Generator:
    return tg.Generator().manual_seed(seed)


MAKE = {
    "random": lambda g: RandomSampler(range(20), generator=g),
    "random with replacement": lambda g: RandomSampler(range(20), True, 50, generator=g),
    "random, more than all": lambda g: RandomSampler(range(20), num_samples=50, generator=g),
    "subset": lambda g: SubsetRandomSampler([3, 1, 4, 15, 9], generator=g),
    "weighted": lambda g: WeightedRandomSampler(np.arange(10), 30, generator=g),
    "weighted without replacement": lambda g: WeightedRandomSampler([1.0] * 20, 15, False, generator=g),
}


@pytest.mark.parametrize("name", MAKE)
def test_order_is_the_generator_s(name):
    first = list(MAKE[name](generator()))
    assert len(first) == len(MAKE[name](generator()))
    assert first == list(MAKE[name](generator()))
    assert first != list(MAKE[name](generator(1)))
    tg.manual_seed(0)
    sampler = MAKE[name](None)
    assert list(sampler) == first
    assert list(sampler) != first
    assert all(type(i) is int for i in first)


@pytest.mark.parametrize("name", MAKE)
def test_all_draws_are_made_when_the_iteration_starts(name):
    g = generator()
    iterator = iter(BatchSampler(MAKE[name](g), 2, False))
    state = g.get_state().tolist()
    assert state != generator().get_state().tolist()
    list(iterator)
    assert g.get_state().tolist() == state


def test_sequential():
    sampler = SequentialSampler("abc")
    assert list(sampler) == [0, 1, 2]
    assert len(sampler) == 3


def test_random_gives_every_index_once():
    assert sorted(RandomSampler(range(20), generator=generator())) == list(range(20))


def test_random_beyond_the_set_gives_all_before_any_comes_again():
    order = list(RandomSampler(range(20), num_samples=50, generator=generator()))
    assert sorted(order[:20]) == sorted(order[20:40]) == list(range(20))
    assert len(set(order[40:])) == 10


def test_random_with_replacement_is_uniform():
    counts = np.bincount(list(RandomSampler(range(4), True, 4000, generator())), minlength=4)
    assert abs(counts - 1000).max() < 5 * (4000 * 0.25 * 0.75) ** 0.5


def test_weights():
    counts = np.bincount(list(WeightedRandomSampler([0, 1, 3], 4000, generator=generator())), minlength=3)
    assert counts[0] == 0
    assert abs(counts[1] - 1000) < 5 * (4000 * 0.25 * 0.75) ** 0.5
    without = list(WeightedRandomSampler([1, 0, 1, 1], 3, replacement=False, generator=generator()))
    assert sorted(without) == [0, 2, 3]


@pytest.mark.parametrize(
    ("drop_last", "expected"), [(False, [[0, 1, 2], [3, 4, 5], [6]]), (True, [[0, 1, 2], [3, 4, 5]])]
)
def test_batches(drop_last, expected):
    sampler = BatchSampler(range(7), 3, drop_last)
    assert list(sampler) == expected
    assert len(sampler) == len(expected)


def test_batches_that_fit():
    for drop_last in (False, True):
        assert list(BatchSampler(range(4), 2, drop_last)) == [[0, 1], [2, 3]]
        assert list(BatchSampler(range(0), 2, drop_last)) == []


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: RandomSampler([], generator=None), ValueError, "num_samples=0"),
        (lambda: RandomSampler([1], num_samples=-1), ValueError, "num_samples=-1"),
        (lambda: RandomSampler([1], replacement=1), TypeError, "replacement=1"),
        (lambda: WeightedRandomSampler([1.0], 0), ValueError, "num_samples=0"),
        (lambda: WeightedRandomSampler([1.0], True), ValueError, "num_samples=True"),
        (lambda: WeightedRandomSampler([1.0], 1, replacement=None), ValueError, "replacement=None"),
        (lambda: WeightedRandomSampler([[1.0]], 1), ValueError, r"1d sequence.*\(1, 1\)"),
        (lambda: WeightedRandomSampler([1.0, -1.0], 1), ValueError, "at least 0"),
        (lambda: WeightedRandomSampler([0.0], 1), ValueError, "not all 0"),
        (lambda: WeightedRandomSampler([1.0, 0.0], 2, False), ValueError, "2 samples without replacement from 1"),
        (lambda: BatchSampler([1], 0, False), ValueError, "batch_size=0"),
        (lambda: BatchSampler([1], 1.5, False), ValueError, "batch_size=1.5"),
        (lambda: BatchSampler([1], 1, 1), ValueError, "drop_last=1"),
        (lambda: iter(Sampler()), NotImplementedError, "__iter__"),
    ],
)
def test_bad_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()
