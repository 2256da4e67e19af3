"""Picking elements and putting them back."""

import numpy as np
import torch
from op_case import case, integers, normal

from tinygrad_mnist import ops

X = (3, 4, 2)
MASK = np.array([[True, False, True, False], [False] * 4, [True] * 4])
ROWS, COLUMNS = np.array([0, 2, 2, -1]), np.array([3, 0, 0, 1])
INDICES = {
    "int": 1,
    "negative": -1,
    "ints": (1, 2, 0),
    "slice": slice(1, None),
    "steps": (slice(None, None, 2), slice(1, 4, 2)),
    "new axis": (None, 0, ..., None),
    "dots": (..., 1),
    "empty": slice(2, 2),
    "list": [0, 2],
    "no rows": [],
    "array": ROWS,
    "repeated": np.array([1, 1, 1]),
    "2-d array": np.array([[0, 1], [1, 2]]),
    "two arrays": (ROWS, COLUMNS),
    "arrays apart": (ROWS, slice(None), np.array([0, 1, 1, 0])),
    "int and array": (0, slice(None), np.array([1, 0, 1])),
    "array and int": (ROWS, 1),
    "mask": MASK,
    "row mask": (slice(None), np.array([True, False, False, True])),
    "mask and array": (np.array([True, False, True]), np.array([1, 2])),
    "none and array": (None, ROWS),
    "scalar array": np.array(2),
    "full": ...,
    "nothing": (),
}
UNIQUE = {
    k: v
    for k, v in INDICES.items()
    if k
    not in (
        "array",
        "repeated",
        "two arrays",
        "2-d array",
        "arrays apart",
        "none and array",
        "int and array",
        "array and int",
    )
}


def to_torch(index):
    if isinstance(index, tuple):
        return tuple(to_torch(i) for i in index)
    return torch.tensor(index) if isinstance(index, np.ndarray) else index


def get(index):
    return {"ours": lambda x: ops.getitem(x, index), "theirs": lambda x: x[to_torch(index)]}


def put_into(x, index, value):
    x = x.clone()
    x[to_torch(index)] = value
    return x


def set_(index):
    return {"ours": lambda x, v: ops.setitem(x, index, v), "theirs": lambda x, v: put_into(x, index, v)}


PERMUTED = np.argsort(normal(3, 4, 2), axis=1)

CASES = [
    *(case("getitem", X, **get(i)) for i in INDICES.values()),
    *(case("setitem", X, np.array(normal(*X)[i]), **set_(i)) for i in UNIQUE.values()),
    case("setitem", X, (2,), **set_((slice(0, 2), 1))),
    case("setitem", X, (1, 1, 2), **set_(0)),
    case("setitem", X, ours=lambda x: ops.setitem(x, 1, 7.0), theirs=lambda x: put_into(x, 1, 7.0)),
    case(
        "setitem",
        np.zeros(3),
        (2,),
        ours=lambda x, v: ops.setitem(x, np.array([0, 2]), v),
        expected=lambda x, v: [v[0], 0, v[1]],
    ),
    case(
        "put",
        (4,),
        ours=lambda x: ops.put(x, (np.array([1, 1, 0, 1]),), (3,)),
        expected=lambda x: [x[2], x[0] + x[1] + x[3], 0],
    ),
    case(
        "put",
        integers(3),
        ours=lambda x: ops.put(x, (np.array([1, 1, 0]),), (2,)),
        expected=lambda x: [x[2], x[0] + x[1]],
    ),
    case("put", (2, 2), ours=lambda x: ops.put(x, (slice(0, 2),), (3, 2)), expected=lambda x: [*x, [0, 0]]),
    *(
        case("gather", X, i, call=lambda m, x, i, d=d: m.gather(x, d, i))
        for i, d in [
            (integers(3, 4, 2, low=0, high=3), 0),
            (integers(2, 5, 2, low=0, high=4), 1),
            (integers(3, 4, 1, low=0, high=2), -1),
        ]
    ),
    case("gather", (), np.array(0), call=lambda m, x, i: m.gather(x, 0, i)),
    case("scatter", X, PERMUTED, X, call=lambda m, x, i, src: m.scatter(x, 1, i, src)),
    case("scatter", X, PERMUTED[:, :1], call=lambda m, x, i: m.scatter(x, 1, i, 2.0)),
    case("scatter_add", X, integers(3, 4, 2, low=0, high=4), X, call=lambda m, x, i, src: m.scatter_add(x, 1, i, src)),
    case(
        "scatter_add",
        (2,),
        np.array([1, 1, 1]),
        np.array([1.0, 2.0, 3.0]),
        call=lambda m, x, i, src: m.scatter_add(x, 0, i, src),
    ),
    case(
        "scatter_add",
        (3,),
        np.array([1]),
        (2,),
        ours=lambda x, i, s: ops.scatter_add(x, 0, i, s),
        expected=lambda x, i, s: [x[0], x[1] + s[0], x[2]],
    ),
    case("index_select", X, np.array([3, 0, 0]), call=lambda m, x, i: m.index_select(x, 1, i)),
    case("index_select", X, np.array([], np.int64), call=lambda m, x, i: m.index_select(x, -1, i)),
    case("narrow", X, call=lambda m, x: m.narrow(x, 1, 1, 2)),
    case("take_along_dim", X, PERMUTED, call=lambda m, x, i: m.take_along_dim(x, i, 1)),
    case("take_along_dim", (1, 3), integers(4, 2, low=0, high=3), call=lambda m, x, i: m.take_along_dim(x, i, -1)),
    case("take_along_dim", (2, 3), np.array([5, 0, 0]), call=lambda m, x, i: m.take_along_dim(x, i)),
    case("masked_fill", (3, 4), MASK, call=lambda m, x, k: m.masked_fill(x, k, -1.0)),
    case("masked_fill", (3, 4), MASK[0], (), call=lambda m, x, k, v: m.masked_fill(x, k, v)),
    case("masked_select", (3, 4), MASK, call=lambda m, x, k: m.masked_select(x, k)),
    case("masked_select", (3, 4), MASK[0], call=lambda m, x, k: m.masked_select(x, k)),
    *(case("nonzero", x) for x in [integers(3, 4, low=0, high=2), np.array(3), np.zeros((0, 2), np.int64), MASK]),
    case("one_hot", np.array([[0, 2], [1, 1]])),
    case("one_hot", np.array([0, 2]), num_classes=4, expected=[[1, 0, 0, 0], [0, 0, 1, 0]]),
    case("one_hot", np.zeros((0,), np.int64), num_classes=3),
]
