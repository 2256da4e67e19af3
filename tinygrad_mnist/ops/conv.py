"""Convolution: three ops that are each other's gradients.

conv2d is linear in x and in w. Its adjoint in x is conv2d_input_grad (the transposed convolution), its adjoint
in w is conv2d_weight_grad, and the adjoints of those two are again among the three.

conv2d_relu is conv2d, ReLU and, if asked for, 2x2 max pooling in one pass over memory. The gradients of both are in
one pass too, unless they are to be differentiated again: then they are those of the separate ops.
"""

from __future__ import annotations

from typing import Any

from ..autograd import Variable, every_gradient_is_wanted, is_grad_enabled, op
from .activation import add_relu, relu, relu_grad
from .broadcast import sum
from .elementwise import add
from .index import getitem
from .norm import KnownNorm, channel_affine, scale_and_shift
from .pool import max_pool2d, max_pool2d_input_grad

Pair = tuple[int, int]


def _array(x: Variable | None) -> Any:
    return None if x is None else x.array


def _is_direct(x: Variable, w: Variable, geometry: tuple[Any, ...]) -> bool:
    """Whether there are kernels without a patch matrix for these, and they are the fastest."""
    direct, w_shape = getattr(x.kernels, "conv_direct", None), w.array.shape
    if direct is None or not direct.usable(x.array, w.array, w_shape, *geometry):
        return False
    taps = getattr(x.kernels, "conv_taps", None)
    return taps is None or not taps.suits(x.array.shape, w_shape, *geometry)


class _Together:
    """The gradients of a convolution, and of what was fused with it, by as few passes as it takes.

    When backward goes to every leaf, all are computed at once, and kept until they are asked for.
    """

    def __init__(self, x: Variable, w: Variable, b: Variable | None, geometry: tuple[Any, ...], fused: Any):
        self.kernels, self.x, self.w, self.geometry, self.fused = x.kernels.conv_direct, x, w, geometry, fused
        self.wanted = x.requires_grad, w.requires_grad or (b is not None and b.requires_grad)
        self.ready: dict[str, Any] = {}  # gradients not asked for yet, of the g that they were computed from

    def can(self, g: Variable) -> bool:
        """Whether these are the gradients to take: not if they are to be differentiated again."""
        return not is_grad_enabled() and self.kernels.usable(g.array, self.w.array, self.w.array.shape, *self.geometry)

    def get(self, name: str, g: Variable) -> Variable:
        """dx, dw or db."""
        if self.ready.get("g") is not g or self.ready.get(name) is None:
            both = every_gradient_is_wanted()
            wanted = (self.wanted[0] and (both or name == "dx"), self.wanted[1] and (both or name != "dx"))
            arrays = g.array, self.x.array, self.w.array
            gradients = self.kernels.conv2d_gradients(*arrays, *self.geometry, self.fused, wanted)
            self.ready.update(zip(("g", "dx", "dw", "db"), (g, *gradients), strict=True))
        return g.like(self.ready.pop(name))


