"""Label propagation against a slow loop, and on two rings that no straight line can part."""

import numpy as np
import pytest

import tinygrad_mnist as tg
from tinygrad_mnist.finetune import NeighbourGraph, neighbour_graph, propagate, propagate_labels, surest


def slow_graph(x: np.ndarray, k: int) -> list[dict[int, float]]:
    """Of each sample its neighbours and their weights."""
    found = []
    for i, row in enumerate(x):
        cosines = {j: row @ y / np.linalg.norm(row) / np.linalg.norm(y) for j, y in enumerate(x) if j != i}
        nearest = sorted(cosines, key=lambda j: -cosines[j])[:k]
        weights = {j: max(cosines[j], 1e-6) ** 3 for j in nearest}
        found.append({j: w / sum(weights.values()) for j, w in weights.items()})
    return found


@pytest.mark.parametrize("k", [1, 3, 11])
def test_the_graph_by_a_loop(
    k: int, device: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(propagate, "ROWS", 5)
    x = rng.normal(size=(12, 4))
    graph = neighbour_graph(tg.tensor(x, device=device), k)
    index, weight = graph.neighbours.cpu().numpy(), graph.weight.cpu().numpy()
    for i, expected in enumerate(slow_graph(x, k)):
        assert dict(zip(index[i].tolist(), weight[i].tolist(), strict=True)) == pytest.approx(expected, rel=1e-9)


def test_propagation_by_a_loop(device: str, rng: np.random.Generator) -> None:
    x = rng.normal(size=(12, 4))
    labels = np.full(12, -1)
    labels[[0, 3, 5]] = [2, 0, 2]
    graph = neighbour_graph(tg.tensor(x, device=device), 3)
    found = propagate_labels(graph, tg.tensor(labels, device=device), steps=4).cpu().numpy()
    p = np.zeros((12, 3))
    for step in range(5):
        if step:
            p = np.array([sum(w * p[j] for j, w in row.items()) for row in slow_graph(x, 3)])
        for i in (0, 3, 5):
            p[i] = np.eye(3)[labels[i]]
    total = p.sum(1, keepdims=True)
    np.testing.assert_allclose(found, np.divide(p, total, where=total > 0, out=np.zeros_like(p)), rtol=1e-9)
    assert (total == 0).any() or (found.sum(1) > 0.99).all()


def test_what_no_label_reaches_stays_zero() -> None:
    graph = NeighbourGraph(tg.tensor([[1], [0], [3], [2]]), tg.ones(4, 1))
    found = propagate_labels(graph, tg.tensor([1, -1, -1, -1]))
    assert found.tolist() == [[0, 1], [0, 1], [0, 0], [0, 0]]


def test_classes_follow_the_shape_of_the_data(rng: np.random.Generator) -> None:
    """Two rings around the same axis: two labels are enough, and a linear probe would need a curve."""
    turn = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    ring = np.stack([np.cos(turn), np.sin(turn)], 1)
    x = np.concatenate([np.c_[ring * 0.5, np.ones(60)], np.c_[ring * 1.5, np.ones(60)]])
    labels = np.full(120, -1)
    labels[[7, 88]] = [0, 1]
    p = propagate_labels(neighbour_graph(tg.tensor(x), 4), tg.tensor(labels), steps=400)
    assert p.argmax(1).tolist() == [0] * 60 + [1] * 60


@pytest.mark.parametrize(("shape", "k"), [((5, 2), 5), ((5, 2), 0), ((5,), 2), ((0, 2), 1)])
def test_graphs_that_cannot_be(shape: tuple[int, ...], k: int) -> None:
    with pytest.raises(ValueError, match=r"expected features \(N, F\) and 1 <= k < N, got"):
        neighbour_graph(tg.zeros(*shape), k)


def test_labels_that_do_not_fit() -> None:
    graph = neighbour_graph(tg.rand(4, 2), 2)
    with pytest.raises(ValueError, match=r"a label or -1 for each of 4 samples, got \(3,\)"):
        propagate_labels(graph, tg.tensor([0, 1, -1]))
    with pytest.raises(ValueError, match="no label is known"):
        propagate_labels(graph, tg.full((4,), -1))


def test_the_surest_of_each_class(device: str) -> None:
    p = tg.tensor([[0.6, 0.4], [0.2, 0.8], [0.9, 0.1], [0.3, 0.7], [0.7, 0.3], [0.0, 1.0]], device=device)
    assert surest(p, 0.7).tolist() == [2, 4, 5, 1]
    assert surest(p, 1.0).tolist() == [2, 4, 0, 5, 1, 3]
    with pytest.raises(ValueError, match="a share above 0, at most 1, got 0"):
        surest(p, 0)
