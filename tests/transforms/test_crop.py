"""Crops, flips, margins and holes: against NumPy, PyTorch and Pillow, and by counting."""

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch

import tinygrad_mnist as tg
from tinygrad_mnist import transforms as T

pytestmark = pytest.mark.usefixtures("default_device")

ROWS_AND_COLUMNS = (np.arange(10)[:, None] * 10 + np.arange(10)).astype(np.uint8)  # pixel i, j is 10 i + j


@pytest.mark.parametrize(("mode", "theirs"), [("edge", "replicate"), ("reflect", "reflect"), ("constant", "constant")])
def test_pad_is_what_torch_gives(rng: np.random.Generator, mode: str, theirs: str) -> None:
    x = rng.standard_normal((2, 3, 5, 6))
    left, top, right, bottom = 1, 2, 3, 4
    ours = T.Pad((left, top, right, bottom), 1.5, mode)(tg.tensor(x))
    value = {"value": 1.5} if mode == "constant" else {}
    expected = torch.nn.functional.pad(torch.tensor(x), (left, right, top, bottom), theirs, **value)
    np.testing.assert_array_equal(ours.numpy(force=True), expected.numpy(force=True), strict=True)


def test_pad_by_hand() -> None:
    image = np.array([[1, 2]], np.uint8)
    assert T.Pad(1)(image).tolist() == [[0, 0, 0, 0], [0, 1, 2, 0], [0, 0, 0, 0]]
    assert T.Pad((0, 1), 5)(image).tolist() == [[5, 5], [1, 2], [5, 5]]
    assert T.Pad((2, 0), padding_mode="symmetric")(image).tolist() == [[2, 1, 1, 2, 2, 1]]
    assert T.Pad((1, 0), (7, 8))(np.array([[[1, 2]]], np.uint8)).tolist() == [[[7, 8], [1, 2], [7, 8]]]


@pytest.mark.parametrize(
    ("size", "first", "shape"),
    [(4, 33, (4, 4)), ((5, 4), 23, (5, 4)), ((3, 10), 40, (3, 10)), ((10, 10), 0, (10, 10)), ([3], 44, (3, 3))],
)
def test_center_crop(size: object, first: int, shape: tuple[int, int]) -> None:
    # The corner is at round(rest / 2), halves to even, as in torchvision.
    y = T.CenterCrop(size)(ROWS_AND_COLUMNS)
    assert y.shape == shape
    assert y[0, 0] == first
    assert y[-1, -1] == first + 10 * (shape[0] - 1) + shape[1] - 1


def test_center_crop_of_a_smaller_image_adds_a_margin() -> None:
    assert T.CenterCrop((3, 2))(np.array([[1, 2]], np.uint8)).tolist() == [[0, 0], [1, 2], [0, 0]]
    assert T.CenterCrop((4, 2))(np.array([[1, 2]], np.uint8)).tolist() == [[0, 0], [1, 2], [0, 0], [0, 0]]
    assert T.CenterCrop((1, 5))(np.array([[1, 2]], np.uint8)).tolist() == [[0, 1, 2, 0, 0]]


def test_random_crops_are_parts_and_every_part_comes() -> None:
    batch = np.repeat(ROWS_AND_COLUMNS[None, :, :, None], 2000, 0)
    y = T.RandomCrop((7, 9), generator=tg.Generator())(batch)[..., 0]
    corners = y[:, 0, 0]
    np.testing.assert_array_equal(y - corners[:, None, None], np.broadcast_to(ROWS_AND_COLUMNS[:7, :9], y.shape))
    counts = {corner: (corners == corner).sum() for corner in np.unique(corners)}
    assert set(counts) == {10 * i + j for i in range(4) for j in range(2)}
    assert min(counts.values()) > 190  # 250 expected of 2000, sd 15
    assert max(counts.values()) < 310


def test_random_crop_of_the_whole_image_is_the_image() -> None:
    np.testing.assert_array_equal(T.RandomCrop(10)(ROWS_AND_COLUMNS), ROWS_AND_COLUMNS)


def test_random_crop_with_padding() -> None:
    y = T.RandomCrop(10, padding=3, fill=200, generator=tg.Generator().manual_seed(3))(ROWS_AND_COLUMNS)
    padded = T.Pad(3, 200)(ROWS_AND_COLUMNS)
    places = [(i, j) for i in range(7) for j in range(7) if np.array_equal(padded[i : i + 10, j : j + 10], y)]
    assert len(places) == 1
    wide = T.RandomCrop((10, 14), pad_if_needed=True, padding_mode="edge")(ROWS_AND_COLUMNS)
    assert wide.shape == (10, 14)
    assert set(np.unique(wide)) <= set(np.unique(ROWS_AND_COLUMNS))


def test_a_crop_larger_than_the_image_is_refused() -> None:
    message = "required crop size (10, 11) is larger than the image (10, 10); give padding, or pad_if_needed=True"
    with pytest.raises(ValueError, match=re.escape(message)):
        T.RandomCrop((10, 11))(ROWS_AND_COLUMNS)


