"""A network for other classes and other images, and its features for a head alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..autograd import no_grad
from ..nn import Conv2d, Linear, Module, Parameter
from ..nn.module import in_eval_mode
from ..ops import cat
from ..tensor import Tensor
from ..utils.data import TensorDataset


def find_head(model: Module) -> tuple[str, Linear]:
    """Path and layer of the head: the last linear layer, in the order in which the model's parts were assigned.

    >>> from tinygrad_mnist import models
    >>> find_head(models.vit_tiny())
    ('heads.head', Linear(in_features=64, out_features=10, bias=True))
    """
    found = [(path, module) for path, module in model.named_modules() if isinstance(module, Linear)]
    if not found:
        raise ValueError(f"{type(model).__name__} has no linear layer that could be its head")
    return found[-1]


def replace_head(model: Module, num_classes: int) -> Linear:
    """Put a fresh linear layer with `num_classes` outputs in place of the head (see `find_head`); returns it."""
    path, old = find_head(model)
    if not path:
        raise ValueError("replace_head: the model is a linear layer itself; make a new one")
    new = Linear(old.in_features, num_classes, old.bias is not None, old.weight.device, old.weight.dtype)
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, new)
    return new.train(model.training)


def adapt_first_conv(model: Module, in_channels: int) -> Conv2d:
    """Make the first convolution take images of `in_channels` channels and keep what it learnt; returns it.

    To 1 channel its weights are summed: a gray image x then gives what (x, x, x) gave before, if all channels were
    normalised alike. From 1 channel they are shared out evenly among the new ones. Raises ValueError otherwise.

    >>> from tinygrad_mnist import models
    >>> tuple(adapt_first_conv(models.resnet20(), 1).weight.shape)
    (16, 1, 3, 3)
    """
    conv = next((module for module in model.modules() if isinstance(module, Conv2d)), None)
    if conv is None:
        raise ValueError(f"adapt_first_conv: {type(model).__name__} has no convolution")
    before = conv.in_channels
    if before == in_channels:
        return conv
    if in_channels < 1 or 1 not in (before, in_channels) or conv.groups > 1:
        raise ValueError(
            f"adapt_first_conv: from {before} channels in {conv.groups} group(s) to {in_channels}; "
            "it can go to 1 channel or from 1, in one group"
        )
    weight: Any = conv.weight.detach()  # (O, before, KH, KW)
    weight = weight.sum(1, keepdim=True) if in_channels == 1 else weight.expand(-1, in_channels, -1, -1) / in_channels
    conv.weight = Parameter(weight, conv.weight.requires_grad)
    conv.in_channels = in_channels
    return conv


def cached_features(model: Module, head: Module, loader: Iterable[tuple[Tensor, Tensor]]) -> TensorDataset:
    """What `head`, a part of `model`, is given for the images of `loader`, with their targets, as a data set.

    One pass in eval mode without gradients; then the head can be trained alone, on the data set, as often as wanted.
    Both tensors lie on the model's device. Raises ValueError if the loader is empty or `head` is not in the model.
    """
    if not any(module is head for module in model.modules()):
        raise ValueError(f"cached_features: this {type(head).__name__} is no part of the model; see find_head(model)")
    device = next(model.parameters()).device
    features: list[Any] = []
    targets: list[Any] = []
    keep = head.register_forward_pre_hook(lambda _, args: features.append(args[0]))
    with in_eval_mode(model), no_grad(), keep:
        for x, y in loader:
            model(x.to(device))
            targets.append(y.to(device))
            if len(features) != len(targets):
                raise RuntimeError("cached_features: the model must call the head exactly once for a batch")
    if not targets:
        raise ValueError("cached_features: the loader gave no images")
    return TensorDataset(cat(features), cat(targets))
