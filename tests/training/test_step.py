"""train_step and evaluate against torch."""

import numpy as np
import pytest
import torch

import tinygrad_mnist as tg
from tinygrad_mnist import nn, optim
from tinygrad_mnist.training import evaluate, train_step
from tinygrad_mnist.training.step import RunningMean
from tinygrad_mnist.utils.data import DataLoader, TensorDataset

pytestmark = pytest.mark.usefixtures("default_device")


def pair_of_models(rng: np.random.Generator) -> tuple[nn.Module, torch.nn.Module]:
    ours, theirs = nn.Linear(4, 3), torch.nn.Linear(4, 3)
    weights = {"weight": rng.normal(size=(3, 4)).astype("f4"), "bias": rng.normal(size=3).astype("f4")}
    ours.load_state_dict(weights)
    theirs.load_state_dict({name: torch.from_numpy(w.copy()) for name, w in weights.items()})
    return ours, theirs


def test_a_step_is_what_torch_does(rng: np.random.Generator, device: str) -> None:
    ours, theirs = pair_of_models(rng)
    ours.to(device)
    x, y = rng.normal(size=(5, 4)).astype("f4"), rng.integers(0, 3, 5)
    optimizer = optim.SGD(ours.parameters(), lr=0.5, momentum=0.9)
    their_optimizer = torch.optim.SGD(theirs.parameters(), lr=0.5, momentum=0.9)
    for _ in range(3):
        loss, outputs = train_step(ours, optimizer, tg.from_numpy(x), tg.from_numpy(y))
        their_optimizer.zero_grad()
        their_outputs = theirs(torch.from_numpy(x))
        their_loss = torch.nn.functional.cross_entropy(their_outputs, torch.from_numpy(y))
        their_loss.backward()
        their_optimizer.step()
        assert loss.item() == pytest.approx(their_loss.item(), rel=1e-5)
        np.testing.assert_allclose(outputs.numpy(force=True), their_outputs.numpy(force=True), rtol=1e-5, atol=1e-6)
        assert not loss.requires_grad
    np.testing.assert_allclose(ours.weight.numpy(force=True), theirs.weight.numpy(force=True), rtol=1e-5, atol=1e-6)


def test_evaluate_weighs_batches_by_their_size(rng: np.random.Generator, device: str) -> None:
    ours, theirs = pair_of_models(rng)
    ours.to(device)
    x, y = rng.normal(size=(7, 4)).astype("f4"), rng.integers(0, 3, 7)
    loss, accuracy = evaluate(ours, DataLoader(TensorDataset(tg.from_numpy(x), tg.from_numpy(y)), batch_size=3))
    their_outputs = theirs(torch.from_numpy(x))
    assert loss == pytest.approx(torch.nn.functional.cross_entropy(their_outputs, torch.from_numpy(y)).item(), rel=1e-5)
    assert accuracy == (their_outputs.argmax(1).numpy(force=True) == y).mean()


@pytest.mark.parametrize("training", [True, False])
def test_evaluate_is_in_eval_mode_and_puts_the_mode_back(training: bool) -> None:
    model = nn.Sequential(nn.Dropout(0.9), nn.Linear(4, 3), nn.BatchNorm1d(3)).train(training)
    model[2].eval()  # as for a norm whose statistics must not move
    batch = tg.ones(2, 4), tg.zeros(2, dtype=tg.int64)
    assert evaluate(model, [batch]) == evaluate(model, [batch])
    assert [module.training for module in model.modules()] == [training, training, training, False]


def test_evaluate_puts_the_mode_back_after_an_error() -> None:
    model = nn.Linear(4, 3)
    with pytest.raises(RuntimeError):
        evaluate(model, [(tg.ones(2, 5), tg.zeros(2, dtype=tg.int64))])
    assert model.training


def test_evaluate_nothing() -> None:
    with pytest.raises(ValueError, match="the loader gave no images"):
        evaluate(nn.Linear(4, 3), [])


def test_running_mean_by_hand() -> None:
    logits = tg.tensor([[2.0, 1.0], [0.0, 3.0]])
    row, epoch = RunningMean(), RunningMean()
    row.add(tg.tensor(0.5), logits, tg.tensor([0, 0]))
    row.add(tg.tensor(2.0), logits[:1], tg.tensor([0]))
    assert row.read() == [0.5, 2.0]
    assert row.read() == []
    assert row.sums == (3.0, 2, 3)
    assert (row.loss, row.accuracy, row.images) == (1.0, 2 / 3, 3)
    epoch.take(row)
    epoch.take(row)
    assert (epoch.sums, row.sums) == ((3.0, 2, 3), (0.0, 0, 0))


def test_accuracy_of_soft_targets_is_their_probability_for_the_answer() -> None:
    """As mixup's authors count it: the share of the class that was recognised, of the two that were mixed."""
    logits = tg.tensor([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0], [0.0, 1.0, 4.0]])
    soft = tg.tensor([[0.7, 0.3, 0.0], [0.0, 0.25, 0.75], [1.0, 0.0, 0.0]])
    mean = RunningMean()
    mean.add(tg.tensor(0.5), logits, soft)
    mean.read()
    assert mean.accuracy == pytest.approx((0.7 + 0.25 + 0.0) / 3)
    hard = RunningMean()
    hard.add(tg.tensor(0.5), logits, tg.tensor([0, 1, 0]))
    one_hot = RunningMean()
    one_hot.add(tg.tensor(0.5), logits, nn.functional.one_hot(tg.tensor([0, 1, 0]), 3).float())
    assert (hard.read(), hard.sums) == (one_hot.read(), one_hot.sums)


def test_a_clipped_step_is_what_torch_does(rng: np.random.Generator, device: str) -> None:
    ours, theirs = pair_of_models(rng)
    ours.to(device)
    x, y = rng.normal(size=(5, 4)).astype("f4"), rng.integers(0, 3, 5)
    optimizer = optim.SGD([{"params": [p]} for p in ours.parameters()], lr=0.5)
    their_optimizer = torch.optim.SGD(theirs.parameters(), lr=0.5)
    train_step(ours, optimizer, tg.from_numpy(x), tg.from_numpy(y), max_grad_norm=0.1)
    torch.nn.functional.cross_entropy(theirs(torch.from_numpy(x)), torch.from_numpy(y)).backward()
    assert torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.1) > 0.2
    their_optimizer.step()
    np.testing.assert_allclose(ours.weight.detach().cpu().numpy(), theirs.weight.detach().numpy(), rtol=1e-5, atol=1e-6)
