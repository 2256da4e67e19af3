"""What holds for every transform of images: the forms it takes, batches, seeds, and untouched input."""

import re
from collections.abc import Callable

import numpy as np
import pytest

import tinygrad_mnist as tg
from tinygrad_mnist import transforms as T
from tinygrad_mnist.transforms import InterpolationMode

pytestmark = pytest.mark.usefixtures("default_device")

BILINEAR = InterpolationMode.BILINEAR
FIXED: dict[str, Callable] = {
    "Resize": lambda: T.Resize((7, 9)),
    "Resize nearest": lambda: T.Resize(8, InterpolationMode.NEAREST),
    "CenterCrop": lambda: T.CenterCrop(6),
    "Pad": lambda: T.Pad((1, 2, 3, 4), fill=7),
    "Grayscale": lambda: T.Grayscale(),
}
RANDOM: dict[str, Callable] = {
    "RandomResizedCrop": lambda **g: T.RandomResizedCrop(8, **g),
    "GaussianBlur": lambda **g: T.GaussianBlur(5, **g),
    "RandomCrop": lambda **g: T.RandomCrop((6, 5), padding=2, **g),
    "RandomHorizontalFlip": lambda **g: T.RandomHorizontalFlip(**g),
    "RandomVerticalFlip": lambda **g: T.RandomVerticalFlip(**g),
    "RandomErasing": lambda **g: T.RandomErasing(0.7, **g),
    "RandomRotation": lambda **g: T.RandomRotation(90, **g),
    "RandomAffine": lambda **g: T.RandomAffine(20, (0.2, 0.2), (0.7, 1.4), 15, BILINEAR, fill=9, **g),
    "RandomPerspective": lambda **g: T.RandomPerspective(**g),
    "ElasticTransform": lambda **g: T.ElasticTransform(20.0, 0.5, **g),
    "RandomApply": lambda **g: T.RandomApply([T.Lambda(lambda x: 255 - x)], **g),
}


def seeded(name: str, seed: int = 0) -> Callable:
    return FIXED[name]() if name in FIXED else RANDOM[name](generator=tg.Generator().manual_seed(seed))


@pytest.fixture
def batch(rng: np.random.Generator) -> np.ndarray:
    """(N, H, W, C), uint8."""
    return rng.integers(0, 256, (12, 10, 11, 3)).astype(np.uint8)


@pytest.mark.parametrize("name", [*FIXED, *RANDOM])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_a_batch_gives_what_its_images_give_one_by_one(name: str, dtype: type, batch: np.ndarray) -> None:
    batch = batch.astype(dtype)
    given = batch.copy()
    whole = seeded(name)(batch)
    alone = seeded(name)
    assert whole.dtype == dtype
    # Matrix products of several images may add in another order than those of one.
    tolerance = {np.uint8: 0, np.float32: 1e-4, np.float64: 1e-9}[dtype]
    np.testing.assert_allclose(whole, np.stack([alone(image) for image in batch]), rtol=0, atol=tolerance, strict=True)
    np.testing.assert_array_equal(batch, given)


@pytest.mark.parametrize("name", [*FIXED, *RANDOM])
def test_every_form_of_an_image_gives_the_same(name: str, batch: np.ndarray) -> None:
    pil = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    expected = seeded(name)(batch[:1])[0]  # (H, W, C)
    planes = np.moveaxis(batch[0], -1, 0)
    np.testing.assert_array_equal(seeded(name)(batch[0]), expected)
    np.testing.assert_array_equal(seeded(name)(batch[0].copy(order="F")), expected)
    if name != "RandomApply":  # its function here is for arrays
        shown = seeded(name)(pil.fromarray(batch[0]))
        assert isinstance(shown, pil.Image)
        np.testing.assert_array_equal(np.asarray(shown).reshape(expected.shape), expected)
    for x in (tg.tensor(planes), tg.tensor(planes[None])):
        y = seeded(name)(x)
        assert isinstance(y, tg.Tensor)
        assert y.ndim == x.ndim
        np.testing.assert_array_equal(y.numpy(force=True).reshape(-1, *y.shape[-2:]), np.moveaxis(expected, -1, 0))


