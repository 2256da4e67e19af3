"""MixUp and CutMix: by their definition, slowly, and against PyTorch's soft targets."""

import math

import numpy as np
import pytest
import torch
from torch_oracle import close

import tinygrad_mnist as tg
from tinygrad_mnist import transforms as T
from tinygrad_mnist.nn import functional as F

pytestmark = pytest.mark.usefixtures("default_device")

N, C, H, W = 5, 3, 8, 12


def batch(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return rng.normal(size=(N, C, H, W)), rng.integers(0, 4, N)


def mix(transform: type, x: np.ndarray, y: np.ndarray, seed: int, device: str = "cpu", **options: object) -> tuple:
    generator = tg.Generator().manual_seed(seed)
    made = transform(num_classes=4, generator=generator, **options)
    return made(tg.tensor(x, device=device), tg.tensor(y, device=device))


def soft(y: np.ndarray, share: float) -> np.ndarray:
    """The labels by their definition."""
    out = np.zeros((N, 4), np.float32)
    for i in range(N):
        out[i, y[i]] += share
        out[i, y[i - 1]] += 1 - share
    return out


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_mixup(alpha: float, rng: np.random.Generator, device: str) -> None:
    x, y = batch(rng)
    mixed, labels = mix(T.MixUp, x, y, 3, device, alpha=alpha)
    share = tg.Generator().manual_seed(3).beta(alpha, alpha)
    assert 0 < share < 1
    close(mixed, np.stack([share * x[i] + (1 - share) * x[i - 1] for i in range(N)]))
    close(labels, soft(y, share), 1e-6)
    assert labels.dtype == tg.float32


def test_cutmix(rng: np.random.Generator, device: str) -> None:
    x, y = batch(rng)
    shares = []
    for seed in range(60):
        mixed, labels = mix(T.CutMix, x, y, seed, device)
        result = mixed.cpu().numpy(force=True)
        foreign = (result != x).all((0, 1))  # (H, W): where every image has the pixel of the one before
        np.testing.assert_array_equal(result, np.where(foreign, np.roll(x, 1, 0), x))
        height, width = foreign.any(1).sum(), foreign.any(0).sum()
        assert foreign.sum() == height * width  # a box
        shares.append(1 - foreign.mean())
        close(labels, soft(y, shares[-1]), 1e-6)
        generator = tg.Generator().manual_seed(seed)
        side = math.sqrt(1 - generator.beta(1.0, 1.0)) / 2
        row, column = int(generator.integers(H, ())), int(generator.integers(W, ()))
        expected = np.zeros((H, W), bool)
        for i in range(row - int(side * H), row + int(side * H)):
            for j in range(column - int(side * W), column + int(side * W)):
                if 0 <= i < H and 0 <= j < W:
                    expected[i, j] = True
        np.testing.assert_array_equal(foreign, expected)
    assert min(shares) < 0.5
    assert max(shares) == 1
    close(tg.tensor(x), x)  # and the images given are as they were


@pytest.mark.parametrize("transform", [T.MixUp, T.CutMix])
def test_the_batch_itself_is_not_changed(transform: type, rng: np.random.Generator) -> None:
    x, y = batch(rng)
    images, labels = tg.tensor(x), tg.tensor(y)
    for seed in range(5):
        transform(num_classes=4, generator=tg.Generator().manual_seed(seed))(images, labels)
    close(images, x)
    close(labels, y)


def test_soft_labels_are_mixed_and_train(rng: np.random.Generator) -> None:
    x, y = batch(rng)
    first = mix(T.MixUp, x, y, 1)
    generator = tg.Generator().manual_seed(2)
    _, twice = T.MixUp(generator=generator)(*first)  # probabilities in, so num_classes is not needed
    share = tg.Generator().manual_seed(2).beta(1.0, 1.0)
    once = first[1].numpy(force=True)
    close(twice, share * once + (1 - share) * np.roll(once, 1, 0), 1e-6)
    close(twice.sum(1), np.ones(N), 1e-6)
    logits = rng.normal(size=(N, 4)).astype("f4")
    expected = torch.nn.functional.cross_entropy(torch.tensor(logits), torch.tensor(twice.numpy(force=True)))
    close(F.cross_entropy(tg.tensor(logits, device=twice.device), twice), expected, 1e-6)


def test_the_default_generator_and_seeds(rng: np.random.Generator) -> None:
    x, y = batch(rng)
    mixup = T.MixUp(num_classes=4)
    results = []
    for _ in range(2):
        tg.manual_seed(9)
        results.append(mixup(tg.tensor(x), tg.tensor(y))[0].numpy(force=True))
    np.testing.assert_array_equal(*results)
    assert not np.array_equal(mixup(tg.tensor(x), tg.tensor(y))[0].numpy(force=True), results[0])
    assert repr(mixup) == "MixUp(alpha=1.0, num_classes=4)"


@pytest.mark.parametrize("transform", [T.MixUp, T.CutMix])
@pytest.mark.parametrize(
    ("images", "labels", "options", "message"),
    [
        (tg.ones(2, 1, 4, 4), tg.tensor([0, 1]), {}, "need num_classes"),
        (tg.ones(1, 4, 4), tg.tensor([0]), {"num_classes": 2}, r"expected a batch of float .* got float32 \(1, 4, 4\)"),
        (tg.ones(2, 1, 4, 4, dtype=tg.uint8), tg.tensor([0, 1]), {"num_classes": 2}, r"got uint8 \(2, 1, 4, 4\)"),
        (tg.ones(2, 1, 4, 4), tg.tensor([0, 1, 1]), {"num_classes": 2}, r"expected 2 classes .* got int64 \(3,\)"),
        (tg.ones(2, 1, 4, 4), tg.tensor([0.0, 1.0]), {"num_classes": 2}, r"probabilities \(2, 2\), got float32 \(2,\)"),
        (tg.ones(2, 1, 4, 4), tg.ones(2, 5), {"num_classes": 2}, r"probabilities \(2, 2\), got float32 \(2, 5\)"),
        (tg.ones(2, 1, 4, 4), tg.ones(3, 5), {}, r"probabilities \(2, num_classes\), got float32 \(3, 5\)"),
    ],
)
def test_bad_batches(transform: type, images: tg.Tensor, labels: tg.Tensor, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"{transform.__name__}: .*{message}"):
        transform(**options)(images, labels)


@pytest.mark.parametrize("transform", [T.MixUp, T.CutMix])
@pytest.mark.parametrize(("label", "message"), [(2, r"smaller than num_classes \(2\), got 2"), (-1, "non-negative")])
def test_labels_outside_the_classes(transform: type, label: int, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        transform(num_classes=2)(tg.ones(2, 1, 4, 4), tg.tensor([0, label]))


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan")])
def test_bad_alpha(alpha: float) -> None:
    with pytest.raises(ValueError, match="CutMix: expected alpha > 0, got"):
        T.CutMix(alpha=alpha)
