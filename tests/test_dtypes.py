"""Type promotion against PyTorch's, over every pair of types and kinds of operand."""

import itertools

import numpy as np
import pytest
import torch

import tinygrad_mnist as tg

NAMES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"]
KINDS = ["tensor", "0-d", "number"]
NUMBERS = {"bool": True, "int64": 1, "float64": 1.0}


def name(dtype):
    return str(dtype).removeprefix("torch.")


def operand(lib, dtype, kind):
    if kind == "number":
        return NUMBERS[dtype]
    return lib.ones((2,) if kind == "tensor" else (), dtype=getattr(lib, dtype))


PAIRS = [
    (a, kind_a, b, kind_b)
    for (a, kind_a), (b, kind_b) in itertools.product(itertools.product(NAMES, KINDS), repeat=2)
    if (kind_a != "number" or a in NUMBERS)
    and (kind_b != "number" or b in NUMBERS)
    and not (kind_a == kind_b == "number")
]


def test_every_pair_of_operands():
    wrong = []
    for a, kind_a, b, kind_b in PAIRS:
        ours = operand(tg, a, kind_a) * operand(tg, b, kind_b)
        theirs = operand(torch, a, kind_a) * operand(torch, b, kind_b)
        if name(ours.dtype) != name(theirs.dtype):
            wrong.append((a, kind_a, b, kind_b, name(ours.dtype), name(theirs.dtype)))
    assert len(PAIRS) > 400
    assert wrong == []


def test_result_type():
    wrong = []
    for a, kind_a, b, kind_b in PAIRS:
        ours = tg.result_type(operand(tg, a, kind_a), operand(tg, b, kind_b))
        theirs = torch.result_type(operand(torch, a, kind_a), operand(torch, b, kind_b))
        if name(ours) != name(theirs):
            wrong.append((a, kind_a, b, kind_b, name(ours), name(theirs)))
    assert wrong == []


@pytest.mark.parametrize("a", NAMES)
@pytest.mark.parametrize("b", NAMES)
def test_promote_types_and_can_cast(a, b):
    assert name(tg.promote_types(getattr(tg, a), getattr(tg, b))) == name(
        torch.promote_types(getattr(torch, a), getattr(torch, b))
    )
    assert tg.can_cast(getattr(tg, a), getattr(tg, b)) == torch.can_cast(getattr(torch, a), getattr(torch, b))


def test_default_dtype():
    assert tg.get_default_dtype() == tg.float32
    try:
        tg.set_default_dtype(tg.float64)
        assert tg.ones(2).dtype == tg.float64
        assert tg.tensor([1.5]).dtype == tg.float64
        assert (tg.arange(2) * 0.5).dtype == tg.float64
        assert repr(tg.ones(1)) == "tensor([1.])"
    finally:
        tg.set_default_dtype(tg.float32)
    with pytest.raises(TypeError, match="expected a floating dtype, got int64"):
        tg.set_default_dtype(tg.int64)


def test_numpy_scalars_count_as_python_numbers():
    assert (tg.ones(2) * np.float64(2)).dtype == tg.float32
    assert (np.float64(2) * tg.ones(2)).dtype == tg.float32
    assert (tg.arange(2) + np.int8(2)).dtype == tg.int64
    assert (np.int32(2) + tg.arange(2)).dtype == tg.int64
    assert (tg.arange(2) * np.float32(2)).dtype == tg.float32
    assert tg.mul(tg.arange(2), np.float64(2)).dtype == tg.float32
    assert tg.mul(tg.tensor([True]), np.True_).dtype == tg.bool
    assert (tg.ones(2, dtype=tg.float64) * np.float32(2)).dtype == tg.float64


def test_aliases():
    assert (tg.float, tg.double, tg.half) == (tg.float32, tg.float64, tg.float16)
    assert (tg.short, tg.int, tg.long) == (tg.int16, tg.int32, tg.int64)
