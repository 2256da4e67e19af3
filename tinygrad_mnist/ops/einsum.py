"""Sums of products in Einstein's notation, by way of matrix products."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

from ..autograd import Variable
from .broadcast import expand, sum
from .join import diagonal
from .matmul import matmul
from .shape import permute, reshape


def einsum(equation: str, *operands: Variable) -> Any:
    """Multiply the operands, and sum over the letters that are not in the output: einsum('ik,kj->ij', a, b) = a @ b.

    A letter twice in one operand takes the diagonal, `...` stands for dimensions that are broadcast. Without `->` the
    output has `...`, then the letters that occur once, in alphabetical order. Operands are contracted from the left.
    """
    inputs, output = _parse(equation, operands)
    sizes = _sizes(inputs, operands)
    terms = [_without_repeats(labels, x) for labels, x in zip(inputs, operands, strict=True)]
    labels, x = terms[0]
    for i, (other_labels, other) in enumerate(terms[1:], 2):
        needed = set(output).union(*(later for later, _ in terms[i:]))
        labels, x = _contract(labels, x, other_labels, other, needed, sizes)
    labels, x = _sum_out(labels, x, set(output))
    x = expand(x, tuple(sizes[c] for c in labels))
    return permute(x, [labels.index(c) for c in output])


def _parse(equation: str, operands: Sequence[Variable]) -> tuple[list[str], str]:
    """The labels of each operand and of the output; `...` as labels of its own, the same from the right."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    parts = left.split(",")
    if len(parts) != len(operands):
        raise RuntimeError(f"einsum(): {equation!r} names {len(parts)} operands, got {len(operands)}")
    spare = [c for c in "αβγδεζηθικλμνξοπρστυφχψω" if c not in equation]
    inputs = [_expand_ellipsis(part, x, spare) for part, x in zip(parts, operands, strict=True)]
    for c in "".join(parts).replace("...", "") + right.replace("...", ""):
        if c not in string.ascii_letters:
            raise RuntimeError(f"einsum(): invalid subscript {c!r} in {equation!r}, subscripts must be in [a-zA-Z]")
    used = "".join(inputs)
    dots = "".join(sorted({c for c in used if c in spare}, key=spare.index, reverse=True))
    if not arrow:
        return inputs, dots + "".join(sorted(c for c in set(used) if used.count(c) == 1 and c not in spare))
    output = right.replace("...", dots)
    for c in output:
        if c not in used or output.count(c) > 1:
            raise RuntimeError(
                f"einsum(): output subscript {c!r} of {equation!r} must be in an input, and once in the output"
            )
    return inputs, output


def _expand_ellipsis(part: str, x: Variable, spare: list[str]) -> str:
    named = len(part.replace("...", ""))
    hidden = x.ndim - named
    if part.count("...") > 1 or hidden < 0 or (hidden and "..." not in part):
        raise RuntimeError(f"einsum(): the subscripts {part!r} do not match an operand with {x.ndim} dimensions")
    return part.replace("...", "".join(reversed(spare[:hidden])))


def _sizes(inputs: Sequence[str], operands: Sequence[Variable]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for i, (labels, x) in enumerate(zip(inputs, operands, strict=True)):
        for c, n in zip(labels, x.shape, strict=True):
            seen = sizes.setdefault(c, n)
            if seen == 1:
                sizes[c] = n
            elif n not in (1, seen):
                raise RuntimeError(
                    f"einsum(): subscript {c} has size {n} for operand {i} which does not broadcast with previously "
                    f"seen size {seen}"
                )
    return sizes


def _without_repeats(labels: str, x: Variable) -> tuple[str, Variable]:
    """The diagonal over each label that occurs twice."""
    for c in labels:
        while labels.count(c) > 1:
            i = labels.index(c)
            j = labels.index(c, i + 1)
            x = diagonal(x, 0, i, j)
            labels = labels[:i] + labels[i + 1 : j] + labels[j + 1 :] + c
    return labels, x


def _sum_out(labels: str, x: Variable, needed: set[str]) -> tuple[str, Variable]:
    """x summed over the labels that nothing needs."""
    dims = [i for i, c in enumerate(labels) if c not in needed]
    return "".join(c for c in labels if c in needed), sum(x, dims) if dims else x


def _contract(
    a: str, x: Variable, b: str, y: Variable, needed: set[str], sizes: dict[str, int]
) -> tuple[str, Variable]:
    """The product of two operands, summed over what they share and nothing else needs: one batched matrix product."""
    a, x = _sum_out(a, x, needed | set(b))
    b, y = _sum_out(b, y, needed | set(a))
    batch = [c for c in a if c in b and c in needed]
    summed = [c for c in a if c in b and c not in needed]
    rows = [c for c in a if c not in b]
    columns = [c for c in b if c not in a]

    def matrix(labels: str, v: Variable, *groups: list[str]) -> Variable:
        shared = {*batch, *summed}
        v = expand(v, tuple(sizes[c] if c in shared else n for c, n in zip(labels, v.shape, strict=True)))
        v = permute(v, [labels.index(c) for group in groups for c in group])
        return reshape(v, tuple(_product(sizes, group) for group in groups))

    product = matmul(matrix(a, x, batch, rows, summed), matrix(b, y, batch, summed, columns))
    labels = [*batch, *rows, *columns]
    return "".join(labels), reshape(product, tuple(sizes[c] for c in labels))


def _product(sizes: dict[str, int], labels: list[str]) -> int:
    n = 1
    for c in labels:
        n *= sizes[c]
    return n
