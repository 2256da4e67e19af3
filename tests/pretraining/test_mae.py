"""The masked autoencoder: what it hides, what it may look at, and its loss, by slow loops and with torch's help."""

from typing import Any

import numpy as np
import pytest

import tinygrad_mnist as tg
from tinygrad_mnist import models
from tinygrad_mnist.models import VisionTransformer
from tinygrad_mnist.pretraining import MaskedAutoencoder
from tinygrad_mnist.pretraining.mae import patches_of, rows


def small(mask_ratio: float = 0.5, channels: int = 1, dtype: Any = tg.float64) -> MaskedAutoencoder:
    vit = VisionTransformer(6, 2, 1, 2, 8, 16, num_classes=3, in_channels=channels)
    return MaskedAutoencoder(vit, mask_ratio, width=4, depth=1, num_heads=2).to(dtype)


def test_patches_by_a_loop(device: str, rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 3, 4, 6))
    expected = np.empty((2, 6, 12))
    for n in range(2):
        for row in range(2):
            for column in range(3):
                patch = x[n, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
                expected[n, 3 * row + column] = patch.transpose(1, 2, 0).ravel()
    np.testing.assert_array_equal(patches_of(tg.tensor(x, device=device), 2).cpu().numpy(), expected)


def test_patches_are_in_the_order_of_the_tokens(rng: np.random.Generator) -> None:
    """A vit whose patch embedding is the identity gives the patches as tokens."""
    vit = VisionTransformer(6, 2, 1, 2, 4, 8, in_channels=1)
    vit.conv_proj.weight = tg.nn.Parameter(tg.eye(4).reshape(4, 1, 2, 2))
    x = tg.tensor(rng.normal(size=(2, 1, 6, 6)).astype("f4"))
    np.testing.assert_allclose(vit.patch_tokens(x).detach().numpy(), patches_of(x, 2).numpy(), rtol=1e-6)


def test_rows_by_a_loop(device: str, rng: np.random.Generator) -> None:
    x, index = rng.normal(size=(3, 5, 2)), rng.integers(0, 5, (3, 4))
    expected = np.stack([np.stack([x[n, i] for i in index[n]]) for n in range(3)])
    found = rows(tg.tensor(x, device=device), tg.tensor(index, device=device))
    np.testing.assert_array_equal(found.cpu().numpy(), expected)


def test_encoding_all_patches_is_what_the_network_does(device: str, rng: np.random.Generator) -> None:
    mae = small().to(device)
    tg.nn.init.normal_(mae.vit.heads.head.weight)
    x = tg.tensor(rng.normal(size=(2, 1, 6, 6)), device=device)
    every = tg.arange(9, device=device).expand(2, -1)
    whole = mae.vit.heads(mae.encode(x, every)[:, 0])
    np.testing.assert_allclose(whole.detach().cpu().numpy(), mae.vit(x).detach().cpu().numpy(), rtol=1e-10)


def test_the_loss_by_hand(rng: np.random.Generator) -> None:
    """Of the hidden patches only, each normalised by itself, for the order that the generator gives."""
    mae, x = small(0.6, channels=2), rng.normal(size=(3, 2, 6, 6)) * 4 + 1
    assert mae.hidden == 5
    tg.manual_seed(3)
    losses = mae(tg.tensor(x))
    tg.manual_seed(3)
    order = tg.rand(3, 9).argsort(1)
    painted = mae.decode(mae.encode(tg.tensor(x), order[:, :4]), order).detach().numpy()
    for n in range(3):
        errors = []
        for patch in order.numpy()[n, 4:]:
            row, column = divmod(int(patch), 3)
            pixels = x[n, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].transpose(1, 2, 0).ravel()
            pixels = (pixels - pixels.mean()) / np.sqrt(pixels.var() + 1e-6)
            errors.append(np.mean((painted[n, patch] - pixels) ** 2))
        assert losses[n].item() == pytest.approx(np.mean(errors), rel=1e-9)


def test_hidden_patches_are_not_looked_at(rng: np.random.Generator) -> None:
    mae, x = small(0.6), rng.normal(size=(1, 1, 6, 6))
    order = tg.tensor([[4, 0, 7, 2, 1, 3, 5, 6, 8]])
    changed = x.copy()
    changed[0, 0, 0:2, 2:4] += 5.0  # patch 1, which is hidden
    first, second = (mae.decode(mae.encode(tg.tensor(y), order[:, :4]), order).tolist() for y in (x, changed))
    assert first == second
    changed[0, 0, 2:4, 2:4] += 5.0  # patch 4, which is seen
    assert mae.decode(mae.encode(tg.tensor(changed), order[:, :4]), order).tolist() != first


def test_each_token_comes_back_to_its_place() -> None:
    """A decoder that only passes on what it is given shows the seen tokens at their places, mask tokens elsewhere."""
    mae = small(0.6)
    mae.embed = mae.blocks = mae.ln = mae.paint = tg.nn.Identity()
    tg.nn.init.zeros_(mae.pos_embedding)
    tg.nn.init.constant_(mae.mask_token, -1.0)
    order = tg.tensor([[4, 0, 7, 2, 8, 3, 5, 6, 1], [8, 7, 6, 5, 4, 3, 2, 1, 0]])
    encoded = tg.tensor([[[9.0] * 4, [4.0] * 4, [0.0] * 4, [7.0] * 4, [2.0] * 4],
                         [[9.0] * 4, [8.0] * 4, [7.0] * 4, [6.0] * 4, [5.0] * 4]]).double()  # fmt: skip
    shown = mae.decode(encoded, order)[:, :, 0].tolist()
    assert shown == [[0, -1, 2, -1, 4, -1, -1, 7, -1], [-1, -1, -1, -1, -1, 5, 6, 7, 8]]


def test_gradients_reach_all_but_the_head(device: str) -> None:
    mae = small(dtype=tg.float32).to(device)
    mae(tg.rand(4, 1, 6, 6, device=device)).mean().backward()
    without = [name for name, p in mae.named_parameters() if p.grad is None or not (p.grad != 0).any()]
    assert without == ["vit.heads.head.weight", "vit.heads.head.bias"]


def test_masks_are_seeded_and_differ_between_images() -> None:
    mae, x = small(), tg.rand(1, 1, 6, 6).double().expand(4, -1, -1, -1)
    tg.manual_seed(0)
    first = mae(x).tolist()
    tg.manual_seed(0)
    assert mae(x).tolist() == first
    assert mae(x).tolist() != first
    assert len(set(first)) > 1


@pytest.mark.parametrize("ratio", [0.0, 1.0, 0.01, -1.0])
def test_bad_ratios(ratio: float) -> None:
    with pytest.raises(ValueError, match="some must be hidden, and some must be seen"):
        MaskedAutoencoder(models.vit_tiny(), ratio)
