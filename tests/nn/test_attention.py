"""Attention and transformer layers against PyTorch, with its weights."""

import numpy as np
import pytest
import torch

import tinygrad_mnist as tg
from tinygrad_mnist import nn
from tinygrad_mnist.autograd import gradgradcheck
from tinygrad_mnist.nn import functional as F

pytestmark = pytest.mark.usefixtures("default_device")

TOLERANCE = {"rtol": 1e-10, "atol": 1e-10}


def pair(rng: np.random.Generator, *shape: int):
    """The same random numbers for both libraries; both want gradients."""
    array = rng.normal(size=shape)
    return tg.tensor(array, requires_grad=True), torch.tensor(array, requires_grad=True)


def same(ours, theirs) -> None:
    np.testing.assert_allclose(ours.numpy(force=True), theirs.numpy(force=True), **TOLERANCE)


def copy_weights(ours: nn.Module, theirs: torch.nn.Module) -> None:
    ours.double()
    ours.load_state_dict({k: v.numpy(force=True) for k, v in theirs.double().state_dict().items()})
    assert list(ours.state_dict()) == list(theirs.state_dict())


def same_gradients(ours: nn.Module, theirs: torch.nn.Module) -> None:
    expected = dict(theirs.named_parameters())
    for name, p in ours.named_parameters():
        same(p.grad, expected[name].grad)


def test_attention_by_hand() -> None:
    q = tg.tensor([[1.0, 0.0]])
    k = tg.tensor([[0.0, 0.0], [np.log(3) * np.sqrt(2), 0.0]])
    v = tg.tensor([[0.0], [4.0]])
    assert F.scaled_dot_product_attention(q, k, v).item() == pytest.approx(3.0)  # weights 1/4 and 3/4


@pytest.mark.parametrize("mask", ["none", "bool", "float", "causal"])
def test_scaled_dot_product_attention(rng, mask: str) -> None:
    (q, tq), (k, tk), (v, tv) = pair(rng, 2, 3, 4, 5), pair(rng, 2, 3, 6, 5), pair(rng, 2, 3, 6, 7)
    options: dict = {"scale": 0.3} if mask == "none" else {}
    theirs = dict(options)
    if mask == "bool":
        allowed = rng.random((4, 6)) > 0.3
        allowed[:, 0], allowed[1] = True, False
        options["attn_mask"], theirs["attn_mask"] = tg.tensor(allowed), torch.tensor(allowed)
    elif mask == "float":
        added = rng.normal(size=(2, 1, 4, 6))
        added[0, :, 2] = -np.inf
        options["attn_mask"], theirs["attn_mask"] = tg.tensor(added), torch.tensor(added)
    elif mask == "causal":
        options["is_causal"] = theirs["is_causal"] = True
    y = F.scaled_dot_product_attention(q, k, v, **options)
    expected = torch.nn.functional.scaled_dot_product_attention(tq, tk, tv, **theirs)
    same(y, expected)
    (y * y).sum().backward()
    (expected * expected).sum().backward()
    for ours, other in ((q, tq), (k, tk), (v, tv)):
        same(ours.grad, other.grad)


def test_attention_second_derivatives(rng) -> None:
    (q, _), (k, _), (v, _) = pair(rng, 2, 3), pair(rng, 4, 3), pair(rng, 4, 2)
    assert gradgradcheck(F.scaled_dot_product_attention, (q, k, v))


def test_attention_errors() -> None:
    q = tg.zeros(2, 3)
    with pytest.raises(RuntimeError, match=r"got \(2, 3\), \(2, 4\), \(2, 4\)"):
        F.scaled_dot_product_attention(q, tg.zeros(2, 4), tg.zeros(2, 4))
    with pytest.raises(RuntimeError, match="not both"):
        F.scaled_dot_product_attention(q, q, q, attn_mask=tg.zeros(2, 2), is_causal=True)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", ["self", "cross", "unbatched"])
