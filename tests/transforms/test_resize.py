"""Resizing and blurring: against Pillow and PyTorch."""

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch

import tinygrad_mnist as tg
from tinygrad_mnist import transforms as T
from tinygrad_mnist.transforms import InterpolationMode

pytestmark = pytest.mark.usefixtures("default_device")

SIZES = [((28, 28), (32, 32)), ((28, 28), (9, 13)), ((7, 5), (50, 3)), ((31, 17), (31, 17)), ((5, 5), (1, 1))]


@pytest.mark.parametrize(("old", "new"), SIZES)
@pytest.mark.parametrize("antialias", [True, False])
def test_resize_is_what_torch_gives(
    rng: np.random.Generator, old: tuple[int, int], new: tuple[int, int], antialias: bool
) -> None:
    x = rng.standard_normal((2, 3, *old))
    ours = T.Resize(new, antialias=antialias)(tg.tensor(x))
    theirs = torch.nn.functional.interpolate(torch.tensor(x), new, mode="bilinear", antialias=antialias)
    np.testing.assert_allclose(ours.numpy(force=True), theirs.numpy(force=True), rtol=1e-10, atol=1e-10, strict=True)


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_resize_is_what_pillow_gives(rng: np.random.Generator, old: tuple[int, int], new: tuple[int, int]) -> None:
    pil = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    image = rng.integers(0, 256, (*old, 3)).astype(np.uint8)
    bilinear = np.asarray(pil.fromarray(image).resize(new[::-1], pil.Resampling.BILINEAR))
    # Pillow rounds to integers between the two directions.
    assert abs(T.Resize(new)(image).astype(int) - bilinear).max() <= 1
    floats = image[..., 0].astype(np.float32)
    np.testing.assert_allclose(
        T.Resize(new)(floats), np.asarray(pil.fromarray(floats).resize(new[::-1], pil.Resampling.BILINEAR)), atol=1e-4
    )
    nearest = np.asarray(pil.fromarray(image).resize(new[::-1], pil.Resampling.NEAREST))
    # Where a new centre falls between two old pixels, Pillow's rounding errors choose one.
    rows, cols = (((2 * np.arange(n) + 1) * o % (2 * n)) != 0 for o, n in zip(old, new, strict=True))
    ours = T.Resize(new, InterpolationMode.NEAREST)(image)
    np.testing.assert_array_equal(ours[rows][:, cols], nearest[rows][:, cols])


def test_integers_are_rounded() -> None:
    assert T.Resize(1)(np.array([[1, 2], [2, 2]], np.uint8)).item() == 2  # 1.75
    assert T.Resize(1)(np.array([[1, 2], [1, 1]], np.uint8)).item() == 1  # 1.25


def test_nearest_between_two_pixels_is_the_second() -> None:
    assert T.Resize((1, 3), InterpolationMode.NEAREST)(np.arange(6, dtype=np.uint8)[None]).tolist() == [[1, 3, 5]]
    wide = np.arange(28, dtype=np.uint8)[None]  # 6.5 of 13 new pixels are 14 of 28 old ones
    assert T.Resize((1, 13), InterpolationMode.NEAREST)(wide)[0, 6] == 14


@pytest.mark.parametrize(
    ("size", "max_size", "shape", "expected"),
    [
        (10, None, (20, 30), (10, 15)),
        (10, None, (30, 20), (15, 10)),
        ([10], None, (20, 31), (10, 15)),
        (10, 12, (20, 30), (8, 12)),
        (10, 12, (20, 22), (10, 11)),
        ((10, 40), None, (20, 30), (10, 40)),
        (40, None, (20, 20), (40, 40)),
    ],
)
def test_resize_keeps_proportions(size: object, max_size: int | None, shape: tuple, expected: tuple) -> None:
    assert T.Resize(size, max_size=max_size)(np.zeros(shape)).shape == expected


# --- RandomResizedCrop


@pytest.mark.parametrize("interpolation", InterpolationMode)
def test_a_random_resized_crop_is_the_crop_resized(rng: np.random.Generator, interpolation: InterpolationMode) -> None:
    x = rng.standard_normal((5, 20, 30, 2))
    crop = T.RandomResizedCrop((7, 9), interpolation=interpolation, generator=tg.Generator().manual_seed(4))
    boxes = crop.boxes(5, 20, 30).astype(int)
    assert len({tuple(box) for box in boxes}) == 5
    crop._generator.manual_seed(4)
    y = crop(x)
    resize = T.Resize((7, 9), interpolation)
    for image, (top, left, height, width), got in zip(x, boxes, y, strict=True):
        expected = resize(image[top : top + height, left : left + width])
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-10)


