"""The surface of Tensor against PyTorch's: attributes, conversions, operators, methods, errors."""

import copy
import operator
import pickle

import numpy as np
import pytest
import torch

import tinygrad_mnist as tg

pytestmark = pytest.mark.usefixtures("default_device")


def same(ours, theirs):
    """Equal values, shapes and dtypes; also in tuples, and for plain Python values."""
    if isinstance(theirs, torch.Tensor):
        assert isinstance(ours, tg.Tensor)
        assert str(ours.dtype) == str(theirs.dtype).removeprefix("torch.")
        assert tuple(ours.shape) == tuple(theirs.shape)
        np.testing.assert_allclose(ours.numpy(force=True), theirs.numpy(force=True), rtol=1e-5, atol=1e-6)
    elif isinstance(theirs, tuple | list) and any(isinstance(t, torch.Tensor) for t in theirs):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            same(a, b)
    else:
        assert ours == theirs
        assert type(ours) is type(theirs) or isinstance(ours, tuple)


EXPRESSIONS = """
    x.ndim | x.dim() | x.numel() | x.nelement() | x.element_size() | x.itemsize | x.nbytes | x.size(0) | x.size(-1)
    x.stride() | x.stride(1) | x.T.stride() | x.is_contiguous() | x.T.is_contiguous() | x.is_floating_point()
    i.is_floating_point() | x.is_cuda | x.requires_grad | x.is_leaf | len(x) | x.tolist() | i.tolist() | b.tolist()
    s.item() | i[0].item() | b[0].item() | float(s) | int(s) | bool(s) | x.shape.numel() | list(x.size())
    x.double() | x.half() | x.long() | x.int() | x.short() | x.bool() | x.byte() | i.float() | x.type_as(i)
    x.to(i) | x.to(L.float64) | x.to("cpu", L.int64) | x.to(dtype=L.int32) | x.to(L.device("cpu")) | x.cpu()
    x.type(L.int8) | x.requires_grad_().long().requires_grad | x.copy_(L.tensor([1e300, 1, 2], dtype=L.float64))
    x.view(3, 2) | x.view(-1) | x.reshape(6, 1) | x.reshape((3, -1)) | x.view_as(x.T)
    x.reshape_as(i[:, None].expand(6, 1))
    x.T | x.mT | x.t() | x.permute(1, 0) | x.permute((1, 0)) | x.transpose(0, -1) | x.flatten()
    x.unsqueeze(0).squeeze(0)
    x[:1].expand(4, 3) | x[:1].expand(-1, 3) | x[:1].expand_as(x) | x.repeat(2, 1) | x.tile(2) | x.flip(0, 1)
    x.flip([1])
    x.roll(1, 0) | x.split(2, dim=1) | x.chunk(2, 1) | x.unbind(1) | x.movedim(0, 1) | x.contiguous() | x.clone()
    x + 1 | 1 + x | x - 2 | 2 - x | x * 3 | 3 * x | x / 2 | 2 / x | x // 2 | 2 // x | x % 2 | 2 % x | x ** 2 | 2 ** x
    x @ x.T | -x | +x | abs(-x) | x + i[:3] | i / 2 | i // 2 | i % 3 | True + i | i & 1 | i | 4 | i ^ 3 | ~i | ~b
    3 & i | 3 ^ i | b & b | x == 2 | x != 2 | x < 2 | x <= 2 | x > 2 | x >= 2 | 2 < x | 2 >= x
    x.add(x, alpha=2) | x.sub(1, alpha=3) | x.div(2, rounding_mode="floor") | (-x).div(2, rounding_mode="trunc")
    L.div(L.tensor(1.0), 0.1, rounding_mode="trunc") | L.div(L.tensor([-1e40, L.inf]), 2, rounding_mode="trunc")
    (i - 3).div(2, rounding_mode="trunc") | (i - 3).div(i + 1, rounding_mode="trunc") | x.div(x) | x.clamp(2, 4)
    x.clip(max=3)
    x.exp() | x.log() | x.sqrt() | x.rsqrt() | x.sigmoid() | x.tanh() | x.relu() | x.square() | x.erf() | x.round()
    x.sum() | x.sum(0) | x.sum((0, 1)) | x.sum(1, keepdim=True) | i.sum() | b.sum() | x.sum(dtype=L.float64)
    i.sum(dtype=L.float32)
    x.mean() | x.mean(-1) | i.mean(dtype=L.float32) | x.var() | x.var(0) | x.var(0, unbiased=False) | x.var(False)
    x.std(1, correction=0) | x.std() | x.norm() | x.norm(1) | x.norm(2, 1) | x.prod() | x.prod(0)
    i.prod(dtype=L.float64)
    x.max() | x.min() | x.max(0) | x.min(1, keepdim=True) | x.max(x.flip(0)) | x.min(other=x.flip(0)) | x.amax(0)
    x.argmax(1)
    x.sum(axis=0, keepdims=True) | L.mean(x, axis=-1) | x.argmax(axis=1) | x.max(axis=0) | x.all(axis=0) | x.var(axis=1)
    x.max(1).values | x.max(1).indices | x.cumsum(0) | x.cumsum(1, dtype=L.float64) | x.cumprod(1) | x.logsumexp(1)
    x.sort(descending=True) | x.sort(0).indices | x.argsort(1, descending=True) | x.topk(2)
    x.topk(2, largest=False).values
    x.softmax(1) | x.log_softmax(0) | i.softmax(0, dtype=L.float32) | b.all() | b.any() | x.all(1) | x.count_nonzero()
    i.bincount() | i.bincount(minlength=9) | i.unique() | L.unique(i % 2, return_counts=True) | x.nonzero()
    L.unique(i % 2, True, False, True) | b.nonzero(as_tuple=True) | L.nonzero(x > 2, as_tuple=True) | L.where(x > 2)
    x.isclose(x + 1e-9) | x.allclose(x + 1e-9) | x.allclose(x + 1) | x.equal(x) | L.equal(x, x.T) | L.numel(x)
    L.is_tensor(x)
    L.is_tensor(1) | L.is_floating_point(i) | x.gather(1, i[:4].reshape(2, 2) % 3) | x.index_select(1, i[:2])
    x.masked_fill(x > 2, 0.0)
    i.masked_fill(i > 2, 2.7) | i.masked_fill(i > 2, L.tensor(-1.5)) | b.masked_fill(b, 0) | x.masked_fill(x > 2, s)
    x.index_select(1, L.tensor(2)) | x.narrow(1, -2, 2) | x[True] | x[False, 0]
    x.masked_select(x > 2) | x.where(x > 2, 0.0) | x.narrow(1, 0, 2) | x.tril() | x.triu(1) | x.diagonal()
    x.mm(x.T) | x.mv(x[0])
    x[0].dot(x[1]) | x[0].outer(x[1]) | L.einsum("ij,kj->ik", x, x) | L.einsum("ij->j", [x])
    L.addmm(x[:, :2], x, x.T[:, :2], beta=2, alpha=3)
    x.addcmul(x, x, value=2) | x.addcdiv(x, x + 1) | x.lerp(x * 2, 0.5) | L.stack([x, x], 1) | L.cat([x, x], dim=1)
    L.concat((x, x), axis=1) | L.stack((x, x), axis=-1)
    L.cat([L.tensor([]), x]) | L.cat([L.tensor([]), i]) | L.cat([L.tensor([]), L.tensor([])])
    float(L.finfo(L.float32).eps) | L.iinfo(L.int8).max
    L.meshgrid(i[:2], i[:3], indexing="ij") | L.meshgrid(i[:2], i[:3], indexing="xy") | L.where(x > 2, x, -x)
    L.t(x[0])
    2 in x | 20 in x | x[0] in x | L.max(x, 0) | L.maximum(x, x.flip(1)) | L.result_type(x, 1) | L.inf | L.pi
    x.swapaxes(0, 1) | x.new_zeros(2) | x.isnan() | x.eq(2) | x.logical_not() | x.take_along_dim(x.argsort(1), 1)
    x.absolute()
"""
CASES = [e.strip() for line in EXPRESSIONS.strip().splitlines() for e in line.split(" | ")]
CASES = [e for e in CASES if e not in ("i", "4")] + ["i | 4", "4 | i", "b | ~b"]