@op
def conv2d(
    x: Variable, w: Variable, b: Variable | None, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Any:
    """y (N, O, OH, OW) from x (N, C, H, W), w (O, C/G, KH, KW), b (O,) or None. See kernels/conv.py."""
    geometry = stride, padding, dilation, groups
    value = x.kernels.conv2d(x.array, w.array, _array(b), *geometry)
    if not is_grad_enabled():
        return (value,)  # to make what gradients need takes a tenth of a small convolution's time
    x_shape, w_shape = x.shape, w.shape
    together = _Together(x, w, b, geometry, None) if _is_direct(x, w, geometry) else None

    def dx(g: Variable) -> Variable:
        return together.get("dx", g) if together and together.can(g) else conv2d_input_grad(g, w, x_shape, *geometry)

    def dw(g: Variable) -> Variable:
        return together.get("dw", g) if together and together.can(g) else conv2d_weight_grad(g, x, w_shape, *geometry)

    def db(g: Variable) -> Variable:
        return together.get("db", g) if together and together.can(g) else sum(g, (0, 2, 3))

    return value, dx, dw, db


@op
def conv2d_input_grad(
    dy: Variable, w: Variable, x_shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Any:
    """dx (N, C, H, W) from dy (N, O, OH, OW) and w: the adjoint of conv2d in x."""
    geometry = stride, padding, dilation, groups
    w_shape, dy_shape = w.shape, dy.shape
    return (
        dy.kernels.conv2d_input_grad(dy.array, w.array, x_shape, *geometry),
        lambda g: _corner(conv2d(g, w, None, *geometry), dy_shape),
        lambda g: conv2d_weight_grad(dy, g, w_shape, *geometry),
    )


@op
def conv2d_weight_grad(
    dy: Variable, x: Variable, w_shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Any:
    """dw (O, C/G, KH, KW) from dy (N, O, OH, OW) and x: the adjoint of conv2d in w."""
    geometry = stride, padding, dilation, groups
    x_shape, dy_shape = x.shape, dy.shape
    return (
        dy.kernels.conv2d_weight_grad(dy.array, x.array, w_shape, *geometry),
        lambda g: _corner(conv2d(x, g, None, *geometry), dy_shape),
        lambda g: conv2d_input_grad(dy, g, x_shape, *geometry),
    )


def conv2d_relu(
    x: Variable, w: Variable, b: Variable | None, stride: Pair, padding: Pair, dilation: Pair, groups: int, pool: bool
) -> Any:
    """relu(conv2d(x, w, b)), and its largest elements in squares of 2 x 2 pixels if `pool`."""
    geometry = stride, padding, dilation, groups
    if _is_direct(x, w, geometry):
        return _fused_conv2d_relu(x, w, b, *geometry, pool)
    y = relu(conv2d(x, w, b, *geometry))
    return max_pool2d(y, (2, 2), (2, 2), (0, 0), (1, 1)) if pool else y


def conv2d_norm(
    x: Variable, w: Variable, b: Variable | None, norm: KnownNorm | None, plus: Variable | None,
    stride: Pair, padding: Pair, dilation: Pair, groups: int, then_relu: bool,
) -> Any:  # fmt: skip
    """relu(norm(conv2d(x, w, b)) + plus): a batch norm by known statistics, plus (N, O, OH, OW) and ReLU, each or none.
    It takes one pass for few pixels and many weights, where no gradients are wanted."""
    geometry = stride, padding, dilation, groups
    few = getattr(x.kernels, "conv_few", None) if type(x.array) is type(w.array) else None
    if few is not None and not is_grad_enabled() and few.usable(x.array, w.array, *geometry):
        return _conv2d_of_few_pixels(x, w, b, plus, *(norm or NO_NORM), then_relu, *geometry[:3])
    y = conv2d(x, w, b, *geometry)
    y = y if norm is None else channel_affine(y, *scale_and_shift(norm))
    if plus is None:
        return relu(y) if then_relu else y
    return add_relu(y, plus) if then_relu else add(y, plus)


NO_NORM = None, None, None, None, 0.0


@op
def _conv2d_of_few_pixels(
    x: Variable, w: Variable, b: Variable | None, plus: Variable | None, mean: Variable | None, var: Variable | None,
    weight: Variable | None, bias: Variable | None, eps: float, *others: Any
) -> Any:  # fmt: skip
    norm = None if mean is None else (mean.array, _array(var), _array(weight), _array(bias), eps)
    return (x.kernels.conv_few.conv2d(x.array, w.array, _array(b), norm, _array(plus), *others),)


@op
def _fused_conv2d_relu(
    x: Variable, w: Variable, b: Variable | None, stride: Pair, padding: Pair, dilation: Pair, groups: int, pool: bool
) -> Any:
    direct, geometry = x.kernels.conv_direct, (stride, padding, dilation, groups)
    fused = direct.conv2d(x.array, w.array, _array(b), *geometry, direct.RELU_POOL if pool else direct.RELU)
    if not is_grad_enabled():
        return (fused.y,)
    x_shape, w_shape = x.shape, w.shape
    together = _Together(x, w, b, geometry, fused)

    def before(g: Variable, y: Variable) -> Variable:
        """The gradient at the convolution's result."""
        g = relu_grad(g, y)
        if not pool:
            return g
        index = y.like(direct.flat_index(fused))
        return max_pool2d_input_grad(g, index, fused.conv_shape, (2, 2), (2, 2), (0, 0), (1, 1))

    def dx(g: Variable, y: Variable) -> Variable:
        return together.get("dx", g) if together.can(g) else conv2d_input_grad(before(g, y), w, x_shape, *geometry)

    def dw(g: Variable, y: Variable) -> Variable:
        return together.get("dw", g) if together.can(g) else conv2d_weight_grad(before(g, y), x, w_shape, *geometry)

    def db(g: Variable, y: Variable) -> Variable:
        return together.get("db", g) if together.can(g) else sum(before(g, y), (0, 2, 3))

    return fused.y, dx, dw, db


def _corner(y: Variable, shape: tuple[int, ...]) -> Variable:
    """The first rows and columns of y: with an output padding of a stride or more, x has room for more windows."""
    return y if y.shape == shape else getitem(y, (..., slice(shape[2]), slice(shape[3])))