def test_boxes_have_the_asked_area_and_ratio() -> None:
    crop = T.RandomResizedCrop(8, (0.2, 0.5), (0.5, 1.5), generator=tg.Generator())
    top, left, height, width = crop.boxes(3000, 100, 120).T
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + height <= 100).all()
    assert (left + width <= 120).all()
    area, ratio = height * width / 12000, width / height
    assert area.min() == pytest.approx(0.2, abs=0.01)
    assert area.max() == pytest.approx(0.5, abs=0.01)
    assert area.mean() == pytest.approx(0.35, abs=0.01)
    assert ratio.min() == pytest.approx(0.5, abs=0.03)
    assert ratio.max() == pytest.approx(1.5, abs=0.03)
    assert (top == 0).mean() > 0.003
    assert (top + height == 100).mean() > 0.003


@pytest.mark.parametrize(
    ("shape", "box"), [((10, 100), (0, 40, 10, 20)), ((100, 10), (40, 0, 20, 10)), ((10, 15), (0, 0, 10, 15))]
)
def test_where_no_box_fits_it_is_the_central_one(shape: tuple[int, int], box: tuple[int, ...]) -> None:
    crop = T.RandomResizedCrop(8, (9.0, 9.0), (0.5, 2.0))  # nine times the image: never fits
    assert crop.boxes(1, *shape)[0].tolist() == list(box)


# --- GaussianBlur


@pytest.mark.parametrize("size", [3, 5, (3, 7)])
@pytest.mark.parametrize("sigma", [0.3, 1.5])
def test_blur_is_a_convolution_with_a_gaussian(rng: np.random.Generator, size: object, sigma: float) -> None:
    x = rng.standard_normal((2, 3, 8, 9))
    across, down = (size, size) if isinstance(size, int) else size
    kernels = []
    for n in (down, across):
        k = torch.exp(-0.5 * ((torch.arange(n, dtype=torch.float64) - n // 2) / sigma) ** 2)
        kernels.append(k / k.sum())
    kernel = (kernels[0][:, None] * kernels[1]).expand(3, 1, down, across)
    padded = torch.nn.functional.pad(torch.tensor(x), (across // 2,) * 2 + (down // 2,) * 2, "reflect")
    theirs = torch.nn.functional.conv2d(padded, kernel, groups=3)
    ours = T.GaussianBlur(size, sigma)(tg.tensor(x))
    np.testing.assert_allclose(ours.numpy(force=True), theirs.numpy(force=True), rtol=1e-10, atol=1e-10)


def test_blur_draws_sigma_for_each_image() -> None:
    x = np.zeros((500, 9, 9, 1))
    x[:, 4, 4] = 1
    centre = T.GaussianBlur(9, (0.5, 1.0), tg.Generator())(x)[:, 4, 4, 0]

    def at(sigma: float) -> float:
        return np.exp(-0.5 * (np.arange(-4, 5) / sigma) ** 2).sum() ** -2

    assert centre.max() == pytest.approx(at(0.5), rel=0.02)
    assert centre.min() == pytest.approx(at(1.0), rel=0.02)


# --- Grayscale


def test_gray_is_what_pillow_gives(rng: np.random.Generator) -> None:
    pil = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    image = rng.integers(0, 256, (40, 50, 3)).astype(np.uint8)
    expected = np.asarray(pil.fromarray(image).convert("L"))
    np.testing.assert_array_equal(T.Grayscale()(image)[..., 0], expected)
    three = T.Grayscale(3)(image)
    np.testing.assert_array_equal(three, np.repeat(expected[..., None], 3, 2))


def test_gray_of_floats_and_of_gray() -> None:
    x = tg.tensor([[[1.0]], [[2.0]], [[3.0]]])
    assert T.Grayscale()(x).item() == pytest.approx(0.299 + 2 * 0.587 + 3 * 0.114)
    gray = np.array([[1, 2]], np.uint8)
    assert T.Grayscale(3)(gray).tolist() == [[[1] * 3, [2] * 3]]
    assert T.Grayscale(1)(gray).tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: T.Resize((1, 2, 3)), "Resize: expected a positive int, or (height, width), got (1, 2, 3)"),
        (lambda: T.Resize(10, max_size=10), "max_size=10 must be larger than size=10"),
        (lambda: T.Resize((10, 10), max_size=20), "and size the length of one edge"),
        (lambda: T.RandomResizedCrop(8, (1.0, 0.5)), "expected (min, max), got scale=(1.0, 0.5)"),
        (lambda: T.RandomResizedCrop(8, ratio=(2, 1)), "ratio=(2, 1)"),
        (lambda: T.GaussianBlur(4), "kernel_size should be odd, got 4"),
        (lambda: T.GaussianBlur(3, 0), "sigma should be positive"),
        (lambda: T.GaussianBlur(3, (2, 1)), "(min, max) in this order, got (2, 1)"),
        (lambda: T.GaussianBlur(9)(np.zeros((4, 4))), "a kernel of 9 pixels needs images of at least 5 pixels"),
        (lambda: T.Grayscale(2), "num_output_channels should be either 1 or 3, got 2"),
        (lambda: T.Grayscale()(np.zeros((4, 4, 2))), "expected images of 1 or 3 channels, got 2"),
    ],
)
def test_bad_settings_are_named(build: Callable, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        build()
