"""Images to tensors: torchvision's numbers, from its own formulas in torch."""

import re
import sys

import numpy as np
import pytest
import torch

import tinygrad_mnist as tg
from tinygrad_mnist.transforms import (
    Compose,
    ConvertImageDtype,
    Lambda,
    Normalize,
    PILToTensor,
    RandomApply,
    ToTensor,
)

pytestmark = pytest.mark.usefixtures("default_device")

UINT8 = np.arange(256, dtype=np.uint8)


def equal(ours: tg.Tensor, theirs: torch.Tensor) -> None:
    """The same shape, dtype and bits."""
    assert str(ours.dtype) == str(theirs.dtype).removeprefix("torch.")
    np.testing.assert_array_equal(ours.numpy(force=True), theirs.numpy(force=True), strict=True)


# --- ToTensor


@pytest.mark.parametrize("shape", [(256, 1), (8, 32), (16, 16, 1), (4, 8, 8), (2, 8, 4, 4), (2, 8, 16, 1), (0, 4, 3)])
def test_to_tensor_puts_channels_first_and_divides_by_255(shape: tuple[int, ...]) -> None:
    image = np.resize(UINT8, shape)
    ours = ToTensor()(image)
    theirs = torch.from_numpy(image).movedim(-1, -3) if image.ndim > 2 else torch.from_numpy(image)[None]
    equal(ours, theirs.to(torch.float32).div(255))
    assert ours.is_contiguous()


def test_to_tensor_by_hand() -> None:
    image = np.array([[[0, 255]], [[51, 102]]], np.uint8)  # (H, W, C) = (2, 1, 2)
    np.testing.assert_array_equal(ToTensor()(image).numpy(force=True), np.float32([[[0], [0.2]], [[1], [0.4]]]))


def test_to_tensor_takes_views() -> None:
    image = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
    np.testing.assert_array_equal(ToTensor()(image.T).numpy(force=True), ToTensor()(image.T.copy()).numpy(force=True))


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.float64, np.bool_])
def test_to_tensor_keeps_other_dtypes(dtype: type) -> None:
    image = np.array([[0, 1], [1, 1]], dtype)
    ours = ToTensor()(image)
    equal(ours, torch.from_numpy(image)[None])
    image[0, 0] = 1
    assert ours[0, 0, 0] == 0  # a copy


def test_to_tensor_follows_the_default_dtype() -> None:
    tg.set_default_dtype(tg.float64)
    try:
        assert ToTensor()(UINT8[:4].reshape(2, 2)).dtype == tg.float64
    finally:
        tg.set_default_dtype(tg.float32)


def test_a_batch_gives_what_its_images_give() -> None:
    batch = np.resize(UINT8, (3, 5, 4, 2))
    pipeline = Compose([ToTensor(), Normalize((0.1, 0.2), (0.3, 0.4))])
    whole = pipeline(batch)
    for i in range(3):
        np.testing.assert_array_equal(whole[i].numpy(force=True), pipeline(batch[i]).numpy(force=True))


@pytest.mark.parametrize(
    ("pic", "error", "message"),
    [
        (np.zeros(4, np.uint8), ValueError, "ToTensor: expected an image (H, W) or (H, W, C), or a batch of images"),
        (np.zeros((1, 1, 1, 1, 1), np.uint8), ValueError, "got 5 dimensions: (1, 1, 1, 1, 1)"),
        ([[1, 2]], TypeError, "ToTensor: pic should be a PIL image or an array, got list"),
        (tg.zeros(1, 2, 2), TypeError, "got a Tensor; it needs no conversion"),
        (None, TypeError, "got NoneType"),
    ],
    ids=["1d", "5d", "list", "tensor", "none"],
)
def test_to_tensor_refuses_what_is_no_image(pic: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        ToTensor()(pic)


@pytest.mark.parametrize(
    ("mode", "dtype"), [("L", "u1"), ("RGB", "u1"), ("RGBA", "u1"), ("I", "i4"), ("I;16", "i2"), ("F", "f4")]
)
def test_pil_images(mode: str, dtype: str) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    channels = len(mode) if mode.startswith("RGB") else 0
    array = np.arange(12 * max(channels, 1)).reshape((3, 4, channels) if channels else (3, 4))
    pic = image.fromarray(array.astype({"I;16": "u2"}.get(mode, dtype)))
    assert pic.mode == mode
    expected = np.moveaxis(array, -1, 0) if channels else array[None]
    ours = PILToTensor()(pic)
    assert ours.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(ours.numpy(force=True), expected)
    scale = np.float32(255) if dtype == "u1" else 1
    np.testing.assert_array_equal(ToTensor()(pic).numpy(force=True), expected.astype("f4") / scale)


def test_pil_images_of_one_bit_are_black_and_white() -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    pic = image.fromarray(np.array([[True, False, True]]))
    assert pic.mode == "1"
    assert ToTensor()(pic).tolist() == [[[1.0, 0.0, 1.0]]]
    assert PILToTensor()(pic).tolist() == [[[255, 0, 255]]]


def test_works_without_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "PIL.Image", raising=False)
    assert ToTensor()(UINT8.reshape(16, 16)).shape == (1, 16, 16)


