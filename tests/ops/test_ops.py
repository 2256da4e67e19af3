"""Every op of the table, by every check: see tests/op_case.py for how to add a line."""

import importlib.util
import inspect
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from op_case import Case, outputs

from tinygrad_mnist import backend, ops
from tinygrad_mnist.autograd import Variable, grad, gradcheck, gradgradcheck

# They give no new tensor; see test_index.py, test_elementwise.py.
NOT_IN_THE_TABLE = {"KnownNorm", "assign", "broadcast", "promote"}


def _load_cases() -> list[Case]:
    cases = []
    for path in sorted(Path(__file__).parent.glob("cases_*.py")):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        cases += module.CASES
    return cases


CASES = _load_cases()
every_case = pytest.mark.parametrize("c", CASES, ids=[f"{i}-{c.name}" for i, c in enumerate(CASES)])


def _cast(array: np.ndarray, dtype: str) -> np.ndarray:
    return array.astype(dtype) if array.dtype.kind == "f" else array


def _inputs(c: Case, dtype: str, device: str, layout: Callable[[Any], Any] = lambda a: a) -> list[Variable]:
    made = []
    for a in c.inputs:
        a = backend.get(device).to_device(_cast(a, dtype).copy())
        x = Variable.kind.wrap(layout(a) if a.ndim else a)
        x.requires_grad = c.grad and x.dtype.kind == "f"
        made.append(x)
    return made


def _torch_inputs(c: Case, dtype: str) -> list[torch.Tensor]:
    return [torch.tensor(_cast(a, dtype), requires_grad=c.grad and a.dtype.kind == "f") for a in c.inputs]


def _numpy(x: Any) -> np.ndarray:
    return x.numpy(force=True) if isinstance(x, torch.Tensor) else backend.CPU.to_device(x.array)


def _assert_same(got: Any, wanted: Any, rtol: float, atol: float) -> None:
    got, wanted = _numpy(got), _numpy(wanted)
    assert got.dtype == wanted.dtype
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, rtol=rtol, atol=atol)  # NaN only where the other has it


TOLERANCE = {"float64": {"rtol": 1e-10, "atol": 1e-12}, "float32": {"rtol": 2e-5, "atol": 1e-5}}


EXACT = {"rtol": 0, "atol": 0}


@every_case
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_value_is_that_of_pytorch(c: Case, dtype: str, device: str) -> None:
    if c.theirs is None:
        assert c.expected is not None, f"{c.name}: without a PyTorch function the case needs an expected result"
        return
    got, wanted = outputs(c.ours(*_inputs(c, dtype, device))), outputs(c.theirs(*_torch_inputs(c, dtype)))
    for y, t in zip(got, wanted, strict=True):
        _assert_same(y, t, **TOLERANCE.get(str(y.dtype), EXACT))


@pytest.mark.parametrize("c", [c for c in CASES if c.expected is not None], ids=lambda c: c.name)
def test_value_is_the_expected_one(c: Case, device: str) -> None:
    got = outputs(c.ours(*_inputs(c, "float64", device)))
    wanted = c.expected(*c.inputs) if callable(c.expected) else c.expected
    for y, w in zip(got, wanted if isinstance(wanted, tuple) else (wanted,), strict=True):
        np.testing.assert_allclose(_numpy(y), w, rtol=1e-12, atol=1e-15)
        assert tuple(y.shape) == np.shape(w)


def _gradients(module: Any, results: list[Any], inputs: list[Any], seed: Callable[..., Any]) -> list[Any]:
    """The gradients of the differentiable outputs, weighted with fixed random numbers; None where there is none."""
    rng = np.random.default_rng(0)
    smooth = [y for y in results if y.requires_grad]
    weights = [seed(rng.standard_normal(tuple(y.shape)).astype(_numpy(y).dtype)) for y in smooth]
    wanted = [x for x in inputs if x.requires_grad]
    return list(module(smooth, wanted, weights, create_graph=True, allow_unused=True))


def _second(module: Any, first: list[Any], inputs: list[Any], total: Callable[..., Any]) -> list[Any]:
    """The gradients of the sum of the squared gradients."""
    terms = [total(g) for g in first if g is not None and g.requires_grad]
    wanted = [x for x in inputs if x.requires_grad]
    return list(module(terms, wanted, allow_unused=True)) if terms else [None] * len(wanted)