@pytest.mark.parametrize(
    ("flip", "expected"),
    [(T.RandomHorizontalFlip, ROWS_AND_COLUMNS[:, ::-1]), (T.RandomVerticalFlip, ROWS_AND_COLUMNS[::-1])],
)
def test_flips(flip: type, expected: np.ndarray) -> None:
    np.testing.assert_array_equal(flip(1.0)(ROWS_AND_COLUMNS), expected)
    np.testing.assert_array_equal(flip(0.0)(ROWS_AND_COLUMNS), ROWS_AND_COLUMNS)
    batch = np.repeat(ROWS_AND_COLUMNS[None, :, :, None], 2000, 0)
    flipped = (flip(0.3, tg.Generator())(batch)[..., 0] == expected).all((1, 2))
    assert flipped.mean() == pytest.approx(0.3, abs=0.04)  # sd 0.01


# --- RandomErasing


def test_a_hole_is_a_rectangle_of_the_asked_size() -> None:
    ones = np.ones((2000, 30, 40, 1), np.float32)
    y = T.RandomErasing(0.6, (0.05, 0.2), (0.5, 2.0), value=5, generator=tg.Generator())(ones)[..., 0]
    lost = y == 5
    assert ((y == 1) | lost).all()
    erased = lost.any((1, 2))
    assert erased.mean() == pytest.approx(0.6, abs=0.05)  # sd 0.011
    height, width = lost.any(2).sum(1)[erased], lost.any(1).sum(1)[erased]
    assert (lost.sum((1, 2))[erased] == height * width).all()
    # The sides are rounded to pixels: by at most half a pixel each.
    area, aspect = height * width / 1200, height / width
    slack = 0.5 / height + 0.5 / width
    assert (area >= 0.05 * (1 - slack)).all()
    assert (area <= 0.2 * (1 + slack)).all()
    assert (aspect >= 0.5 * (1 - slack)).all()
    assert (aspect <= 2 * (1 + 2 * slack)).all()
    assert area.mean() == pytest.approx(0.125, abs=0.005)
    assert lost[:, 0].any(1).mean() > 0.005  # holes touch the edges, too
    assert lost[:, -1].any(1).mean() > 0.005
    assert lost[:, :, 0].any(1).mean() > 0.005
    assert lost[:, :, -1].any(1).mean() > 0.005


def test_what_fills_a_hole() -> None:
    x = tg.zeros(50, 3, 20, 20)
    colour = T.RandomErasing(1.0, value=(1.0, 2.0, 3.0))(x).numpy(force=True)
    assert set(np.unique(colour[:, 1])) == {0.0, 2.0}
    noise = T.RandomErasing(1.0, (0.3, 0.33), value="random", generator=tg.Generator())(x).numpy(force=True)
    drawn = noise[noise != 0]
    assert drawn.size > 10_000
    assert drawn.mean() == pytest.approx(0, abs=0.05)
    assert drawn.std() == pytest.approx(1, abs=0.05)


def test_erasing_never_or_where_nothing_fits() -> None:
    x = np.ones((5, 8, 8, 1))
    np.testing.assert_array_equal(T.RandomErasing(0.0)(x), x)
    np.testing.assert_array_equal(T.RandomErasing(1.0, (1.0, 1.0), (1.0, 1.0))(x), x)
    wide = np.ones((5, 8, 16, 1))
    as_high_as_the_image = T.RandomErasing(1.0, (0.5, 0.5), (1.0, 1.0))
    np.testing.assert_array_equal(as_high_as_the_image(wide), wide)
    np.testing.assert_array_equal(as_high_as_the_image(wide.swapaxes(1, 2)), wide.swapaxes(1, 2))


@pytest.mark.parametrize("make", [np.ones, tg.ones], ids=["array", "tensor"])
def test_erasing_in_place(make: Callable) -> None:
    x = make((4, 3, 8, 8))
    y = T.RandomErasing(1.0, inplace=True)(x)
    assert y is x
    assert (x == 0).any()


# --- what is refused


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: T.Pad((1, 2, 3)), "padding must be 1, 2 or 4 non-negative ints, got (1, 2, 3)"),
        (lambda: T.Pad(-1), "got -1"),
        (lambda: T.Pad(1, padding_mode="wrap"), "should be one of constant, edge, reflect, symmetric, got 'wrap'"),
        (lambda: T.Pad(1, (1, 2))(np.zeros((3, 3, 3))), "fill has 2 values, the images have 3 channels"),
        (lambda: T.CenterCrop(0), "CenterCrop: expected a positive int, or (height, width), got 0"),
        (lambda: T.RandomCrop((1, 2, 3)), "RandomCrop: expected a positive int, or (height, width), got (1, 2, 3)"),
        (lambda: T.RandomCrop(2.5), "got 2.5"),
        (lambda: T.RandomErasing(value="noise"), "value should be a number, one per channel, or 'random', got 'noise'"),
        (lambda: T.RandomErasing(2), "expected p in [0, 1]"),
        (lambda: T.RandomErasing(scale=(0.5, 0.1)), "got p=0.5, scale=(0.5, 0.1), ratio=(0.3, 3.3)"),
        (lambda: T.RandomErasing(ratio=(0, 1)), "ratio=(0, 1)"),
    ],
)
def test_bad_settings_are_named(build: Callable, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        build()