# --- ConvertImageDtype


def theirs_converted(image: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """torchvision's definition."""
    if image.dtype == dtype:
        return image
    if image.is_floating_point():
        if dtype.is_floating_point:
            return image.to(dtype)
        return image.mul(torch.iinfo(dtype).max + 1 - 1e-3).to(dtype)
    before = torch.iinfo(image.dtype).max
    if dtype.is_floating_point:
        return image.to(dtype) / before
    after = torch.iinfo(dtype).max
    if before > after:
        return torch.div(image, (before + 1) // (after + 1), rounding_mode="floor").to(dtype)
    return image.to(dtype) * ((after + 1) // (before + 1))


@pytest.mark.parametrize("before", ["uint8", "int8", "int16", "int32", "int64", "float32", "float64"])
@pytest.mark.parametrize("after", ["uint8", "int8", "int16", "int32", "int64", "float32", "float64"])
def test_convert_image_dtype(before: str, after: str) -> None:
    if np.dtype(before).kind == "f":
        image = np.linspace(0, 1, 1001).astype(before).reshape(1, 7, 143)
    else:
        largest = int(np.iinfo(before).max)
        image = np.array([i * largest // 90 for i in range(91)], before).reshape(1, 7, 13)
    if (before, after) in {("float32", "int32"), ("float32", "int64"), ("float64", "int64")}:
        with pytest.raises(RuntimeError, match=f"the cast from {before} to {after} cannot be performed safely"):
            ConvertImageDtype(np.dtype(after))(tg.from_numpy(image))
        return
    ours = ConvertImageDtype(np.dtype(after))(tg.from_numpy(image))
    equal(ours, theirs_converted(torch.from_numpy(image), getattr(torch, after)))


# --- Normalize


@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 3, 4, 5), (0, 3, 4, 5), (2, 2, 3, 4, 5)])
@pytest.mark.parametrize("mean_std", [((0.1, 0.2, 0.3), (0.4, 0.5, 0.6)), ((0.1307,), (0.3081,)), (0.5, 0.25)])
@pytest.mark.parametrize("inplace", [False, True])
def test_normalize(rng: np.random.Generator, shape: tuple[int, ...], mean_std: tuple, inplace: bool) -> None:
    x = rng.random(shape, np.float32)
    mean, std = (torch.tensor(v).reshape(-1, 1, 1) for v in mean_std)
    given = tg.tensor(x)
    ours = Normalize(*mean_std, inplace=inplace)(given)
    equal(ours, torch.from_numpy(x).sub(mean).div(std))
    assert (ours is given) == inplace
    np.testing.assert_array_equal(given.numpy(force=True), ours.numpy(force=True) if inplace else x)


def test_normalize_by_hand() -> None:
    x = tg.tensor([[[1.0, 2.0]], [[3.0, 4.0]]])  # (C, H, W) = (2, 1, 2)
    assert Normalize((1.0, 2.0), (2.0, 4.0))(x).tolist() == [[[0.0, 0.5]], [[0.25, 0.5]]]


def test_normalize_can_be_differentiated() -> None:
    x = tg.zeros(2, 1, 1, requires_grad=True)
    Normalize((1.0, 2.0), (2.0, 4.0))(x).sum().backward()
    assert x.grad.tolist() == [[[0.5]], [[0.25]]]


@pytest.mark.parametrize(
    ("x", "mean", "std", "error", "message"),
    [
        (
            np.zeros((1, 2, 2), "f4"),
            0.0,
            1.0,
            TypeError,
            "img should be a Tensor, got ndarray; put transforms.ToTensor()",
        ),
        (tg.zeros(1, 2, 2, dtype=tg.uint8), 0.0, 1.0, TypeError, "expected a float tensor, got uint8"),
        (tg.zeros(2, 2), 0.0, 1.0, ValueError, "expected images (..., C, H, W), got (2, 2)"),
        (tg.zeros(3, 2, 2), 0.0, (1.0, 0.0, 1.0), ValueError, "std (1.0, 0.0, 1.0) is zero in float32"),
        (tg.zeros(3, 2, 2), 0.0, 1e-60, ValueError, "std 1e-60 is zero in float32"),
        (tg.zeros(3, 2, 2), (0.0, 0.0), 1.0, RuntimeError, "mean has 2 channels, the images have 3 (shape (3, 2, 2))"),
        (tg.zeros(3, 2, 2), 0.0, (1.0, 1.0), RuntimeError, "std has 2 channels, the images have 3"),
        (tg.zeros(5, 1, 2, 2), (0.0,) * 3, 1.0, RuntimeError, "one mean per channel, or put transforms.Grayscale(3)"),
    ],
)
def test_normalize_says_what_is_wrong(
    x: object, mean: object, std: object, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        Normalize(mean, std)(x)


# --- Compose and Lambda


def test_compose_calls_in_order() -> None:
    assert Compose([Lambda(lambda x: [*x, 1]), Lambda(lambda x: [*x, 2])])([]) == [1, 2]
    assert Compose([])(5) == 5


def test_a_pipeline_takes_batches_if_all_its_parts_do() -> None:
    assert Compose([ToTensor(), Normalize(0.5, 0.5), ConvertImageDtype(tg.float64)]).batched
    assert Compose([ToTensor(), Lambda(abs, batched=True)]).batched
    assert not Compose([ToTensor(), Lambda(abs)]).batched
    assert not Compose([ToTensor(), abs]).batched


def test_lambda_needs_a_function() -> None:
    with pytest.raises(TypeError, match="argument lambd should be callable, got int"):
        Lambda(3)


def test_they_read_like_torchvisions() -> None:
    inner = Compose([PILToTensor(), ConvertImageDtype(tg.float32)])
    assert repr(Compose([inner, Lambda(abs), Normalize((0.1307,), (0.3081,))])) == (
        "Compose(\n"
        "    Compose(\n"
        "        PILToTensor()\n"
        "        ConvertImageDtype(dtype=float32)\n"
        "    )\n"
        "    Lambda()\n"
        "    Normalize(mean=(0.1307,), std=(0.3081,))\n"
        ")"
    )


# --- a set of images at once


class Doubled(ToTensor):
    """A subclass, of which nobody has said that it changes each value by itself."""

    def __call__(self, pic):
        return super().__call__(pic) * float(pic.max())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "transforms",
    [
        [ToTensor(), Normalize((0.1307,), (0.3081,))],
        [PILToTensor(), ConvertImageDtype(tg.float32), Normalize(0.5, 0.25, inplace=True)],
        [PILToTensor()],
        [Lambda(lambda x: x[:, ::-1]), ToTensor(), Lambda(lambda x: x.sum(2)), Normalize(0.5, 2.0)],
        [Lambda(lambda x: x.astype(np.float32) / 2), ToTensor(), Normalize(0.5, 2.0)],
        [Lambda(ToTensor()), Normalize(0.5, 2.0)],
        [Lambda(lambda x: x[..., 0])],
        [Doubled(), Normalize(0.5, 2.0)],
        [],
    ],
)
def test_rows_of_a_set_are_what_the_images_become(transforms: list, channels: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 5, 4, channels)).astype(np.uint8)
    index, pipeline = np.array([4, 0, 4, 1]), Compose(transforms)
    for _ in range(2):
        ours, expected = pipeline.of_rows(images, index), pipeline(images[index])
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(expected), strict=True)


def test_rows_know_the_default_dtype_and_the_present_settings() -> None:
    images, index, normalize = UINT8.reshape(1, 16, 16, 1), np.array([0]), Normalize(0.5, 2.0)
    pipeline = Compose([ToTensor(), normalize])
    assert pipeline.of_rows(images, index).dtype == tg.float32
    normalize.mean = 0.25
    equal_to = pipeline(images)
    np.testing.assert_array_equal(pipeline.of_rows(images, index).numpy(force=True), equal_to.numpy(force=True))
    tg.set_default_dtype(tg.float64)
    try:
        assert pipeline.of_rows(images, index).dtype == tg.float64
    finally:
        tg.set_default_dtype(tg.float32)


def test_transforms_made_of_others_decide_for_themselves() -> None:
    images, index = UINT8.reshape(4, 8, 8, 1), np.array([3, 1])
    never = RandomApply([Lambda(lambda x: 255 - x)], p=0.0)
    np.testing.assert_array_equal(never.of_rows(images, index), images[index])
