"""Largest, smallest, sorted."""

import numpy as np
from op_case import case, integers, normal

from tinygrad_mnist import ops

TIES = np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]])
NANS = np.array([[1.0, np.nan, 3.0], [2.0, 0.0, np.nan]])


def pair(name, **options):
    """Both return (values, indices); torch as a named tuple."""
    return lambda m, x: tuple(getattr(m, name)(x, **options))


CASES = [
    *(
        case(name, (2, 3, 4), call=lambda m, x, n=name, d=dim, k=k: getattr(m, n)(x, dim=d, keepdim=k))
        for name in ["amax", "amin"]
        for dim, k in [((0, 1, 2), False), (0, True), (-1, False), ((0, 2), True)]
    ),
    *(case(name, TIES, dim=dim, kinks=True) for name in ["amax", "amin"] for dim in [0, 1, (0, 1)]),
    *(case(name, x) for name in ["max", "min"] for x in [(2, 3), (), integers(4)]),
    *(case(name, TIES, kinks=True) for name in ["max", "min"]),
    *(
        case(name, (2, 3, 4), call=pair(name, dim=dim, keepdim=k))
        for name in ["max", "min"]
        for dim, k in [(0, False), (1, True), (-1, False)]
    ),
    *(case(name, (), call=pair(name, dim=0)) for name in ["max", "min"]),
    *(case(name, NANS, call=pair(name, dim=1), kinks=True) for name in ["max", "min"]),
    *(case(name, (0, 2), call=pair(name, dim=1)) for name in ["max", "min"]),
    *(
        case(name, x, dim=dim, keepdim=k, grad=False)
        for name in ["argmax", "argmin"]
        for x in [normal(2, 3), NANS]
        for dim, k in [(None, False), (None, True), (0, False), (-1, True)]
    ),
    *(case(name, (), grad=False) for name in ["argmax", "argmin"]),
    *(
        case(name, x, call=pair("sort", dim=dim, descending=d) if name == "sort" else None, **o)
        for x in [(2, 3, 4), (3, 0, 2)]
        for dim, d in [(0, False), (1, True), (-1, False)]
        for name, o in [("sort", {}), ("argsort", {"dim": dim, "descending": d, "grad": False})]
    ),
    case("sort", (), call=pair("sort")),
    case("argsort", (), grad=False),
    case("sort", NANS, call=pair("sort", dim=1), kinks=True),
    case("sort", NANS, call=pair("sort", dim=1, descending=True), kinks=True),
    case("argsort", np.array([2, 1, 2, 1]), expected=[1, 3, 0, 2]),
    case("argsort", np.array([2, 1, 2, 1]), ours=lambda x: ops.argsort(x, descending=True), expected=[0, 2, 1, 3]),
    *(
        case("topk", (2, 5), call=lambda m, x, k=k, d=d, g=g: tuple(m.topk(x, k, d, g)))
        for k, d, g in [(2, -1, True), (5, 1, False), (1, 0, True), (0, 1, True)]
    ),
    case("topk", (), call=lambda m, x: tuple(m.topk(x, 1))),
]
