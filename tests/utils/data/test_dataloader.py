"""The DataLoader in one process: batches, arguments, random numbers, position. See test_worker.py for processes."""

import copy
import random

import numpy as np
import pytest
import torch

import tinygrad_mnist as tg
from tinygrad_mnist.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    get_worker_info,
)


class Noisy(Dataset):
    """Samples with a random number from each global source."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return index, tg.rand(1).item(), np.random.rand(), random.random()  # noqa: NPY002


class Stream(IterableDataset):
    """0 to 6, without a length."""

    def __iter__(self):
        return iter(range(7))


class SizedStream(Stream):
    def __len__(self):
        return 7


def values(loader) -> list:
    """The batches of one epoch as nested lists."""
    return [[x.tolist() for x in b] if isinstance(b, list) else b.tolist() for b in loader]


def generator(seed: int = 0) -> tg.Generator:
    return tg.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"batch_size": 3},
        {"batch_size": 3, "drop_last": True},
        {"batch_size": 20, "drop_last": True},
        {"batch_size": None},
        {"batch_size": 2, "sampler": [4, 1, 1]},
        {"batch_size": None, "sampler": [4, 1, 1]},
        {"batch_sampler": [[0, 3], [2]]},
        {"batch_size": 2, "collate_fn": lambda samples: type(samples[0])(samples[-1])},
        {"batch_size": 4, "pin_memory": False, "shuffle": False},
    ],
    ids=lambda options: ",".join(options),
)
@pytest.mark.parametrize("dataset", [list(range(10)), list(np.arange(10) / 4)], ids=["ints", "numpy"])
def test_batches_equal_pytorch_s(dataset, options):
    ours, theirs = DataLoader(dataset, **options), torch.utils.data.DataLoader(dataset, **options)
    assert len(ours) == len(theirs)
    ours, theirs = list(ours), list(theirs)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert getattr(a, "tolist", lambda a=a: a)() == getattr(b, "tolist", lambda b=b: b)()
        assert isinstance(a, tg.Tensor) == isinstance(b, torch.Tensor)


@pytest.mark.parametrize(
    ("batch_size", "drop_last"), [(1, False), (1, True), (3, False), (3, True), (None, False)]
)
def test_iterable_datasets_equal_pytorch_s(batch_size, drop_last):
    class Theirs(torch.utils.data.IterableDataset):
        __iter__ = SizedStream.__iter__
        __len__ = SizedStream.__len__

    options = {"batch_size": batch_size, "drop_last": drop_last}
    ours, theirs = DataLoader(SizedStream(), **options), torch.utils.data.DataLoader(Theirs(), **options)
    assert len(ours) == len(theirs)
    for _ in range(2):
        assert [getattr(b, "tolist", lambda b=b: b)() for b in ours] == [
            getattr(b, "tolist", lambda b=b: b)() for b in theirs
        ]


def test_a_stream_without_a_length_has_none():
    with pytest.raises(TypeError, match="len"):
        len(DataLoader(Stream()))


def test_batches_come_from_fetch_batch_unless_there_is_a_collate_fn():
    class Whole(TensorDataset):
        def fetch_batch(self, indices):
            return "whole"

    dataset = Whole(tg.arange(4))
    assert list(DataLoader(dataset, 2)) == ["whole", "whole"]
    assert list(DataLoader(dataset, 2, collate_fn=len)) == [2, 2]


def test_shuffle_is_a_new_order_each_epoch_that_the_seed_decides():
    loader = DataLoader(range(20), 5, shuffle=True, generator=generator())
    first, second = values(loader), values(loader)
    assert sorted(np.concatenate(first)) == sorted(np.concatenate(second)) == list(range(20))
    assert first != second
    again = DataLoader(range(20), 5, shuffle=True, generator=generator())
    assert (values(again), values(again)) == (first, second)
    assert values(DataLoader(range(20), 5, shuffle=True, generator=generator(1))) != first
    tg.manual_seed(0)
    assert values(DataLoader(range(20), 5, shuffle=True)) == first


def test_each_batch_has_random_numbers_of_its_own():
    def epoch() -> list:
        return values(DataLoader(Noisy(), 5, generator=generator()))

    first = epoch()
    assert first == epoch()
    for source in (1, 2, 3):
        numbers = first[0][source] + first[1][source]
        assert len(set(numbers)) == 10


def test_random_numbers_outside_are_not_touched():
    def draws() -> tuple:  # normal numbers are made in pairs, of which NumPy keeps the second
        return tg.rand(1).item(), np.random.rand(), np.random.randn(), random.random(), random.gauss()  # noqa: NPY002

    def seed() -> None:
        tg.manual_seed(3)
        np.random.seed(3)  # noqa: NPY002
        random.seed(3)

    seed()
    expected = [draws() for _ in range(3)]
    seed()
    loader = iter(DataLoader(Noisy(), 5, generator=generator()))
    found = [draws()]
    for _ in loader:
        found.append(draws())
    assert found == expected


def test_a_loader_inside_a_dataset_leaves_its_random_numbers_alone():
    class Nested(Noisy):
        nests = False

        def __getitem__(self, index):
            before = np.random.rand(), random.random()  # noqa: NPY002
            if self.nests:
                list(DataLoader(Noisy(), 5, generator=generator()))
            return *before, np.random.rand(), random.random()  # noqa: NPY002

    dataset = Nested()
    expected = values(DataLoader(dataset, 5, generator=generator()))
    dataset.nests = True
    assert values(DataLoader(dataset, 5, generator=generator())) == expected


@pytest.mark.parametrize("taken", [0, 1, 3, 4])
@pytest.mark.parametrize("given", [True, False], ids=["own generator", "default generator"])
@pytest.mark.parametrize(
    "make",
    [
        lambda g: DataLoader(Noisy(), 3, shuffle=True, generator=g),
        lambda g: DataLoader(Noisy(), 3, sampler=RandomSampler(Noisy(), True, 12, generator=g)),
        lambda g: DataLoader(
            Noisy(), batch_sampler=BatchSampler(WeightedRandomSampler([1] * 10, 12, generator=g), 3, True)
        ),
        lambda g: DataLoader(Noisy(), None, sampler=[1, 2, 3, 4, 5, 6], generator=g),
    ],
    ids=["shuffle", "sampler", "batch_sampler", "single samples"],
)
def test_an_interrupted_epoch_goes_on_bit_for_bit(make, given, taken):
    def new(seed: int) -> DataLoader:
        if given:
            return make(generator(seed))
        tg.manual_seed(seed)
        return make(None)

    loader = new(0)
    list(loader)
    iterator = iter(loader)
    for _ in range(taken):
        next(iterator)
        if not given:
            tg.rand(5)  # as dropout would
    state = copy.deepcopy(loader.state_dict())
    rest = [list(map(str, batch)) for batch in iterator], [list(map(str, batch)) for batch in loader]
    loader = new(5)
    next(iter(loader))
    loader.load_state_dict(state)
    assert str(loader.state_dict()) == str(state)
    assert ([list(map(str, batch)) for batch in loader], [list(map(str, batch)) for batch in loader]) == rest
    assert len(rest[0]) == len(loader) - taken


def test_position_between_epochs_and_after_a_break():
    loader = DataLoader(range(6), 2, shuffle=True, generator=generator())
    assert loader.state_dict()["batches"] == 0
    for _ in loader:
        break
    state = loader.state_dict()
    assert state["batches"] == 1
    list(loader)
    assert loader.state_dict()["batches"] == 0
    after = values(loader)
    other = DataLoader(range(6), 2, shuffle=True, generator=generator())
    other.load_state_dict(state)
    assert len(values(other)) == 2
    assert values(other) != after  # one epoch behind
    assert values(other) == after


def test_a_stream_goes_on_where_it_was():
    loader = DataLoader(Stream(), 2)
    iterator = iter(loader)
    next(iterator)
    state = loader.state_dict()
    assert values(iterator) == [[2, 3], [4, 5], [6]]
    loader.load_state_dict(state)
    assert values(loader) == [[2, 3], [4, 5], [6]]
    assert len(values(loader)) == 4


def test_position_survives_an_error():
    class Fails(Noisy):
        def __getitem__(self, index):
            if index == 7:
                raise KeyboardInterrupt
            return index

    loader = DataLoader(Fails(), 2)
    iterator = iter(loader)
    with pytest.raises(KeyboardInterrupt):
        list(iterator)
    assert loader.state_dict()["batches"] == 3
    with pytest.raises(StopIteration):
        next(iterator)


def test_no_worker_here():
    assert get_worker_info() is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_workers": -1}, "non-negative"),
        ({"timeout": -1}, "non-negative"),
        ({"num_workers": 1, "prefetch_factor": -1}, "non-negative"),
        ({"prefetch_factor": 2}, "prefetch_factor option needs num_workers > 0"),
        ({"persistent_workers": True}, "persistent_workers option needs num_workers > 0"),
        ({"timeout": 1}, "timeout option needs num_workers > 0"),
        ({"sampler": [0], "shuffle": True}, "mutually exclusive with shuffle"),
        ({"batch_sampler": [[0]], "batch_size": 2}, "mutually exclusive with batch_size"),
        ({"batch_sampler": [[0]], "shuffle": True}, "mutually exclusive with batch_size"),
        ({"batch_sampler": [[0]], "drop_last": True}, "mutually exclusive with batch_size"),
        ({"batch_size": None, "drop_last": True}, "mutually exclusive with drop_last"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"dataset": Stream(), "shuffle": True}, "unspecified shuffle option, but got shuffle=True"),
        ({"dataset": Stream(), "sampler": [1]}, "unspecified sampler option"),
        ({"dataset": Stream(), "batch_sampler": [[1]]}, "unspecified batch_sampler option"),
        ({"dataset": [], "shuffle": True}, "num_samples=0"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        DataLoader(**{"dataset": [1, 2, 3], **options})


def test_a_state_with_other_generators_is_refused():
    state = DataLoader([1, 2], sampler=RandomSampler([1, 2], generator=generator())).state_dict()
    with pytest.raises(ValueError, match="2 generators, this loader 1"):
        DataLoader([1, 2]).load_state_dict(state)
