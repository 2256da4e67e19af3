"""From images to tensors, and from one range of numbers to another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import backend, creation, dtypes
from ..tensor import Tensor
from .images import ImageTransform, channels_first, check_array, is_pil, pil_to_array


def _to_planes(pic: Any, name: str) -> Any:
    """A PIL image, or an array (H, W), (H, W, C) or (N, H, W, C), with its channels first; a view."""
    if is_pil(pic):
        pic = pil_to_array(pic)
    if isinstance(pic, Tensor):
        raise TypeError(f"{name}: pic should be a PIL image or an array, got a Tensor; it needs no conversion")
    check_array(pic, name)
    return pic[None] if pic.ndim == 2 else channels_first(pic)


class ToTensor:
    """An image (H, W) or (H, W, C), or a batch of images (N, H, W, C), as a Tensor (C, H, W) or (N, C, H, W).

    uint8 becomes x / 255 in the default dtype, float32; other dtypes are kept as they are. Takes arrays and PIL
    images. Raises TypeError or ValueError for anything else.

    Source: https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.ToTensor.html

    >>> ToTensor()(np.array([[0, 51], [102, 255]], np.uint8))
    tensor([[[0.0000, 0.2000],
             [0.4000, 1.0000]]])
    """

    batched = pointwise = True

    def __call__(self, pic: Any) -> Tensor:
        x = _to_planes(pic, "ToTensor")
        if x.dtype != np.uint8:
            return creation.wrap(x.copy(order="C"))
        x = x.astype(dtypes.get_default_dtype(), order="C")
        x /= 255
        return creation.wrap(x)

    def __repr__(self) -> str:
        return "ToTensor()"


class PILToTensor:
    """What `ToTensor` does, but without changing any number: uint8 stays uint8.

    Source: https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.PILToTensor.html
    """

    batched = pointwise = True

    def __call__(self, pic: Any) -> Tensor:
        return creation.wrap(_to_planes(pic, "PILToTensor").copy(order="C"))

    def __repr__(self) -> str:
        return "PILToTensor()"


class ConvertImageDtype:
    """A tensor of images in another dtype and the range that goes with it: [0, 1] for floats, [0, max] for ints.

    Raises RuntimeError for a float that has fewer digits than the integers (float32 to int32 or int64, ...).

    Source: https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.ConvertImageDtype.html

    >>> ConvertImageDtype(dtypes.uint8)(creation.tensor([[[0.0, 0.5, 1.0]]]))
    tensor([[[  0, 127, 255]]], dtype=uint8)
    """

    batched = pointwise = True

    def __init__(self, dtype: np.dtype):
        self.dtype = np.dtype(dtype)

    def __call__(self, image: Tensor) -> Tensor:
        before, after = image.dtype, self.dtype
        if before == after:
            return image
        if before.kind == "f":
            return image.to(after) if after.kind == "f" else self._to_ints(image)
        largest = int(np.iinfo(before).max)
        if after.kind == "f":
            return image.to(after) / largest
        factor = (int(np.iinfo(after).max) + 1) / (largest + 1)
        if factor < 1:
            return image.like(image.array // before.type(1 / factor)).to(after)
        return image.to(after) * int(factor)

    def _to_ints(self, image: Tensor) -> Tensor:
        if (image.dtype.itemsize, self.dtype.itemsize) in ((4, 4), (4, 8), (8, 8)):
            raise RuntimeError(f"the cast from {image.dtype} to {self.dtype} cannot be performed safely")
        # Just under max + 1, so that each integer takes an equal share of [0, 1].
        return (image * (int(np.iinfo(self.dtype).max) + 1 - 1e-3)).to(self.dtype)

    def __repr__(self) -> str:
        return f"ConvertImageDtype(dtype={self.dtype})"


class Normalize:
    """(x - mean) / std, channel by channel, of a float Tensor (..., C, H, W). Differentiable.

    `mean` and `std` have one number per channel, or one for all. With `inplace`, x itself is changed.
    Raises TypeError for integers, ValueError for too few dimensions or a std of zero, RuntimeError for another
    number of channels.

    Source: https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.Normalize.html

    >>> Normalize((0.5,), (0.25,))(creation.tensor([[[0.0, 0.5, 1.0]]]))
    tensor([[[-2.,  0.,  2.]]])
    """

    batched = pointwise = True

    def __init__(self, mean: Sequence[float] | float, std: Sequence[float] | float, inplace: bool = False):
        self.mean = mean
        self.std = std
        self.inplace = inplace

    def __call__(self, tensor: Tensor) -> Tensor:
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f"Normalize: img should be a Tensor, got {type(tensor).__name__}; put transforms.ToTensor() before it"
            )
        if tensor.dtype.kind != "f":
            raise TypeError(
                f"Normalize: expected a float tensor, got {tensor.dtype}; put transforms.ToTensor() or "
                "ConvertImageDtype(float32) before it"
            )
        if tensor.ndim < 3:
            raise ValueError(f"Normalize: expected images (..., C, H, W), got {tuple(tensor.shape)}")
        mean, std = self._per_channel("mean", tensor), self._per_channel("std", tensor)
        if not std.all():
            raise ValueError(f"Normalize: std {self.std} is zero in {tensor.dtype}, leading to division by zero")
        if self.inplace:
            tensor -= creation.wrap(mean)
            tensor /= creation.wrap(std)
            return tensor
        return (tensor - creation.wrap(mean)) / creation.wrap(std)

    def _per_channel(self, name: str, tensor: Tensor) -> Any:
        """The mean or std as an array (C, 1, 1) or (1, 1, 1) like `tensor`."""
        numbers = tensor.xp.asarray(getattr(self, name), tensor.dtype).reshape(-1, 1, 1)
        channels = tensor.shape[-3]
        if len(numbers) not in (1, channels):
            raise RuntimeError(
                f"Normalize: {name} has {len(numbers)} channels, the images have {channels} "
                f"(shape {tuple(tensor.shape)}); give one {name} per channel"
                + ("" if channels > 1 else ", or put transforms.Grayscale(3) first")
            )
        return numbers

    def __repr__(self) -> str:
        return f"Normalize(mean={self.mean}, std={self.std})"


class Grayscale(ImageTransform):
    """Images of 3 channels (red, green, blue) or 1 as gray ones of `num_output_channels`, 1 or 3 equal ones.

    gray = 0.299 red + 0.587 green + 0.114 blue, for integers rounded as Pillow does.

    Source: https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.Grayscale.html

    >>> Grayscale()(np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8)).tolist()
    [[[76], [29]]]
    """

    def __init__(self, num_output_channels: int = 1):
        if num_output_channels not in (1, 3):
            raise ValueError(f"Grayscale: num_output_channels should be either 1 or 3, got {num_output_channels}")
        self.num_output_channels = num_output_channels

    def apply(self, x: Any) -> Any:
        if x.shape[1] not in (1, 3):
            raise ValueError(f"Grayscale: expected images of 1 or 3 channels, got {x.shape[1]}")
        if x.shape[1] == 3 and x.dtype.kind == "f":
            x = 0.299 * x[:, :1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:]
        elif x.shape[1] == 3:
            red, green, blue = x.astype(np.int64).swapaxes(0, 1)  # each (N, H, W); the weights are in 65,536ths
            x = ((19595 * red + 38470 * green + 7471 * blue + 2**15) >> 16).astype(x.dtype)[:, None]
        return backend.of(x).xp.repeat(x, self.num_output_channels, axis=1)
