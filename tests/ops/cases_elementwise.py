"""Arithmetic, choices, comparisons."""

import numpy as np
from op_case import case, integers, normal, positive

from tinygrad_mnist import dtypes, ops

TIES = np.array([0.0, 1.0, 1.0, -2.0, np.nan])
OTHER = np.array([0.0, 1.0, 2.0, -3.0, 1.0])
BITS = integers(3, 4), integers(4)
FLAGS = np.array([True, True, False]), np.array([True, False, False])

CASES = [
    case("cast", (2, 3), ours=lambda x: ops.cast(x, dtypes.float64), theirs=lambda x: x.double()),
    case("cast", integers(3), ours=lambda x: ops.cast(x, dtypes.float32), theirs=lambda x: x.float()),
    *(
        case(name, *shapes)
        for name in ("add", "sub", "mul", "maximum", "minimum")
        for shapes in [
            ((2, 3), (2, 3)),
            ((2, 3), (3,)),
            ((2, 1), (3,)),
            ((), (2,)),
            ((0, 3), (3,)),
            ((2, 1, 3, 2), (4, 1, 1)),
        ]
    ),
    case("add", np.array([1.0, 2.0]), np.array([[10.0], [20.0]]), expected=[[11.0, 12.0], [21.0, 22.0]]),
    case("add", (3,), call=lambda m, x: m.add(x, 2.5)),
    case("add", (3,), ours=lambda x: ops.add(2, x), theirs=lambda x: 2 + x),
    case("add", integers(3), ours=lambda x: ops.add(x, 2.5), theirs=lambda x: x + 2.5),
    case("add", integers(3), np.array([True, False, True])),
    case("add", integers(3).astype(np.uint8), integers(3).astype(np.int32)),
    case("sub", (3,), ours=lambda x: ops.sub(1.5, x), theirs=lambda x: 1.5 - x),
    case("mul", (3,), call=lambda m, x: m.mul(x, x)),
    case("mul", (3,), call=lambda m, x: m.mul(x, -2)),
    *(case("div", normal(*a), positive(*b)) for a, b in [((2, 3), (2, 3)), ((2, 3), (3,)), ((3,), ()), ((0,), (1,))]),
    case("div", positive(3), ours=lambda x: ops.div(2.0, x), theirs=lambda x: 2.0 / x),
    case("div", integers(3), integers(3, low=1), grad=False),
    case("div", np.array([1.0, -1.0, 0.0]), call=lambda m, x: m.div(x, 0.0), kinks=True),
    case("neg", (2, 3)),
    case("neg", integers(3)),
    case("floor_divide", integers(3, 4), integers(4, low=1), grad=False),
    case(
        "floor_divide",
        np.array([7.5, -7.5]),
        call=lambda m, x: m.floor_divide(x, 2.0),
        expected=[3.0, -4.0],
        grad=False,
    ),
    case("remainder", np.array([7.5, -7.5, 2.2]), np.array([2.0, 2.0, -1.5]), expected=[1.5, 0.5, -0.8]),
    case("remainder", (3,), call=lambda m, x: m.remainder(x, 0.75)),
    case("remainder", integers(3), integers(3, low=1), grad=False),
    case("pow", positive(2, 3), (3,)),
    *(case("pow", (4,), call=lambda m, x, p=p: m.pow(x, p)) for p in (0, 1, 2, 3, 2.0, -1)),
    *(case("pow", positive(4), call=lambda m, x, p=p: m.pow(x, p)) for p in (0.5, -0.5, 2.5)),
    *(case("pow", np.array([0.0, -1.0]), call=lambda m, x, p=p: m.pow(x, p), kinks=True) for p in (0, 1, 2, 3)),
    *(case("pow", (4,), ours=lambda x, b=b: ops.pow(b, x), theirs=lambda x, b=b: b**x) for b in (2, 0.5)),
    case(
        "pow",
        np.array([0.0, 1.0, 2.0]),
        ours=lambda x: ops.pow(0.0, x),
        theirs=lambda x: 0.0**x,
        kinks=True,
        second=False,
    ),
    case("pow", np.array([0.0, 1.0]), ours=lambda x: ops.pow(-2.0, x), theirs=lambda x: (-2.0) ** x, kinks=True),
    case("pow", np.array([0.0, 0, 0, 2, -2]), np.array([0.0, 1, 2, 0, 2]), kinks=True, second=False),
    case("pow", integers(4), call=lambda m, x: m.pow(x, 2), grad=False),
    case("maximum", TIES, OTHER, kinks=True),
    case("minimum", TIES, OTHER, kinks=True),
    case("maximum", integers(4), integers(4)),
    *(case("clamp", (3, 4), min=low, max=high) for low, high in [(-0.5, 0.5), (None, 0.3), (0.1, None), (0.5, -0.5)]),
    case("clamp", np.array([-1.0, 0.0, 1.0, np.nan]), min=-1, max=1, kinks=True, expected=[-1.0, 0.0, 1.0, np.nan]),
    case("clamp", (2, 3), (3,), normal(2, 1) + 1),
    case("clamp", integers(5), min=0, max=2),
    case("clamp_min", (5,), (5,)),
    case("clamp_max", (5,), (5,)),
    case("where", np.array([[True], [False]]), (2, 3), (3,), covers=("_where",)),
    case("where", np.array([True, False]), (2,), call=lambda m, c, x: m.where(c, x, 1.0)),
    case("where", np.array([True, False]), (2,), call=lambda m, c, x: m.where(c, 1, x)),
    case("where", np.array([True, False]), call=lambda m, c: m.where(c, 1.0, 0)),
    case("where", np.array([True, False]), call=lambda m, c: m.where(c, 1, 0), expected=[1, 0]),
    case("lerp", (2, 3), (2, 3), (2, 3)),
    case("lerp", (2, 3), (2, 3), call=lambda m, x, y: m.lerp(x, y, 0.3)),
    case(
        "masked", (2, 3), ours=lambda x: ops.masked(x, x.xp.eye(2, 3, dtype=bool)), expected=lambda x: np.eye(2, 3) * x
    ),
    case(
        "masked",
        np.array([np.nan, np.inf]),
        ours=lambda x: ops.masked(x, False),
        expected=[0.0, 0.0],
        kinks=False,
        grad=False,
    ),
    *(case(name, TIES, OTHER, grad=False) for name in ("eq", "ne", "lt", "le", "gt", "ge")),
    *(
        case(name, integers(2, 3), call=lambda m, x, n=name: getattr(m, n)(x, 1))
        for name in ("eq", "ne", "lt", "le", "gt", "ge")
    ),
    *(
        case(name, np.array([0.0, np.nan, np.inf, -np.inf]), grad=False)
        for name in ("isnan", "isinf", "isfinite", "logical_not")
    ),
    *(
        case(name, np.array([0.0, 1.0, 0.0, 2.0]), np.array([0.0, 0.0, 3.0, 1.0]), grad=False)
        for name in ("logical_and", "logical_or", "logical_xor")
    ),
    *(case(name, *pair) for name in ("bitwise_and", "bitwise_or", "bitwise_xor") for pair in (BITS, FLAGS)),
    case("bitwise_not", integers(4)),
    case("bitwise_not", FLAGS[0]),
]