def _none_is_zero(got: list[Any], wanted: list[Any], inputs: list[Any]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs to compare: no gradient and a gradient of zeros say the same."""
    shapes = [x for x in inputs if x.requires_grad]
    return [
        tuple(np.zeros(x.shape) if g is None else _numpy(g) for g in pair)
        for *pair, x in zip(got, wanted, shapes, strict=True)
    ]


differentiable = pytest.mark.parametrize(
    "c", [c for c in CASES if c.grad and any(a.dtype.kind == "f" for a in c.inputs)], ids=lambda c: c.name
)


@differentiable
def test_first_and_second_derivatives_are_those_of_pytorch(c: Case, device: str) -> None:
    if c.theirs is None:
        return  # finite differences check them
    xs, ts = _inputs(c, "float64", device), _torch_inputs(c, "float64")
    mine = _gradients(grad, outputs(c.ours(*xs)), xs, lambda a: xs[0].like(xs[0].xp.asarray(a)))
    their = _gradients(torch.autograd.grad, outputs(c.theirs(*ts)), ts, torch.tensor)
    for g, t in _none_is_zero(mine, their, xs):
        np.testing.assert_allclose(g, t, rtol=1e-9, atol=1e-12)
    if not c.second:
        return
    mine = _second(grad, mine, xs, lambda g: ops.sum(ops.mul(g, g)))
    their = _second(torch.autograd.grad, their, ts, lambda g: (g * g).sum())
    for g, t in _none_is_zero(mine, their, xs):
        np.testing.assert_allclose(g, t, rtol=1e-8, atol=1e-11)


@differentiable
def test_first_and_second_derivatives_are_those_of_finite_differences(c: Case, device: str) -> None:
    if c.kinks:
        assert c.theirs is not None, f"{c.name}: at a kink only PyTorch says what the gradient is"
        return
    if device == "cuda" and c.theirs is not None and c.second:
        return  # PyTorch's derivatives check the same gradients there, in a fraction of the launches
    xs = _inputs(c, "float64", device)
    assert gradcheck(c.ours, xs, rtol=1e-6, atol=1e-7)
    if any(g is not None and g.requires_grad for g in _gradients(grad, outputs(c.ours(*xs)), xs, _like(xs[0]))):
        assert gradgradcheck(c.ours, xs, rtol=1e-5, atol=1e-6)


def _like(x: Variable) -> Callable[[np.ndarray], Variable]:
    return lambda a: x.like(x.xp.asarray(a))


@differentiable
def test_gradients_have_the_dtype_and_device_of_the_input(c: Case, device: str) -> None:
    xs = _inputs(c, "float32", device)
    wanted = [x for x in xs if x.requires_grad]
    for x, g in zip(wanted, _gradients(grad, outputs(c.ours(*xs)), xs, _like(xs[0])), strict=True):
        assert g is None or (g.dtype, g.shape, g.device) == (x.dtype, x.shape, x.device)


def _strided(a: Any) -> Any:
    """Every second element along every axis of something larger."""
    wide = backend.of(a).xp.zeros([2 * n for n in a.shape], a.dtype)
    view = wide[(slice(None, None, 2),) * a.ndim]
    view[...] = a
    return view


def _reversed(a: np.ndarray) -> np.ndarray:
    """Negative strides along every axis."""
    return np.flip(np.flip(a).copy())


def _fortran(a: Any) -> Any:
    """The first axis varies fastest."""
    return backend.of(a).xp.asfortranarray(a)


def _channels_last(a: np.ndarray) -> np.ndarray:
    """Axis 1 varies fastest."""
    return np.moveaxis(np.moveaxis(a, 1, -1).copy(), -1, 1) if a.ndim > 2 else a.copy(order="F")


# On CUDA two are enough: the launch wrapper refuses what is not contiguous, however it lies in memory, and of what lies
# in another order element-wise results keep that order.
LAYOUTS = [("cpu", layout) for layout in (_strided, _reversed, _channels_last, _fortran)]
LAYOUTS += [("cuda", layout) for layout in (_strided, _fortran)]


@every_case
@pytest.mark.parametrize(("device", "layout"), LAYOUTS, indirect=["device"])
def test_memory_layout_changes_nothing(c: Case, layout: Callable[[Any], Any], device: str) -> None:
    plain, other = _inputs(c, "float64", device), _inputs(c, "float64", device, layout)
    results, others = outputs(c.ours(*plain)), outputs(c.ours(*other))
    for a, b in zip(results, others, strict=True):
        _assert_same(b, a, rtol=1e-12, atol=1e-13)  # sums may run in another order
    if any(y.requires_grad for y in results):
        first = _gradients(grad, results, plain, _like(plain[0]))
        for a, b in _none_is_zero(first, _gradients(grad, others, other, _like(plain[0])), plain):
            np.testing.assert_allclose(b, a, rtol=1e-11, atol=1e-12)


@every_case
def test_inputs_are_left_as_they_were(c: Case, device: str) -> None:
    xs = _inputs(c, "float64", device)
    results = outputs(c.ours(*xs))
    if any(y.requires_grad for y in results):
        _gradients(grad, results, xs, _like(xs[0]))
    for x, a in zip(xs, c.inputs, strict=True):
        np.testing.assert_array_equal(_numpy(x), a)


def test_every_op_has_a_case() -> None:
    listed = {c.name for c in CASES}.union(*(c.covers for c in CASES)) | NOT_IN_THE_TABLE
    found = set(ops.__all__)
    for info in pkgutil.iter_modules(ops.__path__):
        module = importlib.import_module(f"{ops.__name__}.{info.name}")
        found |= {name for name, fn in inspect.getmembers(module) if getattr(fn, "is_op", False)}
    missing = sorted(name for name in found if name not in listed)
    assert not missing, f"these ops have no case in tests/ops/cases_*.py (see tests/op_case.py): {missing}"


def test_every_case_names_an_op() -> None:
    known = {
        name
        for info in pkgutil.iter_modules(ops.__path__)
        for name in dir(importlib.import_module(f"{ops.__name__}.{info.name}"))
    }
    assert not [c.name for c in CASES if c.name not in known]
