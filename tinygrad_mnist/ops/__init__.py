"""Every differentiable op: its value and its gradients, written together.

Read in this order: `shape`, `broadcast`, `elementwise`, `unary`, `reduce`, `index`, then what is built on them.
"""

from .activation import add_relu, elu, gelu, leaky_relu, relu, relu_grad, silu, softplus
from .broadcast import broadcast, expand, sum, sum_to
from .compare import (
    bitwise_and,
    bitwise_not,
    bitwise_or,
    bitwise_xor,
    eq,
    ge,
    gt,
    isfinite,
    isinf,
    isnan,
    le,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    lt,
    ne,
)
from .conv import conv2d, conv2d_input_grad, conv2d_norm, conv2d_relu, conv2d_weight_grad
from .dropout import dropout, dropout_kept
from .einsum import einsum
from .elementwise import (
    add,
    cast,
    clamp,
    clamp_max,
    clamp_min,
    div,
    floor_divide,
    lerp,
    masked,
    maximum,
    minimum,
    mul,
    neg,
    promote,
    remainder,
    sub,
    where,
)
from .index import (
    assign,
    gather,
    getitem,
    index_select,
    masked_fill,
    masked_select,
    narrow,
    nonzero,
    one_hot,
    put,
    scatter,
    scatter_add,
    setitem,
    take_along_dim,
)
from .join import cat, chunk, diagonal, flip, pad, repeat, roll, split, stack, tile, tril, triu, unbind
from .linear import linear, linear_relu
from .loss import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    mean_cross_entropy,
    soft_cross_entropy,
    softmax_cross_entropy,
)
from .matmul import bmm, dot, matmul, mm, mv, outer
from .memory import clone, to_device
from .norm import KnownNorm, batch_norm, batch_norm_relu, channel_affine, layer_norm, scale_and_shift
from .order import amax, amin, argmax, argmin, argsort, max, min, sort, topk
from .pool import (
    adaptive_avg_pool2d,
    adaptive_avg_pool2d_input_grad,
    adaptive_max_pool2d,
    adaptive_max_pool2d_with_indices,
    avg_pool2d,
    avg_pool2d_input_grad,
    max_pool2d,
    max_pool2d_at,
    max_pool2d_input_grad,
    max_pool2d_with_indices,
    max_unpool2d,
)
from .reduce import all, any, cumprod, cumsum, logsumexp, mean, norm, prod, std, var
from .shape import contiguous, flatten, movedim, permute, reshape, squeeze, transpose, unsqueeze
from .softmax import log_softmax, softmax
from .unary import (
    abs,
    ceil,
    cos,
    erf,
    exp,
    exp2,
    expm1,
    floor,
    log,
    log1p,
    log2,
    log10,
    pow,
    reciprocal,
    round,
    rsqrt,
    sigmoid,
    sign,
    sin,
    sqrt,
    square,
    tan,
    tanh,
    trunc,
)

__all__ = [
    "KnownNorm", "abs", "adaptive_avg_pool2d", "adaptive_avg_pool2d_input_grad", "adaptive_max_pool2d",
    "adaptive_max_pool2d_with_indices", "add", "add_relu", "all", "amax", "amin", "any", "argmax", "argmin", "argsort",
    "assign", "avg_pool2d", "avg_pool2d_input_grad", "batch_norm", "batch_norm_relu", "binary_cross_entropy",
    "binary_cross_entropy_with_logits", "bitwise_and", "bitwise_not", "bitwise_or", "bitwise_xor", "bmm",
    "broadcast", "cast", "cat", "ceil", "channel_affine", "chunk", "clamp", "clamp_max", "clamp_min", "clone",
    "contiguous", "conv2d", "conv2d_input_grad", "conv2d_norm", "conv2d_relu", "conv2d_weight_grad", "cos",
    "cumprod", "cumsum", "diagonal", "div", "dot", "dropout", "dropout_kept", "einsum", "elu", "eq", "erf", "exp",
    "exp2", "expand", "expm1", "flatten", "flip", "floor", "floor_divide", "gather", "ge", "gelu", "getitem", "gt",
    "index_select",
    "isfinite", "isinf", "isnan", "layer_norm", "le", "leaky_relu", "lerp", "linear", "linear_relu", "log", "log1p",
    "log2", "log10", "log_softmax", "logical_and", "logical_not", "logical_or", "logical_xor", "logsumexp", "lt",
    "masked", "masked_fill", "masked_select", "matmul", "max", "max_pool2d", "max_pool2d_at",
    "max_pool2d_input_grad", "max_pool2d_with_indices", "max_unpool2d", "maximum", "mean", "mean_cross_entropy",
    "min", "minimum", "mm", "movedim", "mul", "mv", "narrow", "ne", "neg", "nonzero", "norm", "one_hot", "outer",
    "pad", "permute", "pow", "prod", "promote", "put", "reciprocal", "relu", "relu_grad", "remainder", "repeat",
    "reshape", "roll", "round", "rsqrt", "scale_and_shift", "scatter", "scatter_add", "setitem", "sigmoid", "sign",
    "silu", "sin", "soft_cross_entropy", "softmax", "softmax_cross_entropy", "softplus", "sort", "split", "sqrt",
    "square", "squeeze", "stack", "std", "sub", "sum", "sum_to", "take_along_dim", "tan", "tanh", "tile",
    "to_device", "topk", "transpose", "tril", "triu", "trunc", "unbind", "unsqueeze", "var", "where",
]  # fmt: skip