def names(lib):
    return {
        "L": lib,
        "x": lib.tensor([[1.0, 2.0, 3.5], [4.25, 5.0, 0.5]]),
        "i": lib.arange(6),
        "b": lib.tensor([True, False, True]),
        "s": lib.tensor(2.5),
    }


@pytest.mark.parametrize("expression", CASES)
def test_as_pytorch(expression, device):
    ours, theirs = (eval(expression, names(lib)) for lib in (tg, torch))
    if expression == "x.is_cuda":
        theirs = device == "cuda"
    if isinstance(theirs, torch.dtype):
        ours, theirs = str(ours), str(theirs).removeprefix("torch.")
    same(ours, theirs)


ERRORS = """
    float(x) | int(x) | bool(x) | bool(x[:0]) | x.item() | len(s) | iter(s) | x[9] | s[0] | x[0, 0, 0]
    x.reshape(5) | x + x.T
    x < "a" | x + "a" | "a" - x | x + None | x @ i | x.t()[None].t() | x[None, None].t() | "a" in x | b - b | 1 - b
    x.view(4, 2)
    x.div(2, rounding_mode="up") | L.isclose(x, i) | range(x[0, 0]) | L.bincount(x[0]) | L.bincount(i - 1)
    L.meshgrid(i, indexing="ji")
    i ** -1 | x.size(7) | x.permute(0, 0) | x.squeeze(5) | i.mean() | x.requires_grad_().numpy() | L.norm(i)
    i // 0 | x @ x | x.narrow(1, 2, 2) | x.sum(axis=3) | L.cat([L.ones(0, 2), x]) | L.cat([])
"""


