"""Convolution, transposed convolution, padding and the linear map.

Letters: N batch, C in-channels, O out-channels, H W image, KH KW kernel, G groups.
"""

from __future__ import annotations

import functools
import math

from ... import ops
from ...tensor import Tensor
from .check import Pair, as_images, check_dtype, check_then, like_input, pair
from .pad import pad


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None, *, then: str | None = None) -> Tensor:
    """y = x wᵀ + b for x (*, C), w (O, C), b (O,); then="relu" does ReLU in the same pass over y.

    >>> from tinygrad_mnist import tensor
    >>> linear(tensor([[1.0, 2.0]]), tensor([[3.0, 4.0]]), tensor([5.0]))
    tensor([[16.]])
    """
    check_dtype(input, weight, bias)
    features, shape = weight.array.shape[-1], input.array.shape
    if not shape or shape[-1] != features:
        flat = input.ndim > 2 and input.array[0].size == features
        hint = "; flatten each image first: x.flatten(1) or nn.Flatten()" if flat else ""
        got = input.shape[-1] if input.ndim else "none"
        raise RuntimeError(f"expected {features} features, got {got} (input {shape}){hint}")
    if then not in (None, "relu"):
        raise ValueError(f"then: expected 'relu' or None, got {then!r}")
    apply = ops.linear if then is None else ops.linear_relu
    if len(shape) == 2:
        return apply(input, weight, bias)
    rows = input.reshape(math.prod(shape[:-1]), features)
    return apply(rows, weight, bias).reshape(*input.shape[:-1], weight.shape[0])


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Pair = 1,
    padding: int | Pair | str = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
    *,
    then: str | None = None,
    norm: ops.KnownNorm | None = None,
    plus: Tensor | None = None,
) -> Tensor:
    """Cross-correlate images (N, C, H, W) with a weight (O, C/G, KH, KW): (N, O, OH, OW).

    OH = floor((H + 2 padding - dilation (KH - 1) - 1) / stride) + 1. `padding` may be 'valid' (none) or
    'same' (OH = H, with stride 1; where the total is odd, the last row and column get one more).
    `then` does what follows in the same pass over memory, which is faster: "relu", or "relu_pool" for ReLU and
    2x2 max pooling. Before it come `norm`, a batch norm by known statistics, and then `plus` (N, O, OH, OW), which is
    added. (PyTorch does not have these three; nn.Sequential finds the first two by itself.)
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.conv2d.html

    >>> from tinygrad_mnist import ones
    >>> conv2d(ones(1, 1, 3, 3), ones(1, 1, 2, 2)).flatten()
    tensor([4., 4., 4., 4.])
    """
    x = as_images(input, weight, bias, plus)
    shapes = input.array.shape, weight.array.shape, None if bias is None else bias.array.shape
    margin = padding if isinstance(padding, str) else pair(padding, "padding")
    steps, dilations = pair(stride, "stride", 1), pair(dilation, "dilation", 1)
    extra, geometry, size = _conv2d_geometry(*shapes, steps, margin, dilations, groups, then)
    if extra is not None:
        x = pad(x, (0, extra[1], 0, extra[0]))
    if norm is not None or plus is not None:
        more = None if plus is None else _like_result(plus, x, weight, size)
        y = ops.conv2d_norm(x, weight, bias, norm, more, *geometry, then is not None)
        y = ops.max_pool2d(y, (2, 2), (2, 2), (0, 0), (1, 1)) if then == "relu_pool" else y
    elif then is None:
        y = ops.conv2d(x, weight, bias, *geometry)
    else:
        y = ops.conv2d_relu(x, weight, bias, *geometry, then == "relu_pool")
    return y if x is input else like_input(y, input)


@functools.lru_cache(256, typed=True)
def _conv2d_geometry(
    shape: tuple[int, ...],
    w_shape: tuple[int, ...],
    b_shape: tuple[int, ...] | None,
    steps: Pair,
    padding: Pair | str,
    dilations: Pair,
    groups: int,
    then: str | None,
) -> tuple[Pair | None, tuple[Pair, Pair, Pair, int], Pair]:
    """Rows and columns missing at the end, if any; stride, padding, dilation and groups; the result's size (OH, OW).
    Raises if they do not fit."""
    _check_weight(w_shape, b_shape, groups, w_shape[0] if w_shape else 0)
    _, CG, *kernel = w_shape
    _check_channels(shape, CG * groups)
    if isinstance(padding, str):
        before, extra = _string_padding(padding, (kernel[0], kernel[1]), steps, dilations)
    else:
        before, extra = padding, (0, 0)
    H, W = shape[-2:]
    padded = H + extra[0] + 2 * before[0], W + extra[1] + 2 * before[1]
    reach = dilations[0] * (kernel[0] - 1) + 1, dilations[1] * (kernel[1] - 1) + 1
    if reach[0] > padded[0] or reach[1] > padded[1]:
        raise RuntimeError(
            f"the kernel covers {reach} pixels but the padded input has only {padded} (input {shape}); "
            "use larger images, more padding, or fewer pooling layers before this one"
        )
    size = (padded[0] - reach[0]) // steps[0] + 1, (padded[1] - reach[1]) // steps[1] + 1
    if then is not None:
        check_then(then, size)
    return extra if any(extra) else None, (steps, before, dilations, groups), size


