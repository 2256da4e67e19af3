"""Matrix products and einsum."""

import numpy as np
from op_case import case, integers

RANKS = [
    ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 4)), ((2, 3), (3, 4)), ((5, 2, 3), (3,)), ((3,), (5, 3, 4)),
    ((5, 2, 3), (3, 4)), ((2, 3), (5, 3, 4)), ((5, 2, 3), (5, 3, 4)), ((2, 1, 2, 3), (3, 3, 1)), ((0, 3), (3, 2)),
    ((2, 0), (0, 3)), ((0, 2, 3), (3, 2)), ((2, 2, 0), (0, 3)), ((0, 2, 3), (0, 3, 1)), ((2, 0), (0,)),
]  # fmt: skip
EQUATIONS = [
    ("ij,jk->ik", (2, 3), (3, 4)), ("ij,jk", (2, 3), (3, 4)), ("ii->i", (3, 3)), ("ii", (3, 3)), ("iii->i", (2, 2, 2)),
    ("bij,bjk->bik", (2, 2, 3), (2, 3, 4)), ("...ij,...jk->...ik", (2, 1, 2, 3), (5, 3, 4)), ("i,j->ij", (2,), (3,)),
    ("ijk->k", (2, 3, 4)), ("ij,jk,kl->il", (2, 3), (3, 4), (4, 2)), ("ij,ij->", (2, 3), (2, 3)),
    ("ij,jj->i", (2, 3), (3, 3)), ("i...->...", (2, 3, 4)), ("bhqd,bhkd->bhqk", (2, 2, 3, 2), (2, 2, 4, 2)),
    ("ba", (2, 3)), ("ij, kj -> ki", (1, 3), (2, 1)), ("ij->ji", (2, 3)), ("...,...->...", (2, 1), (3,)),
    ("i,i,i->i", (3,), (3,), (3,)), ("ij,j->ij", (2, 3), (3,)), ("...i->...", (2, 3)), (",i->i", (), (3,)),
    ("ij,jk->ik", (0, 3), (3, 2)), ("Ab,bA->", (2, 3), (3, 2)),
]  # fmt: skip

CASES = [
    *(case("matmul", *shapes, covers=("_matmul",)) for shapes in RANKS),
    case("matmul", integers(2, 3), integers(3, 2)),
    case("matmul", np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([5.0, 6.0]), expected=[17.0, 39.0]),
    case("matmul", (2, 3), call=lambda m, x: m.matmul(x, m.transpose(x, 0, 1))),
    case("mm", (2, 3), (3, 4)),
    case("bmm", (2, 2, 3), (2, 3, 4)),
    case("mv", (2, 3), (3,)),
    case("dot", (3,), (3,)),
    case("outer", (2,), (3,)),
    *(case("einsum", *shapes, call=lambda m, *xs, e=equation: m.einsum(e, *xs)) for equation, *shapes in EQUATIONS),
    case(
        "einsum", (2, 3), (3, 4), call=lambda m, *xs: m.einsum("ij,jk->ik", *xs),
        expected=lambda x, y: naive_product(x, y),
    ),
]  # fmt: skip


def naive_product(x, y):
    out = np.zeros((len(x), len(y[0])))
    for i in range(len(x)):
        for k in range(len(y[0])):
            for j in range(len(y)):
                out[i, k] += x[i][j] * y[j][k]
    return out