@pytest.mark.parametrize("expression", [e.strip() for line in ERRORS.strip().splitlines() for e in line.split(" | ")])
def test_errors_as_pytorch(expression):
    with pytest.raises(Exception) as theirs:  # noqa: PT011  (whatever PyTorch raises)
        eval(expression, names(torch))
    kinds = (*type(theirs.value).__mro__[:1], RuntimeError) if theirs.type is NotImplementedError else theirs.type
    with pytest.raises(kinds) as ours:
        eval(expression, names(tg))
    assert str(ours.value)


def test_a_bool_as_index_is_all_or_nothing():
    x = tg.zeros(2)
    x[True] = 5
    x[False] = 7
    assert x.tolist() == [5.0, 5.0]


def test_equality_with_something_else():
    x = tg.ones(2)
    assert (x == "a") is False
    assert (x != None) is True  # noqa: E711
    assert hash(x) == hash(x)
    assert len({x, tg.ones(2)}) == 2


@pytest.mark.parametrize("device", ["cpu"], indirect=True)  # NumPy arrays are on the CPU
def test_reflected_comparison_of_arrays():
    x = tg.tensor([1.0, 2.0])
    for op in (operator.add, operator.sub, operator.mul, operator.truediv, operator.lt, operator.eq):
        result = op(np.array([2.0, 2.0]), x)
        assert isinstance(result, tg.Tensor)
        assert result.tolist() == op(tg.tensor([2.0, 2.0]), x).tolist()
    assert (np.float32(2) - x).tolist() == [1.0, 0.0]


def test_iteration():
    x = tg.arange(6).reshape(2, 3)
    assert [row.tolist() for row in x] == [[0, 1, 2], [3, 4, 5]]
    a, b = tg.ones(2, requires_grad=True)
    assert a.requires_grad
    assert b.shape == ()
    assert list(range(tg.tensor(3))) == [0, 1, 2]
    assert [10, 20, 30][tg.tensor(1)] == 20


@pytest.mark.parametrize("device", ["cpu"], indirect=True)  # on a GPU it is refused
def test_numpy():
    x = tg.ones(2, 3)
    assert np.shares_memory(x.numpy(), x.array)
    assert np.asarray(x).dtype == np.float32
    assert np.array(x, np.float64).dtype == np.float64
    assert np.exp(x).shape == (2, 3)
    assert np.shares_memory(np.asarray(x), x.array)
    w = tg.ones(2, requires_grad=True)
    for convert in (lambda: w.numpy(), lambda: np.asarray(w)):
        with pytest.raises(RuntimeError, match=r"use tensor.detach\(\).numpy\(\) instead"):
            convert()
    assert w.tolist() == [1.0, 1.0]
    assert w.detach().numpy().tolist() == [1.0, 1.0]
    assert w.numpy(force=True).tolist() == [1.0, 1.0]


