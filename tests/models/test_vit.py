"""The vision transformer with the same weights gives PyTorch's outputs and gradients."""

import numpy as np
import pytest
import torch
from torch import nn

import tinygrad_mnist as tg
from tinygrad_mnist import models

pytestmark = pytest.mark.usefixtures("default_device")


class VisionTransformer(nn.Module):
    """Built of torch's own encoder layers, which name their parts differently."""

    def __init__(self, size: int, patch: int, layers: int, heads: int, dim: int, mlp: int, channels: int, classes: int):
        super().__init__()
        self.conv_proj = nn.Conv2d(channels, dim, patch, patch)
        self.class_token = nn.Parameter(torch.randn(1, 1, dim))
        self.pos_embedding = nn.Parameter(torch.randn(1, (size // patch) ** 2 + 1, dim))
        options = {"activation": "gelu", "batch_first": True, "norm_first": True, "layer_norm_eps": 1e-6}
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(dim, heads, mlp, dropout=0.0, **options) for _ in range(layers)
        )
        self.ln = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, classes)

    def forward(self, x):
        x = self.conv_proj(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(len(x), -1, -1), x], 1) + self.pos_embedding
        for layer in self.layers:
            x = layer(x)
        return self.head(self.ln(x)[:, 0])


RENAMED = {"self_attn": "self_attention", "norm1": "ln_1", "norm2": "ln_2", "linear1": "mlp.0", "linear2": "mlp.3"}


def our_names(state: dict) -> dict:
    renamed = {}
    for name, value in state.items():
        parts = name.split(".", 2)
        if parts[0] == "layers":
            head, _, tail = parts[2].partition(".")
            name = f"encoder.layers.encoder_layer_{parts[1]}.{RENAMED[head]}.{tail}"
        elif parts[0] in ("pos_embedding", "ln"):
            name = f"encoder.{name}"
        elif parts[0] == "head":
            name = f"heads.{name}"
        renamed[name] = value
    return renamed


def close(ours, theirs) -> None:
    ours, theirs = ours.numpy(force=True), theirs.numpy(force=True)
    assert abs(ours - theirs).max() <= 1e-4 * max(abs(theirs).max(), 1)


@pytest.mark.parametrize("training", [True, False])
def test_against_torch(rng, training: bool) -> None:
    theirs = VisionTransformer(28, 4, 4, 4, 64, 128, 1, 10).train(training)
    ours = models.vit_tiny().train(training)
    ours.load_state_dict({k: v.numpy(force=True) for k, v in our_names(theirs.state_dict()).items()})
    x = rng.normal(size=(3, 1, 28, 28)).astype(np.float32)
    a, b = tg.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, expected = ours(a), theirs(b)
    close(y, expected)
    if training:
        target = np.array([1, 5, 9])
        tg.nn.functional.cross_entropy(y, tg.tensor(target)).backward()
        nn.functional.cross_entropy(expected, torch.tensor(target)).backward()
        close(a.grad, b.grad)
        gradients = our_names({n: p.grad for n, p in theirs.named_parameters()})
        for name, p in ours.named_parameters():
            close(p.grad, gradients[name])


def test_names_and_counts_of_vit_b_16() -> None:
    model = models.vit_b_16(image_size=32)  # fewer positions than at 224, which makes it no smaller otherwise
    names = list(model.state_dict())
    assert sum(p.numel() for p in model.parameters()) + (196 - 4) * 768 == 86_567_656
    assert names[:5] == [
        "class_token", "conv_proj.weight", "conv_proj.bias", "encoder.pos_embedding",
        "encoder.layers.encoder_layer_0.ln_1.weight",
    ]  # fmt: skip
    assert "encoder.layers.encoder_layer_11.mlp.3.bias" in names
    assert names[-2:] == ["heads.head.weight", "heads.head.bias"]


def test_errors() -> None:
    with pytest.raises(RuntimeError, match=r"expected images of 28x28, got \(1, 1, 32, 32\); use transforms.Resize"):
        models.vit_tiny()(tg.zeros(1, 1, 32, 32))
    with pytest.raises(ValueError, match="divisible by patch_size, got 30 and 16"):
        models.vit_b_16(image_size=30)
