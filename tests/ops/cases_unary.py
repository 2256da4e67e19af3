"""Functions of one number and activations."""

import math

import numpy as np
import torch
from op_case import case, integers, positive

from tinygrad_mnist import ops

KINKS = np.array([-1.0, -0.0, 0.0, 1.0])
SMOOTH = ["exp", "exp2", "expm1", "sin", "cos", "tan", "tanh", "sigmoid", "erf", "square"]
ACTIVATIONS = ["relu", "leaky_relu", "elu", "gelu", "silu", "softplus"]
POSITIVE = ["log", "log2", "log10", "log1p", "sqrt", "rsqrt", "reciprocal"]
RESULT = np.array([0.0, 2.0, 1.0, 0.0])
EXTREME = np.array([-1000.0, -90.0, -20.0, -1e-8, 1e-8, 15.0, 90.0, 1000.0])

CASES = [
    *(case(name, shape) for name in SMOOTH + ACTIVATIONS for shape in [(2, 3), (), (0,), (2, 3, 2, 2)]),
    *(case(name, positive(*shape)) for name in POSITIVE for shape in [(2, 3), (), (0,)]),
    *(case(name, integers(4, low=1), grad=False) for name in [*POSITIVE, *SMOOTH[:-1]]),
    *(case(name, EXTREME, kinks=True) for name in ["tanh", "sigmoid", "erf", "expm1", *ACTIVATIONS]),
    *(case(name, KINKS, kinks=True) for name in ["abs", "sign", "sqrt", "relu", "leaky_relu", "log"]),
    case("elu", KINKS, kinks=True, second=False),
    *(case(name, (2, 3)) for name in ["abs", "sign"]),
    *(case(name, np.array([-1.5, -0.4, 0.5, 2.5])) for name in ["floor", "ceil", "trunc"]),
    case("round", np.array([-1.5, -0.4, 0.5, 2.5]), kinks=True, expected=[-2.0, -0.0, 0.0, 2.0]),
    case("round", (3,), decimals=2),
    *(case(name, integers(4)) for name in ["abs", "sign", "square", "floor", "ceil", "trunc", "round", "relu"]),
    case("leaky_relu", (4,), negative_slope=0.3),
    case("elu", (4,), alpha=0.7),
    case("gelu", (4,), approximate="tanh"),
    case("softplus", (4,), beta=3.0, threshold=1.0),
    case(
        "relu_grad",
        (4,),
        ours=lambda g: ops.relu_grad(g, g.like(g.xp.asarray(RESULT, g.dtype))),
        expected=lambda g: g * (RESULT > 0),
    ),
    *(
        case("add_relu", shape, shape, theirs=lambda a, b: torch.relu(a + b))
        for shape in [(2, 3), (), (0,), (2, 3, 2, 3)]
    ),
    case("add_relu", np.array([1.0, -3.0, -2.0]), np.array([2.0, 1.0, 2.5]), expected=[3.0, 0.0, 0.5]),
    case("exp", np.array([0.0, 1.0]), expected=[1.0, math.e]),
    case("erf", (50,), expected=np.vectorize(math.erf)),
    case(
        "erf",
        np.array([0.0, 0.999999, 1.0, -1.0, 5.9, 6.1, np.inf, np.nan]),
        grad=False,
        expected=np.vectorize(math.erf),
    ),
    case("sigmoid", np.array([0.0, math.log(3)]), expected=[0.5, 0.75]),
]
