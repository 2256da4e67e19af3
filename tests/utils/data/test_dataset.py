"""Datasets: samples and whole batches agree; splits."""

import numpy as np
import pytest
import torch

import tinygrad_mnist as tg
from tinygrad_mnist.datasets import MNIST
from tinygrad_mnist.transforms import ToTensor
from tinygrad_mnist.utils.data import (
    ConcatDataset,
    Dataset,
    IterableDataset,
    Subset,
    TensorDataset,
    default_collate,
    mean_and_std,
    random_split,
    sample_per_class,
)


def pairs(n: int, start: int = 0) -> TensorDataset:
    return TensorDataset(tg.arange(start, start + n), tg.arange(start, start + n) * 10.0)


class Named(Dataset):
    """Samples with no fetch_batch of their own: a number and a string."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return {"i": index, "name": str(index)}


class Negative(TensorDataset):
    """Changes the samples of a dataset that has a fetch_batch."""

    def __getitem__(self, index):
        x, y = super().__getitem__(index)
        return -x, y


class AtOnce(Dataset):
    """PyTorch's protocol: a list of samples at once."""

    def __getitems__(self, indices):
        return [i * 2 for i in indices]


DATASETS = {
    "tensors": (pairs(6), [3, 1, 5, 1]),
    "subset": (Subset(pairs(6), [5, 4, 0]), [2, 0]),
    "subset of a list": (Subset([1.0, 2.0, 3.0], [2, 0]), [0, 1]),
    "concat": (pairs(3) + pairs(2, 100) + pairs(1, 200), [4, 0, 5, 3, 1, -1]),
    "concat, one part": (pairs(3) + pairs(2, 100), [4, 3]),
    "concat of subsets": (ConcatDataset([Subset(pairs(5), [4, 2]), Subset(pairs(5, 50), [1])]), [2, 0, 1]),
    "concat of dicts": (Named() + Named(), [5, 1]),
    "concat with a list": (ConcatDataset([[1, 2], [3]]), [2, 0]),
    "dicts": (Named(), [3, 0]),
    "changed samples": (Negative(tg.arange(3), tg.arange(3)), [2, 1]),
    "subset of changed samples": (Subset(Negative(tg.arange(3), tg.arange(3)), [2, 1]), [1, 0]),
}


def plain(batch):
    """A batch as nested Python values."""
    if isinstance(batch, tg.Tensor):
        return str(batch.dtype), batch.tolist()
    if isinstance(batch, dict):
        return {key: plain(value) for key, value in batch.items()}
    return [plain(x) for x in batch] if isinstance(batch, list | tuple) else batch


@pytest.mark.parametrize("name", DATASETS)
def test_a_batch_is_its_samples_collated(name):
    dataset, indices = DATASETS[name]
    assert plain(dataset.fetch_batch(indices)) == plain(default_collate([dataset[i] for i in indices]))


def test_lengths():
    assert {name: len(dataset) for name, (dataset, _) in DATASETS.items()} == {
        "tensors": 6, "subset": 3, "subset of a list": 2, "concat": 6, "concat, one part": 5, "concat of subsets": 3,
        "concat of dicts": 8, "concat with a list": 3, "dicts": 4, "changed samples": 3,
        "subset of changed samples": 2,
    }  # fmt: skip


def test_in_memory_sets_are_not_asked_sample_by_sample(monkeypatch):
    def refuse(self, index):
        raise AssertionError("asked for one sample")

    monkeypatch.setattr(TensorDataset, "__getitem__", refuse)
    dataset = ConcatDataset([Subset(pairs(5), [4, 2]), pairs(3)])
    assert plain(dataset.fetch_batch([0, 4])) == [("int64", [4, 2]), ("float32", [40.0, 20.0])]


def test_samples_all_at_once():
    assert AtOnce().fetch_batch([1, 4]).tolist() == [2, 8]


