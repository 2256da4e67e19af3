"""Pooling over images (N, C, H, W) or (C, H, W). Formulas: kernels/pool.py."""

from __future__ import annotations

from typing import Any

from ... import ops
from ...tensor import Tensor
from .check import Pair, as_images, like_input, pair


def max_pool2d(
    input: Tensor,
    kernel_size: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window; with `return_indices` also where in the image (h·W + w) it was.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxPool2d.html

    >>> from tinygrad_mnist import tensor
    >>> max_pool2d(tensor([[[1.0, 5.0], [3.0, 2.0]]]), 2)
    tensor([[[5.]]])
    """
    x = as_images(input)
    spacing = pair(dilation, "dilation", 1)
    kernel, steps, margin = _windows(input, kernel_size, stride, padding, spacing)
    if not return_indices:
        return like_input(ops.max_pool2d(x, kernel, steps, margin, spacing, ceil_mode), input)
    y, index = ops.max_pool2d_with_indices(x, kernel, steps, margin, spacing, ceil_mode)
    return like_input(y, input), like_input(index, input)


def avg_pool2d(
    input: Tensor,
    kernel_size: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window; zeros of the padding count, unless `count_include_pad=False`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.AvgPool2d.html
    """
    x = as_images(input)
    if divisor_override == 0:
        raise RuntimeError("divisor_override must not be 0")
    kernel, steps, margin = _windows(input, kernel_size, stride, padding, (1, 1))
    y = ops.avg_pool2d(x, kernel, steps, margin, ceil_mode, count_include_pad, divisor_override)
    return like_input(y, input)


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """The means of output_size windows that cover the image; None in `output_size` keeps that size.

    Window i of n covers floor(i H / n) to ceil((i + 1) H / n).
    """
    x = as_images(input)
    return like_input(ops.adaptive_avg_pool2d(x, _output_size(input, x, output_size)), input)


def adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The largest elements of output_size windows that cover the image, as `adaptive_avg_pool2d` cuts them."""
    x = as_images(input)
    size = _output_size(input, x, output_size)
    if not return_indices:
        return like_input(ops.adaptive_max_pool2d(x, size), input)
    y, index = ops.adaptive_max_pool2d_with_indices(x, size)
    return like_input(y, input), like_input(index, input)


def max_unpool2d(
    input: Tensor,
    indices: Tensor,
    kernel_size: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    output_size: Any = None,
) -> Tensor:
    """The maxima put back at `indices` (from `max_pool2d(return_indices=True)`), zeros elsewhere."""
    x = as_images(input)
    kernel = pair(kernel_size, "kernel_size", 1)
    steps = kernel if stride is None else pair(stride, "stride", 1)
    margin = pair(padding, "padding")
    if indices.shape != input.shape:
        raise ValueError(f"expected indices of the input's shape {tuple(input.shape)}, got {tuple(indices.shape)}")
    index = indices.reshape(x.shape)
    size = tuple((x.shape[2 + a] - 1) * steps[a] - 2 * margin[a] + kernel[a] for a in (0, 1))
    if output_size is not None:
        wanted = tuple(output_size)[-2:]
        if any(abs(w - s) >= step for w, s, step in zip(wanted, size, steps, strict=True)):
            raise ValueError(f"output_size must be within one stride {steps} of {size}, got {tuple(output_size)}")
        size = wanted
    flat = index.array
    if flat.size and (int(flat.min()) < 0 or int(flat.max()) >= size[0] * size[1]):
        raise RuntimeError(f"indices must be between 0 and {size[0] * size[1] - 1} for an output of {size}")
    return like_input(ops.max_unpool2d(x, index, size), input)


def _windows(input: Tensor, kernel_size: Any, stride: Any, padding: Any, dilation: Pair) -> tuple[Pair, Pair, Pair]:
    """Kernel, stride and padding as pairs, if they fit the image."""
    shape = input.array.shape
    kernel = pair(kernel_size, "kernel_size", 1)
    steps = kernel if stride is None or stride == () else pair(stride, "stride", 1)
    margin = pair(padding, "padding")
    if margin[0] > kernel[0] // 2 or margin[1] > kernel[1] // 2:
        raise RuntimeError(f"padding must be at most half of kernel_size, got padding {margin}, kernel_size {kernel}")
    padded = shape[-2] + 2 * margin[0], shape[-1] + 2 * margin[1]
    reach = dilation[0] * (kernel[0] - 1) + 1, dilation[1] * (kernel[1] - 1) + 1
    if reach[0] > padded[0] or reach[1] > padded[1]:
        raise RuntimeError(
            f"the window covers {reach} pixels but the padded input has only {padded} (input {shape}); "
            "use larger images or fewer pooling layers"
        )
    return kernel, steps, margin


def _output_size(input: Tensor, x: Tensor, output_size: Any) -> Pair:
    sizes = (output_size, output_size) if output_size is None or isinstance(output_size, int) else tuple(output_size)
    if len(sizes) != 2:
        raise ValueError(f"output_size: expected one or two sizes, got {output_size!r}")
    if x.array.size == 0 and x.shape[0]:
        raise RuntimeError(f"expected an input that is empty in the batch only, got {tuple(input.shape)}")
    H, W = (x.shape[2 + a] if size is None else size for a, size in enumerate(sizes))
    return pair((H, W), "output_size", 1)
