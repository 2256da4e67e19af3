"""Gradient clipping and parameter vectors, against PyTorch."""

import math

import numpy as np
import pytest
import torch

import tinygrad_mnist as tg
from tinygrad_mnist import nn

SHAPES = [(3, 4), (5,), (), (0, 2)]


def pair(rng, device, dtype="float64", scale=1.0) -> tuple[list, list]:
    """Parameters with the same gradients, ours and PyTorch's; the last has none."""
    ours, theirs = [], []
    for shape in [*SHAPES, (2,)]:
        g = np.asarray(scale * rng.standard_normal(shape), dtype)
        ours.append(tg.zeros(shape, dtype=dtype, device=device, requires_grad=True))
        theirs.append(torch.zeros(shape, dtype=getattr(torch, dtype), requires_grad=True))
        if shape != (2,):
            ours[-1].grad, theirs[-1].grad = tg.tensor(g, device=device), torch.tensor(g)
    return ours, theirs


def assert_gradients_equal(ours, theirs, tolerance=1e-12) -> None:
    for a, b in zip(ours, theirs, strict=True):
        assert (a.grad is None) == (b.grad is None)
        if a.grad is not None:
            assert str(a.grad.dtype) == str(b.grad.dtype).removeprefix("torch.")
            np.testing.assert_allclose(a.grad.cpu().numpy(), b.grad.numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-6)])
@pytest.mark.parametrize("norm_type", [2, 2.0, 1, 3.5, math.inf, "inf"])
@pytest.mark.parametrize("max_norm", [0.5, 1000.0])
def test_clip_grad_norm_equals_pytorch(max_norm, norm_type, dtype, tolerance, rng, device):
    ours, theirs = pair(rng, device, dtype)
    if float(norm_type) == math.inf:  # PyTorch has no inf-norm of an empty tensor
        ours, theirs = ours[:3], theirs[:3]
    mine = nn.utils.clip_grad_norm_(ours, max_norm, norm_type)
    expected = torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type)
    assert mine.item() == pytest.approx(expected.item(), rel=tolerance)
    assert mine.device.type == device
    assert_gradients_equal(ours, theirs, tolerance)


def test_empty_gradients_do_not_count(device):
    p = tg.zeros(0, device=device, requires_grad=True)
    p.grad = tg.zeros(0, device=device)
    assert nn.utils.clip_grad_norm_(p, 1.0, math.inf).item() == 0


def test_worked_by_hand():
    p, q = tg.zeros(1, requires_grad=True), tg.zeros(1, requires_grad=True)
    p.grad, q.grad = tg.tensor([3.0]), tg.tensor([-4.0])
    assert nn.utils.clip_grad_norm_(iter([p, q]), 2.5).item() == 5
    np.testing.assert_allclose([p.grad.item(), q.grad.item()], [1.5, -2.0], rtol=1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_nonfinite_norms(bad):
    p = tg.zeros(2, requires_grad=True)
    p.grad = tg.tensor([bad, 1.0])
    with pytest.raises(RuntimeError, match=rf"norm of order 2.0 of the gradients is {bad}"):
        nn.utils.clip_grad_norm_([p], 1.0, error_if_nonfinite=True)
    assert p.grad[1].item() == 1
    with np.errstate(invalid="ignore"):
        nn.utils.clip_grad_norm_([p], 1.0)
    other = torch.zeros(2, requires_grad=True)
    other.grad = torch.tensor([bad, 1.0])
    torch.nn.utils.clip_grad_norm_([other], 1.0)
    np.testing.assert_array_equal(p.grad.numpy(), other.grad.numpy())


@pytest.mark.parametrize("clip", [0.3, 5])
def test_clip_grad_value_equals_pytorch(clip, rng, device):
    ours, theirs = pair(rng, device)
    nn.utils.clip_grad_value_(ours, clip)
    torch.nn.utils.clip_grad_value_(theirs, clip)
    assert_gradients_equal(ours, theirs)


def test_one_parameter_or_none():
    p = tg.zeros(2, requires_grad=True)
    assert nn.utils.clip_grad_norm_(p, 1.0).item() == 0
    nn.utils.clip_grad_value_(p, 1.0)
    p.grad = tg.tensor([3.0, 4.0])
    assert nn.utils.clip_grad_norm_(p, 10.0).item() == 5
    assert nn.utils.clip_grad_norm_([], 1.0).item() == 0
    with pytest.warns(UserWarning, match="empty generator"):
        nn.utils.clip_grad_norm_((x for x in []), 1.0)


def test_gradients_of_a_backward_can_be_clipped(device):
    p = tg.ones(3, device=device, requires_grad=True)
    p.sum().backward()
    nn.utils.clip_grad_norm_([p], 0.5)
    nn.utils.clip_grad_value_([p], 0.1)
    np.testing.assert_allclose(p.grad.cpu().numpy(), 0.1, rtol=1e-6)


def test_vectors(rng, device):
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1)).to(device)
    vector = nn.utils.parameters_to_vector(model.parameters())
    assert vector.tolist() == [x for p in model.parameters() for x in p.reshape(-1).tolist()]
    vector.sum().backward()
    assert all(p.grad.tolist() == tg.ones_like(p).tolist() for p in model.parameters())
    nn.utils.vector_to_parameters(tg.arange(13.0, device=device), model.parameters())
    assert nn.utils.parameters_to_vector(model.parameters()).tolist() == list(range(13))
    assert model[0].weight.tolist() == [[0, 1], [2, 3], [4, 5]]


def test_bad_vectors():
    with pytest.raises(TypeError, match="got list"):
        nn.utils.vector_to_parameters([1.0], [tg.zeros(1)])
    with pytest.raises(ValueError, match=r"vector of 3 elements, got shape \(2,\)"):
        nn.utils.vector_to_parameters(tg.zeros(2), [tg.zeros(3)])
