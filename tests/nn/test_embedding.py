"""Embedding against PyTorch."""

import numpy as np
import pytest
import torch

import tinygrad_mnist as tg
from tinygrad_mnist import nn
from tinygrad_mnist.autograd import gradgradcheck
from tinygrad_mnist.nn import functional as F

pytestmark = pytest.mark.usefixtures("default_device")


@pytest.mark.parametrize("padding_idx", [None, 2, -1])
def test_values_and_gradients(rng, padding_idx) -> None:
    weight = rng.normal(size=(5, 3))
    index = np.array([[0, 2, 2], [4, 1, 0]])
    w, tw = tg.tensor(weight, requires_grad=True), torch.tensor(weight, requires_grad=True)
    y = F.embedding(tg.tensor(index), w, padding_idx)
    expected = torch.nn.functional.embedding(torch.tensor(index), tw, padding_idx)
    np.testing.assert_array_equal(y.numpy(force=True), expected.numpy(force=True))
    (y**2).sum().backward()
    (expected**2).sum().backward()
    np.testing.assert_allclose(w.grad.numpy(force=True), tw.grad.numpy(force=True), rtol=1e-12)


def test_second_derivatives(rng) -> None:
    index = tg.tensor([1, 1, 0])
    w = tg.tensor(rng.normal(size=(3, 2)), requires_grad=True)
    assert gradgradcheck(lambda w: F.embedding(index, w) ** 3, (w,))


def test_layer() -> None:
    layer = nn.Embedding(10, 4, padding_idx=-1)
    assert repr(layer) == repr(torch.nn.Embedding(10, 4, padding_idx=-1))
    assert (layer.weight[9] == 0).all()
    assert layer(tg.tensor(3)).shape == (4,)
    assert layer(tg.zeros(0, 2, dtype=tg.int64)).shape == (0, 2, 4)
    assert repr(nn.Embedding(10, 4)) == "Embedding(10, 4)"


def test_errors() -> None:
    layer = nn.Embedding(3, 2)
    for bad in (3, -1):
        with pytest.raises(IndexError, match="indices must be 0 to 2"):
            layer(tg.tensor([0, bad]))
    with pytest.raises(TypeError, match="integer indices, got float32"):
        layer(tg.zeros(2))
    with pytest.raises(ValueError, match="padding_idx must be within num_embeddings, got 3 of 3"):
        nn.Embedding(3, 2, padding_idx=3)