def test_tensor_dataset_on_a_device(device):
    x, y = TensorDataset(tg.arange(5).to(device), tg.zeros(5, 2, device=device)).fetch_batch([4, 0])
    assert (x.device.type, x.tolist(), tuple(y.shape)) == (device, [4, 0], (2, 2))


def test_concat_finds_every_sample():
    dataset = ConcatDataset([[0, 1], [], [2, 3, 4]])
    assert [dataset[i] for i in range(5)] == [0, 1, 2, 3, 4]
    assert [dataset[i] for i in range(-5, 0)] == [0, 1, 2, 3, 4]
    for index in (5, -6):
        with pytest.raises(IndexError, match="out of range for 5 samples"):
            dataset[index]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TensorDataset(), "at least one tensor"),
        (lambda: TensorDataset(tg.zeros(3), tg.zeros(2, 3)), r"size mismatch.*\(3,\), \(2, 3\)"),
        (lambda: TensorDataset(tg.tensor(1.0)), "size mismatch"),
        (lambda: ConcatDataset([]), "at least one dataset"),
        (lambda: ConcatDataset([IterableDataset()]), "IterableDataset"),
    ],
)
def test_bad_datasets(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_methods_that_a_subclass_must_write():
    with pytest.raises(NotImplementedError, match="__getitem__"):
        Dataset()[0]
    with pytest.raises(NotImplementedError, match="__iter__"):
        iter(IterableDataset())


def generator() -> tg.Generator:
    return tg.Generator().manual_seed(0)


@pytest.mark.parametrize("n", [0, 1, 7, 10, 101])
@pytest.mark.parametrize("fractions", [[0.5, 0.5], [0.8, 0.1, 0.1], [1.0], [0.1] * 10, [0.3, 0.0, 0.7]])
@pytest.mark.filterwarnings("ignore:.*[Ll]ength of split|random_split. the part")
def test_fractions_give_pytorch_s_lengths(n, fractions):
    ours = [len(part) for part in random_split(range(n), fractions, generator())]
    assert ours == [len(part) for part in torch.utils.data.random_split(range(n), fractions)]


def test_split_covers_all_once_and_depends_on_the_generator():
    a, b = random_split(range(100), [30, 70], generator())
    assert sorted(a.indices + b.indices) == list(range(100))
    assert random_split(range(100), [30, 70], generator())[0].indices == a.indices
    assert random_split(range(100), [30, 70], generator().manual_seed(1))[0].indices != a.indices
    assert a.indices != list(range(30))
    tg.manual_seed(0)
    assert random_split(range(100), [30, 70])[0].indices == a.indices


def test_split_warns_of_an_empty_part():
    with pytest.warns(UserWarning, match="index 1 is empty"):
        random_split(range(3), [0.99, 0.01])


@pytest.mark.parametrize("lengths", [[0.7, 0.3], [60, 40], [33, 33, 34], [100, 0], [1, 99]])
def test_stratified_parts_have_their_share_of_every_class(lengths, rng):
    labels = rng.permutation(np.repeat([0, 3, 7, 8], [50, 30, 19, 1]))
    parts = random_split(range(100), lengths, generator(), stratify=tg.tensor(labels))
    sizes = [round(100 * x) if isinstance(x, float) else x for x in lengths]
    assert [len(part) for part in parts] == sizes
    assert sorted(i for part in parts for i in part.indices) == list(range(100))
    for part, size in zip(parts, sizes, strict=True):
        for label in (0, 3, 7, 8):
            share = (labels == label).sum() * size / 100
            assert abs((labels[part.indices] == label).sum() - share) < len(lengths)


def test_stratified_split_is_random_within_a_class_and_shuffled():
    labels = [0] * 50 + [1] * 50
    first = random_split(range(100), [50, 50], generator(), stratify=labels)[0].indices
    other = random_split(range(100), [50, 50], generator().manual_seed(1), stratify=labels)[0].indices
    assert set(first) != set(other)
    assert sorted(first) != first
    assert not all(i < 50 for i in first[:25])


@pytest.mark.parametrize(
    ("lengths", "options", "message"),
    [
        ([3, 4], {}, "sum of input lengths, 7, does not equal the length of the input dataset, 10"),
        ([0.5, 0.4], {}, "fractions that sum to 1"),
        ([1.5, -0.5], {}, "fraction at index 0 is not between 0 and 1, got 1.5"),
        ([5, 5], {"stratify": [0, 1]}, r"a label for each of 10 samples, got shape \(2,\)"),
    ],
)
def test_bad_splits(lengths, options, message):
    with pytest.raises(ValueError, match=message):
        random_split(range(10), lengths, **options)


def test_samples_per_class_are_balanced_random_and_seeded():
    labels = np.repeat([7, 0, 3], [50, 20, 5])
    draw = sample_per_class(range(75), 5, tg.tensor(labels), generator())
    assert {label: int((labels[draw.indices] == label).sum()) for label in (0, 3, 7)} == {0: 5, 3: 5, 7: 5}
    assert len(set(draw.indices)) == 15
    assert sample_per_class(range(75), 5, labels, generator()).indices == draw.indices
    assert sample_per_class(range(75), 5, labels, generator().manual_seed(1)).indices != draw.indices
    tg.manual_seed(0)
    assert sample_per_class(range(75), 5, labels).indices == draw.indices
    counts = np.zeros(75)
    for seed in range(400):
        counts[sample_per_class(range(75), 5, labels, generator().manual_seed(seed)).indices] += 1
    assert (counts[70:] == 400).all()
    # Each of the 50 sevens has a chance of 0.1: 40 times of 400, sd 6.
    assert counts[:50].min() > 15
    assert counts[:50].max() < 65


@pytest.mark.parametrize(
    ("count", "labels", "message"),
    [
        (4, [0] * 6 + [1] * 3 + [2], "4 samples of each class were asked for, but class 1 has 3; ask for at most 1"),
        (0, [0] * 10, "count of at least 1, got 0"),
        (1, [0] * 9, r"expected labels to have a label for each of 10 samples, got shape \(9,\)"),
    ],
)
def test_samples_per_class_that_are_not_there(count, labels, message):
    with pytest.raises(ValueError, match=f"sample_per_class: .*{message}"):
        sample_per_class(range(10), count, labels)


def test_no_classes_give_no_samples():
    assert sample_per_class([], 3, np.zeros(0, int)).indices == []


def test_mean_and_std_by_channel(rng):
    x = (rng.random((23, 3, 4, 5)) * [[[1]], [[2]], [[5]]] + [[[0]], [[9]], [[1]]]).astype("f4")
    mean, std = mean_and_std(Subset(TensorDataset(tg.tensor(x), tg.zeros(23)), range(3, 20)), batch_size=4)
    np.testing.assert_allclose(mean, x[3:20].mean((0, 2, 3), np.float64), rtol=1e-6)
    np.testing.assert_allclose(std, x[3:20].std((0, 2, 3), np.float64), rtol=1e-6)
    assert mean_and_std(TensorDataset(tg.full((7, 1, 3, 3), 0.1))) == (pytest.approx((0.1,)), (0.0,))


def test_mean_and_std_of_mnist_is_what_everyone_uses():
    mean, std = mean_and_std(MNIST(transform=ToTensor()))
    assert [round(value, 4) for value in (*mean, *std)] == [0.1307, 0.3081]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (tg.zeros(2, 1, 3, 3, dtype=tg.uint8), r"float images \(N, C, H, W\), got uint8 \(2, 1, 3, 3\); give"),
        (tg.zeros(2, 3, 3), r"got float32 \(2, 3, 3\)"),
        (tg.zeros(0, 1, 3, 3), "the dataset has no images"),
    ],
)
def test_mean_and_std_of_what_has_none(images, message):
    with pytest.raises(ValueError, match=message):
        mean_and_std(TensorDataset(images))
