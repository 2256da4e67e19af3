"""Weights for a model: from a file, an address, or the ones that a name stands for."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from .. import hub, nn
from ..serialization import load

M = TypeVar("M", bound=nn.Module)

# The eight digits before ".pth" begin the file's SHA-256.
PRETRAINED = {
    ("resnet18", "IMAGENET1K_V1"): "https://download.pytorch.org/models/resnet18-f37072fd.pth",
    ("resnet34", "IMAGENET1K_V1"): "https://download.pytorch.org/models/resnet34-b627a593.pth",
    ("vit_b_16", "IMAGENET1K_V1"): "https://download.pytorch.org/models/vit_b_16-c867db91.pth",
}
# What some files call the parts of a block, and what they are called here.
_OLD_NAMES = [(re.compile(r"\.mlp\.linear_1\."), ".mlp.0."), (re.compile(r"\.mlp\.linear_2\."), ".mlp.3.")]


def cache_folder() -> Path:
    """Where downloaded weights are kept: `tinygrad_mnist/checkpoints` in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tinygrad_mnist" / "checkpoints"


def load_weights(
    model: M, weights: str | os.PathLike[str] | None, name: str, progress: bool = True, head: str = ""
) -> M:
    """`model` with `weights`: None (as it is), a file, an https:// address, or a name such as "IMAGENET1K_V1".

    Weights of which none begins with `head`, if that is given, are those of an encoder: the model keeps its head. A
    download is kept in the cache folder and checked against the hash in its name. Raises ValueError for an unknown
    name, RuntimeError that lists what does not fit, and what reading or downloading raises.
    """
    if weights is None:
        return model
    text = os.fspath(weights)
    url = PRETRAINED.get((name, text), text)
    if url.startswith(("https://", "http://")):
        path = cache_folder() / url.rsplit("/", 1)[1]
        digits = re.search(r"-([0-9a-f]{8,64})\.[^.]+$", path.name)
        hub.download_url_to_file(url, path, digits and digits[1], progress)
    elif Path(text).exists():
        path = Path(text)
    else:
        known = [f"{w!r}" for n, w in PRETRAINED if n == name]
        raise ValueError(
            f"{name}(weights={text!r}): there is no such file; expected a path, an https:// address"
            + (f" or {' or '.join(known)}" if known else "")
        )
    state = state_dict_of(load(path), str(path))
    own = model.state_dict()
    if head and own.keys() & state.keys() and not any(key.startswith(head) for key in state):
        state |= {key: value for key, value in own.items() if key.startswith(head)}
    model.load_state_dict(state)
    return model


def state_dict_of(content: Any, name: str) -> dict[str, Any]:
    """The state dict in what a checkpoint file holds: as it is, or under 'state_dict' or 'model'.

    The prefix 'module.' that data-parallel training leaves on every name is taken off, and old names of
    torchvision's are changed to the present ones.
    """
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(hasattr(value, "shape") for value in content.values()):
        raise ValueError(f"{name} holds no state dict: a dict of tensors, alone or under 'state_dict' or 'model'")
    prefixed = all(key.startswith("module.") for key in content)
    renamed = {}
    for key, value in content.items():
        new = key.removeprefix("module.") if prefixed else key
        for pattern, replacement in _OLD_NAMES:
            new = pattern.sub(replacement, new)
        renamed[new] = value
    return renamed
