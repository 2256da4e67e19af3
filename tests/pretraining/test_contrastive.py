"""The contrastive loss against a slow loop and torch, and what its batches hold."""

import numpy as np
import pytest
import torch

import tinygrad_mnist as tg
from tinygrad_mnist import nn, pretraining
from tinygrad_mnist.autograd.gradcheck import gradcheck, gradgradcheck
from tinygrad_mnist.pretraining import Views, nt_xent


def slow_nt_xent(z: np.ndarray, targets: np.ndarray, temperature: float) -> float:
    """One pair at a time, by the formula."""
    cosine = lambda a, b: sum(a * b) / (np.sqrt(sum(a * a)) * np.sqrt(sum(b * b)))  # noqa: E731
    losses = []
    for i in range(len(z)):
        others = [k for k in range(len(z)) if k != i]
        below = sum(np.exp(cosine(z[i], z[k]) / temperature) for k in others)
        positives = [k for k in others if targets[k] == targets[i]]
        pairs = [-np.log(np.exp(cosine(z[i], z[j]) / temperature) / below) for j in positives]
        if pairs:
            losses.append(sum(pairs) / len(pairs))
    return sum(losses) / len(losses)


CASES = [
    ([0, 1, 2, 0, 1, 2], 0.5),  # two views of three images
    ([5, 5, 9, 9], 0.1),
    ([0, 1, 1, 0, 0, 1, 0], 1.0),  # classes, some more frequent
    ([3, 4, 3, 7], 0.2),  # rows without a positive
]


@pytest.mark.parametrize(("targets", "temperature"), CASES)
def test_the_loss_by_a_slow_loop(
    targets: list[int], temperature: float, device: str, rng: np.random.Generator
) -> None:
    z = rng.normal(size=(len(targets), 5)) * 3
    loss = nt_xent(tg.tensor(z, device=device), tg.tensor(targets, device=device), temperature)
    assert loss.item() == pytest.approx(slow_nt_xent(z, np.array(targets), temperature), rel=1e-12)


def test_the_loss_and_its_gradient_as_torch_computes_simclr(device: str, rng: np.random.Generator) -> None:
    """With two views it is a cross-entropy whose class is the other view."""
    z = rng.normal(size=(8, 3)).astype("f4")
    ours = tg.tensor(z, device=device, requires_grad=True)
    nt_xent(ours, tg.tensor([0, 1, 2, 3] * 2, device=device), 0.3).backward()
    theirs = torch.tensor(z, dtype=torch.float64, requires_grad=True)
    unit = torch.nn.functional.normalize(theirs, dim=1)
    logits = (unit @ unit.T / 0.3).fill_diagonal_(-torch.inf)
    torch.nn.functional.cross_entropy(logits, (torch.arange(8) + 4) % 8).backward()
    np.testing.assert_allclose(ours.grad.cpu().numpy(), theirs.grad.numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("targets", "temperature"), CASES)
def test_derivatives_of_the_loss(targets: list[int], temperature: float, rng: np.random.Generator) -> None:
    z = tg.tensor(rng.normal(size=(len(targets), 3)), requires_grad=True)
    loss = lambda x: nt_xent(x, tg.tensor(targets), temperature)  # noqa: E731
    assert gradcheck(loss, (z,))
    assert gradgradcheck(loss, (z,))


def test_no_positives_at_all() -> None:
    assert nt_xent(tg.rand(3, 2), tg.tensor([0, 1, 2])).item() == 0


@pytest.mark.parametrize(
    ("z", "targets", "temperature", "message"),
    [
        (tg.ones(4, 2), tg.zeros(3), 0.5, r"expected z \(N, D\) and targets \(N,\), got \(4, 2\) and \(3,\)"),
        (tg.ones(4), tg.zeros(4), 0.5, r"got \(4,\) and \(4,\)"),
        (tg.ones(4, 2), tg.zeros(4), 0.0, "temperature > 0, got 0.0"),
        (tg.ones(4, 2), tg.zeros(4), float("nan"), "temperature > 0, got nan"),
    ],
)
def test_bad_arguments(z: tg.Tensor, targets: tg.Tensor, temperature: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        nt_xent(z, targets, temperature)


@pytest.mark.parametrize("count", [2, 3])
def test_views(count: int, device: str, rng: np.random.Generator) -> None:
    images = tg.tensor(rng.integers(0, 256, (6, 1, 4, 4)).astype("u1"), device=device)
    calls = []

    def transform(x: tg.Tensor) -> tg.Tensor:
        calls.append(x.cpu().numpy())
        return x.float() + len(calls) / 8

    views = Views(images, transform, count)
    inputs, targets = views.fetch_batch([4, 0])
    assert targets.tolist() == [4, 0] * count
    expected = [images.cpu().numpy()[[4, 0]] + (i + 1) / 8 for i in range(count)]
    np.testing.assert_array_equal(inputs.cpu().numpy(), np.concatenate(expected))
    assert all(np.array_equal(x, images.cpu().numpy()[[4, 0]]) for x in calls)
    assert len(views) == 6
    assert views[5][1].tolist() == [5] * count


def test_views_with_targets(rng: np.random.Generator) -> None:
    views = Views(tg.rand(4, 1, 2, 2), lambda x: x, 2, tg.tensor([7, 8, 9, 6]))
    assert views.fetch_batch([3, 1])[1].tolist() == [6, 8, 6, 8]
    with pytest.raises(ValueError, match=r"a target for each of 4 images, got \(3,\)"):
        Views(tg.rand(4, 1, 2, 2), lambda x: x, 1, tg.zeros(3))


def test_the_head_is_a_hidden_layer_with_batch_norm() -> None:
    head = pretraining.projection_head(6, 3)
    assert [type(layer) for layer in head] == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
    assert head(tg.rand(4, 6)).shape == (4, 3)
