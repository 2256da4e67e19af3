"""What fine-tuning needs besides training: freezing, new heads, and learning rates by depth.

    model = models.resnet18(weights="IMAGENET1K_V1")
    finetune.adapt_first_conv(model, 1)
    finetune.replace_head(model, 10)
    optimizer = optim.AdamW(finetune.param_groups(model, lr=1e-3, weight_decay=0.05, layer_decay=0.7))
"""

from .adapt import adapt_first_conv, cached_features, find_head, replace_head
from .depth import layers, param_groups, unfreeze_last
from .freeze import freeze, unfreeze
from .propagate import NeighbourGraph, neighbour_graph, propagate_labels, surest
from .semi import FixMatch

__all__ = [
    "FixMatch", "NeighbourGraph", "adapt_first_conv", "cached_features", "find_head", "freeze", "layers",
    "neighbour_graph", "param_groups", "propagate_labels", "replace_head", "surest",
    "unfreeze", "unfreeze_last",
]  # fmt: skip