def _like_result(plus: Tensor, x: Tensor, weight: Tensor, size: Pair) -> Tensor:
    """plus as images, which have the shape of x's convolution by the weight."""
    images, expected = as_images(plus), (len(x.array), len(weight.array), *size)
    if images.array.shape != expected:
        raise RuntimeError(f"conv2d: expected plus to be like the result, {expected}, got {tuple(plus.shape)}")
    return images


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    output_padding: int | Pair = 0,
    groups: int = 1,
    dilation: int | Pair = 1,
) -> Tensor:
    """The adjoint of conv2d in its input, images (N, C, H, W) and weight (C, O/G, KH, KW): (N, O, OH, OW).

    OH = (H - 1) stride - 2 padding + dilation (KH - 1) + output_padding + 1.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.conv_transpose2d.html
    """
    x = as_images(input, weight, bias)
    steps, dilations = pair(stride, "stride", 1), pair(dilation, "dilation", 1)
    margin, extra = pair(padding, "padding"), pair(output_padding, "output_padding")
    w_shape, b_shape = weight.array.shape, None if bias is None else bias.array.shape
    _check_weight(w_shape, b_shape, groups, w_shape[1] * groups if weight.ndim > 1 else 0)
    _check_channels(input.array.shape, w_shape[0])
    if any(e >= max(s, d) for e, s, d in zip(extra, steps, dilations, strict=True)):
        raise RuntimeError(f"output_padding {extra} must be smaller than stride {steps} or dilation {dilations}")
    size = tuple(
        (x.shape[2 + a] - 1) * steps[a] - 2 * margin[a] + dilations[a] * (weight.shape[2 + a] - 1) + extra[a] + 1
        for a in (0, 1)
    )
    if min(size) < 1:
        raise RuntimeError(f"the output size would be {size}: too much padding {margin} for input {tuple(input.shape)}")
    y_shape = x.shape[0], weight.shape[1] * groups, *size
    y = ops.conv2d_input_grad(x, weight, y_shape, steps, margin, dilations, groups)
    return like_input(y if bias is None else y + bias.reshape(-1, 1, 1), input)


def _string_padding(padding: str, kernel: Pair, stride: Pair, dilation: Pair) -> tuple[Pair, Pair]:
    """What to pad on both sides, and what more at the end."""
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding != "same":
        raise ValueError(f"padding: expected 'valid', 'same', an int or two ints, got {padding!r}")
    if stride != (1, 1):
        raise RuntimeError(f"padding='same' needs stride 1, got {stride}")
    totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    return (totals[0] // 2, totals[1] // 2), (totals[0] % 2, totals[1] % 2)


def _check_weight(
    w_shape: tuple[int, ...], b_shape: tuple[int, ...] | None, groups: int, out_channels: int
) -> None:
    if len(w_shape) != 4:
        raise RuntimeError(f"expected a 4-d weight, got {w_shape}")
    if groups < 1 or w_shape[0] % groups:
        raise RuntimeError(
            f"groups must be positive and divide the weight's first size, got groups={groups} and {w_shape}"
        )
    if b_shape is not None and b_shape != (out_channels,):
        raise RuntimeError(f"expected a bias of shape ({out_channels},), got {b_shape}")


def _check_channels(shape: tuple[int, ...], expected: int) -> None:
    """`shape` is that of the input, (N, C, H, W) or (C, H, W)."""
    got = shape[-3]
    if got == expected:
        return
    hint = ""
    if (got, expected) == (1, 3):
        hint = (
            "; for MNIST use in_channels=1 (with weights for 3: finetune.adapt_first_conv(model, 1)) "
            "or transforms.Grayscale(3)"
        )
    elif (got, expected) == (3, 1):
        hint = (
            "; for colour images use in_channels=3 (with weights for 1: finetune.adapt_first_conv(model, 3)) "
            "or transforms.Grayscale(1)"
        )
    elif len(shape) == 3 and expected == 1:
        hint = "; a batch of grey images needs its channel axis: x.unsqueeze(1)"
    elif shape[-1] == expected:
        hint = "; channels come before height and width: x.permute(0, 3, 1, 2)"
    raise RuntimeError(f"expected {expected} channels, got {got} (input {shape}){hint}")
