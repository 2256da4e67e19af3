"""A deep-learning framework written from scratch on NumPy and CuPy, with PyTorch's names."""

from . import autograd, cuda, dtypes, ops
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
    linspace,
    ones,
    ones_like,
    zeros,
    zeros_like,
)
from .dtypes import (
    bool,
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
from .size import Size
from .tensor import Tensor, tensor


def __getattr__(name):  # TRANSITIONAL: ops by their own names
    import importlib

    if name in ("nn", "optim", "utils", "datasets", "transforms", "models", "checkpoint", "training", "gradcheck"):
        return importlib.import_module(f".{name}", __name__)
    return getattr(ops, name)
