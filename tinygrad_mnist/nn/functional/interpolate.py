"""Enlarging and shrinking images: along each axis a linear map, so a matrix product."""

from __future__ import annotations

import numpy as np

from ...tensor import Tensor
from .check import check_dtype


def interpolate(
    input: Tensor,
    size: int | tuple[int, int] | None = None,
    scale_factor: float | tuple[float, float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
) -> Tensor:
    """Images (N, C, H, W) at another `size`, or at `scale_factor` times their own: (N, C, OH, OW).

    mode 'nearest' repeats or drops pixels, 'bilinear' weighs the two nearest ones on each axis. `align_corners`
    (bilinear only) lays the centres of the corner pixels on each other, otherwise their outer edges.
    y = A x Bᵀ, where row i of A (OH, H) says how much of each row of x goes into row i of y.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.interpolate.html

    >>> from tinygrad_mnist import tensor
    >>> interpolate(tensor([[[[1.0, 2.0]]]]), size=(1, 4))
    tensor([[[[1., 1., 2., 2.]]]])
    """
    check_dtype(input)
    if mode not in ("nearest", "bilinear"):
        raise NotImplementedError(f"interpolate: expected mode 'nearest' or 'bilinear', got {mode!r}")
    if mode == "nearest" and align_corners is not None:
        raise ValueError("interpolate: align_corners can only be set with mode='bilinear'")
    if input.ndim != 4:
        raise ValueError(f"interpolate: expected images (N, C, H, W), got {tuple(input.shape)}")
    if (size is None) == (scale_factor is None):
        raise ValueError("interpolate: give one of size and scale_factor")
    axes = []
    for i, old in enumerate(input.shape[2:]):
        if size is not None:
            new, step = (size if isinstance(size, int) else size[i]), None
        else:
            factor = scale_factor if isinstance(scale_factor, int | float) else scale_factor[i]  # type: ignore[index]
            new = int(old * factor)
            step = None if recompute_scale_factor else 1 / factor
        if new < 1:
            raise RuntimeError(f"interpolate: expected an output of at least 1x1, got size {new} from {old}")
        matrix = resampling(old, new, mode, bool(align_corners), step)
        axes.append(input.like(input.xp.asarray(matrix.astype(input.dtype))))
    return axes[0] @ (input @ axes[1].T)


def resampling(old: int, new: int, mode: str, align_corners: bool, step: float | None = None) -> np.ndarray:
    """The matrix (new, old) that resamples an axis; `step` is old pixels per new one, by default old / new."""
    step = old / new if step is None else step
    rows = np.arange(new)
    matrix = np.zeros((new, old))
    if mode == "nearest":
        if new in (old, 2 * old):
            step = old / new  # PyTorch's shortcut for these sizes, whatever the factor that led to them
        # PyTorch computes in float32, which decides where a product meets an integer.
        at = np.minimum(np.floor(rows.astype(np.float32) * np.float32(step)).astype(int), old - 1)
        matrix[rows, at] = 1
        return matrix
    if align_corners:
        centre = rows * ((old - 1) / (new - 1) if new > 1 else 0.0)
    else:
        centre = np.maximum((rows + 0.5) * step - 0.5, 0)
    below = np.minimum(np.floor(centre).astype(int), old - 1)
    weight = centre - below
    np.add.at(matrix, (rows, below), 1 - weight)
    np.add.at(matrix, (rows, np.minimum(below + 1, old - 1)), weight)
    return matrix