@pytest.mark.parametrize("name", [*FIXED, *RANDOM])
def test_gray_images_need_no_axis_for_channels(name: str, batch: np.ndarray) -> None:
    pil = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    gray = batch[0, :, :, 0]
    expected = seeded(name)(gray[..., None])[..., 0]
    np.testing.assert_array_equal(seeded(name)(gray), expected, strict=True)
    np.testing.assert_array_equal(seeded(name)(tg.tensor(gray)).numpy(force=True), expected, strict=True)
    if name != "RandomApply":
        np.testing.assert_array_equal(np.asarray(seeded(name)(pil.fromarray(gray))), expected, strict=True)


@pytest.mark.parametrize("name", RANDOM)
def test_the_seed_decides(name: str, batch: np.ndarray) -> None:
    first = seeded(name, 1)(batch)
    np.testing.assert_array_equal(seeded(name, 1)(batch), first)
    assert not np.array_equal(seeded(name, 2)(batch), first)
    tg.manual_seed(1)
    np.testing.assert_array_equal(RANDOM[name]()(batch), first)


@pytest.mark.parametrize("name", [*FIXED, *RANDOM])
def test_no_images_are_no_error(name: str, batch: np.ndarray) -> None:
    y = seeded(name)(batch[:0])
    assert len(y) == 0
    assert y.shape[1:] == seeded(name)(batch[:1]).shape[1:]


@pytest.mark.parametrize("name", [n for n in [*FIXED, *RANDOM] if n != "RandomApply"])
def test_what_is_no_image_is_refused(name: str) -> None:
    kind = type(seeded(name)).__name__
    with pytest.raises(TypeError, match=f"{kind}: pic should be a PIL image, an array or a Tensor, got list"):
        seeded(name)([[1]])
    with pytest.raises(ValueError, match=re.escape(f"{kind}: expected an image (H, W) or (H, W, C), or a batch")):
        seeded(name)(np.zeros(3))
    with pytest.raises(ValueError, match=re.escape("Tensor (H, W), (C, H, W) or (N, C, H, W), got (3,)")):
        seeded(name)(tg.zeros(3))


@pytest.mark.parametrize("name", [*FIXED, *RANDOM])
def test_they_go_into_a_batched_pipeline(name: str, batch: np.ndarray) -> None:
    assert T.Compose([T.Pad(1), T.ToTensor()]).batched
    assert seeded(name).batched == (name != "RandomApply")


def test_they_show_their_settings() -> None:
    assert repr(T.RandomAffine(10, fill=3)) == (
        "RandomAffine(degrees=(-10, 10), translate=None, scale=None, shear=None, interpolation=nearest, fill=3, "
        "center=None)"
    )
    assert repr(T.RandomApply([T.Pad(2)], 0.3)) == (
        "RandomApply(\n    p=0.3\n    Pad(padding=2, fill=0, padding_mode='constant')\n)"
    )


# --- RandomApply


def test_random_apply_changes_some_images_of_a_batch(batch: np.ndarray) -> None:
    inverted = T.RandomApply([T.Lambda(lambda x: 255 - x, batched=True)], 0.5, tg.Generator().manual_seed(0))
    y = inverted(batch)
    changed = (y != batch).any((1, 2, 3))
    assert 0 < changed.sum() < len(batch)
    np.testing.assert_array_equal(y[changed], 255 - batch[changed])


def test_random_apply_takes_tensors(batch: np.ndarray) -> None:
    x = tg.tensor(np.moveaxis(batch, -1, 1))
    flipped = T.RandomApply([T.RandomVerticalFlip(1.0)], 1.0)(x)
    np.testing.assert_array_equal(flipped.numpy(force=True), x.numpy(force=True)[:, :, ::-1])


def test_random_apply_never_and_always(batch: np.ndarray) -> None:
    assert T.RandomApply([T.Pad(1)], 0.0)(batch) is batch
    assert T.RandomApply([T.Pad(1)], 1.0)(batch[0]).shape == (12, 13, 3)


def test_random_apply_cannot_change_the_size_of_some_images(batch: np.ndarray) -> None:
    with pytest.raises(ValueError, match=re.escape("keep size and dtype, got (12, 13, 3), uint8 from (10, 11, 3)")):
        T.RandomApply([T.Pad(1)], 1.0)(batch)