def test_multihead_attention(rng, batch_first: bool, bias: bool, kind: str) -> None:
    theirs = torch.nn.MultiheadAttention(6, 2, bias=bias, batch_first=batch_first)
    ours = nn.MultiheadAttention(6, 2, bias=bias, batch_first=batch_first)
    copy_weights(ours, theirs)
    q, tq = pair(rng, 4, 6) if kind == "unbatched" else pair(rng, 4, 3, 6)
    k, tk = (q, tq)
    if kind == "cross":
        k, tk = pair(rng, 4, 5, 6) if batch_first else pair(rng, 5, 3, 6)
    y, weights = ours(q, k, k)
    expected, expected_weights = theirs(tq, tk, tk)
    same(y, expected)
    same(weights, expected_weights)
    (y**2).sum().backward()
    (expected**2).sum().backward()
    same(q.grad, tq.grad)
    same_gradients(ours, theirs)
    assert ours(q, k, k, need_weights=False)[1] is None
    same(ours(q, k, k, average_attn_weights=False)[1], theirs(tq, tk, tk, average_attn_weights=False)[1])


def test_multihead_masks(rng) -> None:
    theirs, ours = torch.nn.MultiheadAttention(4, 2), nn.MultiheadAttention(4, 2)
    copy_weights(ours, theirs)
    x, tx = pair(rng, 5, 3, 4)
    padding = np.zeros((3, 5), bool)
    padding[1, 3:] = True
    later = np.triu(np.ones((5, 5), bool), 1)
    added = rng.normal(size=(6, 5, 5))
    for ours_mask, theirs_mask in (
        ({"key_padding_mask": padding}, None),
        ({"attn_mask": later}, None),
        ({"attn_mask": later, "key_padding_mask": padding}, None),
        ({"attn_mask": added}, None),
    ):
        got = ours(x, x, x, **{k: tg.tensor(v) for k, v in ours_mask.items()})
        expected = theirs(tx, tx, tx, **{k: torch.tensor(v) for k, v in (theirs_mask or ours_mask).items()})
        same(got[0], expected[0])
        same(got[1], expected[1])
    causal = ours(x, x, x, is_causal=True)[0]
    same(causal, theirs(tx, tx, tx, attn_mask=torch.tensor(later))[0])


def test_multihead_errors_and_initial_weights() -> None:
    with pytest.raises(ValueError, match="divisible by num_heads, got 5 and 2"):
        nn.MultiheadAttention(5, 2)
    layer = nn.Sequential(nn.Identity(), nn.MultiheadAttention(4, 2))
    with pytest.raises(RuntimeError, match=r"E = 4, got \(5, 3, 6\)"):
        layer[1](*[tg.zeros(5, 3, 6)] * 3)
    bound = np.sqrt(6 / (64 + 3 * 64))
    weight = nn.MultiheadAttention(64, 2).in_proj_weight.numpy(force=True)
    assert abs(weight).max() <= bound
    assert weight.std() == pytest.approx(bound / np.sqrt(3), rel=0.05)


def test_attention_dropout_only_in_training(rng) -> None:
    layer = nn.MultiheadAttention(8, 2, dropout=0.5)
    x = tg.tensor(rng.normal(size=(5, 2, 8)).astype("float32"))
    tg.manual_seed(0)
    first = layer(x, x, x)[0]
    assert not tg.equal(first, layer(x, x, x)[0])
    layer.eval()
    assert tg.equal(layer(x, x, x)[0], layer(x, x, x)[0])


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_transformer_encoder(rng, norm_first: bool, activation: str) -> None:
    def build(library):
        options = {"dropout": 0.0, "activation": activation, "batch_first": True, "norm_first": norm_first}
        layer = library.TransformerEncoderLayer(6, 2, 12, **options)
        nested = {"enable_nested_tensor": False} if library is torch.nn else {}
        return library.TransformerEncoder(layer, 2, norm=library.LayerNorm(6), **nested)

    ours, theirs = build(nn), build(torch.nn)
    copy_weights(ours, theirs)
    x, tx = pair(rng, 3, 5, 6)
    y, expected = ours(x), theirs(tx)
    same(y, expected)
    (y**2).sum().backward()
    (expected**2).sum().backward()
    same(x.grad, tx.grad)
    same_gradients(ours, theirs)


def test_transformer_layer_options() -> None:
    with pytest.raises(RuntimeError, match="activation should be relu/gelu, not swish"):
        nn.TransformerEncoderLayer(4, 2, activation="swish")
    layer = nn.TransformerEncoderLayer(4, 2, 8, activation=F.silu)
    assert layer(tg.zeros(3, 2, 4)).shape == (3, 2, 4)
    assert nn.TransformerEncoder(layer, 2)(tg.zeros(3, 2, 4)).shape == (3, 2, 4)
