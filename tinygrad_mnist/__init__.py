"""A deep-learning framework written from scratch on NumPy and CuPy, with PyTorch's names.

    import tinygrad_mnist as tg
    from tinygrad_mnist import nn
"""

# ruff: noqa: F401  (what is imported here is what the package offers)



import importlib
from typing import Any

from numpy import finfo, iinfo

from . import autograd, backend, cuda, dtypes
from .autograd import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from .backend import device
from .creation import (
    arange,
    as_tensor,
    empty,
    empty_like,
    eye,
    from_numpy,
    full,
    full_like,
    get_default_device,
    linspace,
    ones,
    ones_like,
    set_default_device,
    zeros,
    zeros_like,
)
from .dtypes import (
    bool,
    can_cast,
    double,
    float,
    float16,
    float32,
    float64,
    get_default_dtype,
    half,
    int,
    int8,
    int16,
    int32,
    int64,
    long,
    promote_types,
    set_default_dtype,
    short,
    uint8,
)
from .functions import (
    add,
    addcdiv,
    addcmul,
    addmm,
    all,
    allclose,
    amax,
    amin,
    any,
    argmax,
    argmin,
    argsort,
    bincount,
    cat,
    count_nonzero,
    cumprod,
    cumsum,
    div,
    e,
    einsum,
    equal,
    inf,
    is_floating_point,
    is_tensor,
    isclose,
    log_softmax,
    logsumexp,
    max,
    mean,
    meshgrid,
    min,
    nan,
    nonzero,
    norm,
    numel,
    pi,
    prod,
    result_type,
    softmax,
    sort,
    stack,
    std,
    sub,
    sum,
    t,
    topk,
    unique,
    var,
    where,
)
from .functions import cat as concat
from .interop import from_dlpack
from .kernels.parallel import get_num_threads, set_num_threads
from .ops import (
    abs,
    bitwise_and,
    bitwise_not,
    bitwise_or,
    bitwise_xor,
    bmm,
    ceil,
    chunk,
    clamp,
    clone,
    cos,
    diagonal,
    dot,
    eq,
    erf,
    exp,
    exp2,
    expm1,
    flatten,
    flip,
    floor,
    floor_divide,
    gather,
    ge,
    gt,
    index_select,
    isfinite,
    isinf,
    isnan,
    le,
    lerp,
    log,
    log1p,
    log2,
    log10,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    lt,
    masked_fill,
    masked_select,
    matmul,
    maximum,
    minimum,
    mm,
    movedim,
    mul,
    mv,
    narrow,
    ne,
    neg,
    outer,
    permute,
    pow,
    reciprocal,
    relu,
    remainder,
    reshape,
    roll,
    round,
    rsqrt,
    scatter,
    scatter_add,
    sigmoid,
    sign,
    sin,
    split,
    sqrt,
    square,
    squeeze,
    take_along_dim,
    tan,
    tanh,
    tile,
    transpose,
    tril,
    triu,
    trunc,
    unbind,
    unsqueeze,
)
from .ops import clamp as clip
from .printing import set_printoptions
from .random import (
    Generator,
    bernoulli,
    default_generator,
    get_rng_state,
    initial_seed,
    manual_seed,
    multinomial,
    normal,
    rand,
    rand_like,
    randint,
    randint_like,
    randn,
    randn_like,
    randperm,
    seed,
    set_rng_state,
)
from .serialization import load, save
from .size import Size
from .tensor import Tensor, tensor  # after creation: `tensor` is the function, not the module

from . import nn, optim, utils  # isort: skip  (they use the names above)

_LAZY = {"checkpoint", "datasets", "finetune", "hub", "models", "pretraining", "training", "transforms"}


def __getattr__(name: str) -> Any:
    """Import a submodule at its first use: `tg.datasets`, `tg.models`, ..."""
    if name in _LAZY:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