def test_to(device):
    x = tg.ones(2)
    assert x.to(device) is x
    assert x.to(tg.float32) is x
    assert x.to(None) is x
    copied = x.to(device, copy=True)
    assert not x.xp.shares_memory(copied.array, x.array)
    with pytest.raises(ValueError, match="got 'gpu'"):
        x.to("gpu")
    w = tg.ones(2, requires_grad=True)
    w.to(tg.float64).sum().backward()
    assert w.grad.dtype == tg.float32
    assert x.type() == "float32"


def test_data():
    w = tg.ones(2, requires_grad=True)
    w.data.mul_(3)
    w.data[0] = 5
    assert w.tolist() == [5.0, 3.0]
    assert not w.data.requires_grad
    w.data = tg.zeros(3)
    assert w.shape == (3,)
    assert w.requires_grad


def through_pickle(x):
    return pickle.loads(pickle.dumps(x))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, through_pickle])
def test_copies(duplicate):
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    x.note = "mine"
    y = duplicate(x)
    assert tg.equal(x, y)
    assert (y.requires_grad, y.note, type(y)) == (True, "mine", tg.Tensor)
    assert not x.xp.shares_memory(x.array, y.array)
    assert duplicate(tg.arange(2)).dtype == tg.int64
    with pytest.raises(RuntimeError, match="only leaf tensors can be"):
        duplicate(x * 2)
    shape = duplicate(x.shape)
    assert (shape, type(shape)) == ((2,), tg.Size)


def test_deepcopy_keeps_the_grad_and_identity():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    x.sum().backward()
    a, b = copy.deepcopy([x, x])
    assert a is b
    assert a.grad.tolist() == [1.0, 1.0]
    assert a.grad is not x.grad


def test_every_in_place_form_agrees_with_its_function():
    """x.f_() gives x.f() in the memory of x, for each f_ that Tensor has."""
    arguments = {
        **dict.fromkeys(["add_", "sub_", "mul_", "div_", "floor_divide_", "remainder_", "pow_"], (2.0,)),
        **dict.fromkeys(["clamp_", "clip_"], (0.3, 0.7)),
        **dict.fromkeys(["clamp_min_", "clamp_max_"], (0.5,)),
        "lerp_": (tg.ones(2, 2), 0.5),
        "addcmul_": (tg.ones(2, 2), tg.ones(2, 2)),
        "addcdiv_": (tg.ones(2, 2), tg.full((2, 2), 2.0)),
        "masked_fill_": (tg.tensor([True, False]), 5.0),
        "scatter_": (1, tg.tensor([[0], [1]]), 3.0),
        "scatter_add_": (1, tg.tensor([[0], [1]]), tg.ones(2, 1)),
    }
    apart = {"copy_", "fill_", "zero_", "normal_", "uniform_", "bernoulli_", "random_", "detach_", "requires_grad_"}
    forms = [n for n in dir(tg.Tensor) if n.endswith("_") and not n.startswith("_") and n not in apart]
    assert len(forms) > 35
    for form in forms:
        x = tg.tensor([[0.25, 0.5], [0.75, 1.5]])
        memory, expected = x.array, getattr(x, form[:-1])(*arguments.get(form, ()))
        assert getattr(x, form)(*arguments.get(form, ())) is x
        assert x.array is memory
        assert x.tolist() == expected.to(x.dtype).tolist(), form


@pytest.mark.parametrize("op", ["iadd", "isub", "imul", "itruediv", "ifloordiv", "imod", "ipow"])
def test_in_place_operators(op):
    x = tg.tensor([3.0, 5.0])
    y = getattr(operator, op)(x, 2)
    assert y is x
    theirs = getattr(operator, op)(torch.tensor([3.0, 5.0]), 2)
    assert x.tolist() == theirs.tolist()


def test_in_place_bits():
    for op in (operator.iand, operator.ior, operator.ixor):
        assert op(tg.arange(6), 3).tolist() == op(torch.arange(6), 3).tolist()


def test_fill_and_copy():
    x = tg.zeros(2, 2)
    assert x.fill_(3).tolist() == [[3, 3], [3, 3]]
    assert x.copy_(tg.arange(2)).tolist() == [[0, 1], [0, 1]]
    assert x.zero_().sum() == 0
    x[0] = np.array([1.0, 2.0])
    assert x[0].tolist() == [1.0, 2.0]
