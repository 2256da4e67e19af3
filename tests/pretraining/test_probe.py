"""Nearest neighbours and the linear probe against loops and least squares by NumPy."""

import numpy as np
import pytest

import tinygrad_mnist as tg
from tinygrad_mnist.pretraining import knn_accuracy, linear_probe


def clouds(rng: np.random.Generator, n: int, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """n points in 4 dimensions around 3 centres, and which."""
    labels = rng.integers(0, 3, n)
    return (np.eye(3, 4)[labels] * 2 + rng.normal(size=(n, 4)) * spread).astype("f4"), labels


def slow_knn(known: np.ndarray, labels: np.ndarray, x: np.ndarray, k: int) -> list[int]:
    answers = []
    for row in x.astype("f8"):
        cosines = [row @ other / (np.linalg.norm(row) * np.linalg.norm(other)) for other in known.astype("f8")]
        votes = np.bincount(labels[np.argsort(cosines)[::-1][:k]], minlength=labels.max() + 1)
        answers.append(int(votes.argmax()))
    return answers


@pytest.mark.parametrize("k", [1, 4, 30])
def test_knn_by_a_loop(k: int, device: str, rng: np.random.Generator) -> None:
    (known, labels), (x, targets) = clouds(rng, 30, 1.0), clouds(rng, 20, 1.0)
    expected = np.mean(np.array(slow_knn(known, labels, x, k)) == targets)
    given = [tg.tensor(array, device=device) for array in (known, labels, x, targets)]
    assert knn_accuracy(*given, k=k) == expected
    assert 0 < expected < 1


@pytest.mark.parametrize("penalty", [1e-3, 1.0])
def test_the_probe_by_numpy_lstsq(penalty: float, device: str, rng: np.random.Generator) -> None:
    (known, labels), (x, targets) = clouds(rng, 60, 1.2), clouds(rng, 40, 1.2)
    mean, std = known.astype("f8").mean(0), known.astype("f8").std(0)
    a, b = (known - mean) / std, np.eye(3)[labels]
    rows = np.concatenate([a, np.sqrt(penalty * 60) * np.eye(4)])  # the penalty as further equations
    weight = np.linalg.lstsq(rows, np.concatenate([b - b.mean(0), np.zeros((4, 3))]), rcond=None)[0]
    expected = np.mean(((x - mean) / std @ weight + b.mean(0)).argmax(1) == targets)
    given = [tg.tensor(array, device=device) for array in (known, labels, x, targets)]
    assert linear_probe(*given, penalty=penalty) == expected
    assert 0.5 < expected < 1


def test_a_feature_that_never_varies_is_no_use_and_no_harm(rng: np.random.Generator) -> None:
    (known, labels), (x, targets) = clouds(rng, 60, 0.3), clouds(rng, 40, 0.3)
    with_constant = [np.concatenate([a, np.ones((len(a), 1), "f4")], 1) for a in (known, x)]
    given = [tg.tensor(array) for array in (with_constant[0], labels, with_constant[1], targets)]
    assert linear_probe(*given) == linear_probe(*(tg.tensor(a) for a in (known, labels, x, targets))) > 0.9


@pytest.mark.parametrize("function", [knn_accuracy, linear_probe])
@pytest.mark.parametrize("shapes", [
    [(5, 2), (4,), (3, 2), (3,)], [(5, 2), (5,), (3, 3), (3,)], [(5, 2), (5,), (0, 2), (0,)], [(5,), (5,), (3,), (3,)],
])  # fmt: skip
def test_shapes_that_do_not_fit(function: object, shapes: list[tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match=r"expected \(N, F\), \(N,\), \(M, F\) and \(M,\), none of them empty, got"):
        function(*(tg.zeros(*shape) for shape in shapes))


@pytest.mark.parametrize("k", [0, 6])
def test_more_neighbours_than_there_are(k: int) -> None:
    with pytest.raises(ValueError, match=f"expected k from 1 to 5, the number of known rows, got {k}"):
        knn_accuracy(tg.ones(5, 2), tg.zeros(5), tg.ones(1, 2), tg.zeros(1), k=k)
