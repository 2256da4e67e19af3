"""Rotations against numpy.rot90."""

import numpy as np
import pytest

import tinygrad_mnist as tg
from tinygrad_mnist.pretraining import Rotations


def test_quarter_turns(device: str, rng: np.random.Generator) -> None:
    images = rng.integers(0, 256, (5, 2, 3, 3)).astype("u1")
    rotations = Rotations(tg.tensor(images, device=device), lambda x: x.float() * 2)
    inputs, targets = rotations.fetch_batch([3, 1, 1])
    assert targets.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    chosen = images[[3, 1, 1]].astype("f4") * 2
    expected = np.concatenate([np.rot90(chosen, turns, (2, 3)) for turns in range(4)])
    np.testing.assert_array_equal(inputs.cpu().numpy(), expected)
    assert len(rotations) == 5
    assert rotations[2][0].shape == (4, 2, 3, 3)
    assert rotations[2][1].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("shape", [(5, 1, 3, 4), (5, 3, 3)])
def test_images_that_cannot_be_turned(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"square images \(N, C, H, H\), got"):
        Rotations(tg.zeros(*shape), lambda x: x)
