"""Ops that move or join elements."""

import numpy as np
import torch.nn.functional as F
from op_case import case, integers

from tinygrad_mnist import ops

X = (2, 3, 4)
IMAGE = (1, 2, 4, 3)

CASES = [
    *(
        case("reshape", X, ours=lambda x, s=s: ops.reshape(x, s), theirs=lambda x, s=s: x.reshape(s))
        for s in [(6, 4), (-1, 2), (24,), (2, 3, 4)]
    ),
    case("reshape", (), ours=lambda x: ops.reshape(x, (1, 1)), theirs=lambda x: x.reshape(1, 1)),
    case("reshape", (0, 3), ours=lambda x: ops.reshape(x, (3, -1)), theirs=lambda x: x.reshape(3, -1)),
    *(
        case("expand", (3, 1), ours=lambda x, s=s: ops.expand(x, s), theirs=lambda x, s=s: x.expand(s))
        for s in [(3, 4), (2, -1, 4), (3, 1), (3, 0)]
    ),
    case("expand", (), ours=lambda x: ops.expand(x, (2, 3)), theirs=lambda x: x.expand(2, 3)),
    case("permute", X, call=lambda m, x: m.permute(x, (2, 0, 1))),
    case("permute", X, call=lambda m, x: m.permute(x, (-1, 1, 0))),
    case("permute", (), call=lambda m, x: m.permute(x, ())),
    *(case("transpose", X, call=lambda m, x, d=d: m.transpose(x, *d)) for d in [(0, 1), (-1, 0), (1, 1)]),
    case("transpose", (), call=lambda m, x: m.transpose(x, 0, -1)),
    case("movedim", X, call=lambda m, x: m.movedim(x, 0, -1)),
    case("movedim", X, call=lambda m, x: m.movedim(x, (0, 1), (-1, 0))),
    *(
        case("flatten", x, call=lambda m, x, d=d: m.flatten(x, *d))
        for x, d in [(X, ()), (X, (1,)), (X, (0, 1)), ((), ()), ((0, 2), (1,))]
    ),
    case("squeeze", (1, 2, 1)),
    *(case("squeeze", (1, 2, 1), dim=d) for d in [0, 1, -1, (0, 2)]),
    *(case("unsqueeze", x, call=lambda m, x, d=d: m.unsqueeze(x, d)) for x, d in [(X, 0), (X, -1), (X, 2), ((), 0)]),
    case(
        "contiguous",
        X,
        ours=lambda x: ops.contiguous(ops.permute(x, (2, 0, 1))),
        theirs=lambda x: x.permute(2, 0, 1).contiguous(),
    ),
    case("contiguous", (), ours=ops.contiguous, theirs=lambda x: x.contiguous()),
    *(case("flip", X, call=lambda m, x, d=d: m.flip(x, d)) for d in [(0,), (-1, 1), ()]),
    *(case("roll", X, call=lambda m, x, a=a: m.roll(x, *a)) for a in [(3,), (1, 0), ((1, -2), (0, 2)), (7, -1)]),
    *(
        case(
            "pad",
            IMAGE,
            ours=lambda x, m=m: ops.pad(x, [(0, 0), (0, 0), (1, 2), (2, 1)], m),
            theirs=lambda x, m=m: F.pad(x, (2, 1, 1, 2), m),
        )
        for m in ["constant", "reflect", "replicate", "circular"]
    ),
    case(
        "pad",
        (3, 4),
        ours=lambda x: ops.pad(x, [(-1, 2), (1, -2)], value=7.0),
        theirs=lambda x: F.pad(x, (1, -2, -1, 2), value=7.0),
        covers=("_pad_constant",),
    ),
    case("pad", (0, 2), ours=lambda x: ops.pad(x, [(1, 1), (0, 0)]), theirs=lambda x: F.pad(x, (0, 0, 1, 1))),
    case("pad", np.array([1, 2, 3]), ours=lambda x: ops.pad(x, [(2, 1)], "reflect"), expected=[3, 2, 1, 2, 3, 2]),
    case("pad", np.array([1, 2, 3]), ours=lambda x: ops.pad(x, [(2, 1)], "replicate"), expected=[1, 1, 1, 2, 3, 3]),
    case("pad", np.array([1, 2, 3]), ours=lambda x: ops.pad(x, [(2, 1)], "circular"), expected=[2, 3, 1, 2, 3, 1]),
    case("cat", (2, 3), (2, 1), (2, 0), call=lambda m, *xs: m.cat(xs, 1), covers=("_cat",)),
    case("cat", (2, 3), integers(1, 3), call=lambda m, *xs: m.cat(xs)),
    case("cat", IMAGE, IMAGE, call=lambda m, *xs: m.cat(xs, -3)),
    *(case("stack", (2, 3), (2, 3), call=lambda m, *xs, d=d: m.stack(xs, d)) for d in [0, 1, -1]),
    case("stack", (), (), call=lambda m, *xs: m.stack(xs)),
    *(case("split", X, call=lambda m, x, a=a: m.split(x, *a)) for a in [(1,), (2, 1), ([1, 3], -1)]),
    case("split", (0, 2), call=lambda m, x: m.split(x, 2)),
    *(case("chunk", (5, 2), call=lambda m, x, n=n: m.chunk(x, n)) for n in [2, 3, 7]),
    case("chunk", (0, 2), call=lambda m, x: m.chunk(x, 3)),
    *(case("unbind", X, call=lambda m, x, d=d: m.unbind(x, d)) for d in [0, -1]),
    *(
        case("repeat", (2, 3), ours=lambda x, s=s: ops.repeat(x, s), theirs=lambda x, s=s: x.repeat(s))
        for s in [(2, 3), (2, 1, 2), (0, 1)]
    ),
    case("repeat", (), ours=lambda x: ops.repeat(x, (3,)), theirs=lambda x: x.repeat(3)),
    *(case("tile", (2, 3), call=lambda m, x, s=s: m.tile(x, s)) for s in [(2,), (2, 1, 2)]),
    *(case(name, x, diagonal=k) for name in ["tril", "triu"] for x, k in [((3, 3), 0), ((2, 3, 4), 1), ((4, 2), -1)]),
    *(case("diagonal", X, offset=k, dim1=a, dim2=b) for k, a, b in [(0, 0, 1), (1, 1, 2), (-1, -1, 0), (5, 0, 1)]),
]
