"""FixMatch against the formula, written out in torch."""

import numpy as np
import pytest
import torch
from torch_oracle import close

import tinygrad_mnist as tg
from tinygrad_mnist import finetune, nn, optim, training
from tinygrad_mnist.nn import functional as F
from tinygrad_mnist.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tinygrad_mnist.utils.data import DataLoader, TensorDataset


def sets(rng: np.random.Generator, n: int = 40) -> tuple[np.ndarray, np.ndarray, TensorDataset, TensorDataset]:
    weak = rng.normal(size=(n, 4))
    strong = weak + 0.3 * rng.normal(size=(n, 4))
    return weak, strong, TensorDataset(tg.tensor(weak), tg.arange(n)), TensorDataset(tg.tensor(strong))


@pytest.mark.parametrize(("threshold", "weight"), [(0.0, 1.0), (0.6, 2.5), (1.0, 1.0)])
@pytest.mark.parametrize("own_teacher", [True, False])
@pytest.mark.parametrize("balance", [True, False])
def test_it_is_the_formula(
    rng: np.random.Generator, device: str, threshold: float, weight: float, own_teacher: bool, balance: bool
) -> None:
    weak, strong, weak_set, strong_set = sets(rng)
    model, teacher = (nn.Linear(4, 3).to(device, tg.float64) for _ in range(2))
    judge = model if own_teacher else teacher
    theirs = torch.nn.Linear(4, 3).double()
    theirs.load_state_dict({name: torch.tensor(w.cpu().numpy()) for name, w in model.state_dict().items()})
    W, b = (torch.tensor(w.cpu().numpy()) for w in judge.state_dict().values())
    teacher = None if own_teacher else teacher
    loss_fn = finetune.FixMatch(model, weak_set, strong_set, 16, threshold, weight, teacher, balance)
    x, y = rng.normal(size=(5, 4)), rng.integers(0, 3, 5)
    tg.manual_seed(3)
    rows = tg.random.default_generator.integers(40, 16)
    tg.manual_seed(3)
    loss = loss_fn(model(tg.tensor(x, device=device)), tg.tensor(y, device=device))
    loss.backward()

    p = torch.softmax(torch.tensor(weak[rows]) @ W.T + b, 1)
    if balance:
        p = p / (p.sum(0) / 16)
        p = p / p.sum(1, keepdim=True)
    each = torch.nn.functional.cross_entropy(theirs(torch.tensor(strong[rows])), p.argmax(1), reduction="none")
    sure = p.max(1).values >= threshold
    if threshold == 0.6:
        assert 0 < sure.sum() < 16
    expected = torch.nn.functional.cross_entropy(theirs(torch.tensor(x)), torch.tensor(y))
    expected = expected + weight * (each * sure).sum() / 16
    expected.backward()
    close(loss, expected)
    close(model.weight.grad, theirs.weight.grad)
    close(model.bias.grad, theirs.bias.grad)
    assert own_teacher or teacher.weight.grad is None


def test_validation_sees_the_cross_entropy_alone(rng: np.random.Generator) -> None:
    _, _, weak, strong = sets(rng)
    model = nn.Linear(4, 3).double()
    outputs, y = model(tg.tensor(rng.normal(size=(5, 4)))).detach(), tg.tensor([0, 1, 2, 0, 1])
    assert finetune.FixMatch(model, weak, strong, 16)(outputs, y).item() == F.cross_entropy(outputs, y).item()


def test_a_mean_teacher_judges_in_eval_mode_and_leaves_its_statistics(rng: np.random.Generator) -> None:
    _, _, weak, strong = sets(rng)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)).double()
    ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    loss_fn = finetune.FixMatch(model, weak, strong, 16, teacher=ema.module)
    loss_fn.consistency("cpu")
    assert model[1].num_batches_tracked.item() == 1
    assert ema.module[1].num_batches_tracked.item() == 0


def test_it_learns_from_images_without_labels(rng: np.random.Generator) -> None:
    """Two clusters with one label each: without the others' images, the boundary cuts through the clusters."""
    y = rng.integers(0, 2, 400)
    x = np.stack([4 * y - 2 + 0.3 * rng.normal(size=400), 1.5 * rng.normal(size=400)], 1).astype("f4")
    x[:2], y[:2] = [[-1.5, -2.0], [1.5, 2.0]], [0, 1]
    few = TensorDataset(tg.tensor(x[:2]), tg.tensor(y[:2]))
    every = TensorDataset(tg.tensor(x))
    accuracies = []
    for unlabelled in (False, True):
        tg.manual_seed(0)
        model = nn.Linear(2, 2)
        optimizer = optim.SGD(model.parameters(), lr=0.2)
        loss_fn = finetune.FixMatch(model, every, every, 64, 0.8) if unlabelled else F.cross_entropy
        training.fit(model, DataLoader(few, 2), optimizer, 150, loss_fn=loss_fn, verbose=False)
        accuracies.append(training.evaluate(model, [(tg.tensor(x), tg.tensor(y))])[1])
    assert accuracies[0] < 0.9
    assert accuracies[1] > 0.98


@pytest.mark.parametrize(
    ("weak", "strong", "options", "message"),
    [
        (3, 2, {}, "the same images in weak and strong, at least one, got 3 and 2"),
        (0, 0, {}, "got 0 and 0"),
        (3, 3, {"batch_size": 0}, "batch_size >= 1, got 0"),
        (3, 3, {"threshold": float("nan")}, "threshold from 0 to 1, got nan"),
    ],
)
def test_bad_arguments(weak: int, strong: int, options: dict, message: str) -> None:
    a, b = (TensorDataset(tg.zeros(n, 4)) for n in (weak, strong))
    with pytest.raises(ValueError, match=f"FixMatch: expected .*{message}"):
        finetune.FixMatch(nn.Linear(4, 3), a, b, **{"batch_size": 2, **options})
