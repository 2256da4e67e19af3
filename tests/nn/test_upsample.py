"""Interpolation against PyTorch, and by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_mnist as tg
from tinygrad_mnist import nn
from tinygrad_mnist.nn import functional as F

pytestmark = pytest.mark.usefixtures("default_device")


def test_by_hand() -> None:
    x = tg.tensor([[[[0.0, 4.0]]]])
    assert F.interpolate(x, (1, 4), mode="bilinear").flatten().tolist() == [0, 1, 3, 4]
    assert F.interpolate(x, (1, 3), mode="bilinear", align_corners=True).flatten().tolist() == [0, 2, 4]
    assert F.interpolate(x, (2, 1), mode="nearest").flatten().tolist() == [0, 0]


@given(
    shape=st.tuples(st.integers(0, 2), st.integers(1, 2), st.integers(1, 9), st.integers(1, 9)),
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    factor=st.none() | st.floats(0.3, 3.1),
    mode=st.sampled_from(["nearest", "bilinear"]),
    align=st.booleans(),
    recompute=st.sampled_from([None, True]),
)
@settings(max_examples=150, deadline=None)
def test_against_torch(shape, size, factor, mode, align, recompute) -> None:
    if factor is not None and (min(shape[2:]) * factor < 1 or shape[0] == 0):
        factor = None
    options = {"scale_factor": factor, "recompute_scale_factor": recompute} if factor is not None else {"size": size}
    options["mode"] = mode
    if mode == "bilinear":
        options["align_corners"] = align
    x = np.random.default_rng(0).normal(size=shape)
    ours, theirs = tg.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y = F.interpolate(ours, **options)
    if shape[0] == 0:
        assert y.shape == (0, shape[1], *size)
        return
    expected = torch.nn.functional.interpolate(theirs, **options)
    np.testing.assert_allclose(y.numpy(force=True), expected.numpy(force=True), atol=1e-10)
    (y**2).sum().backward()
    (expected**2).sum().backward()
    np.testing.assert_allclose(ours.grad.numpy(force=True), theirs.grad.numpy(force=True), atol=1e-10)


def test_layer(rng) -> None:
    x = tg.tensor(rng.normal(size=(1, 2, 3, 4)))
    assert tg.equal(nn.Upsample(scale_factor=2)(x), F.interpolate(x, scale_factor=2))
    assert nn.Upsample((5, 6), mode="bilinear")(x).shape == (1, 2, 5, 6)
    assert repr(nn.Upsample(scale_factor=2.0)) == repr(torch.nn.Upsample(scale_factor=2.0))
    assert repr(nn.Upsample((5, 6), mode="bilinear")) == repr(torch.nn.Upsample((5, 6), mode="bilinear"))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"size": 2, "mode": "bicubic"}, NotImplementedError, "bicubic"),
        ({"size": 2, "align_corners": True}, ValueError, "align_corners can only be set"),
        ({}, ValueError, "give one of size and scale_factor"),
        ({"size": 2, "scale_factor": 2}, ValueError, "give one of size and scale_factor"),
        ({"scale_factor": 0.1}, RuntimeError, "at least 1x1, got size 0 from 3"),
        ({"size": (0, 2)}, RuntimeError, "at least 1x1, got size 0 from 3"),
    ],
)
def test_errors(options, error, message) -> None:
    with pytest.raises(error, match=message):
        F.interpolate(tg.zeros(1, 1, 3, 3), **options)
    with pytest.raises(ValueError, match=r"expected images \(N, C, H, W\), got \(3, 3\)"):
        F.interpolate(tg.zeros(3, 3), size=2)
