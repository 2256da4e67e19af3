"""`save` and `load` of tensors, with the names of torch.serialization."""

from __future__ import annotations

import os
from typing import Any, BinaryIO

import numpy as np

from . import checkpoint
from .checkpoint import CheckpointError, save
from .creation import wrap

__all__ = ["CheckpointError", "load", "save"]


def load(f: str | os.PathLike[str] | BinaryIO, map_location: Any = None, *, weights_only: bool = True) -> Any:
    """What `save` wrote to `f`: tensors, on the CPU or on the device `map_location`, and whatever held them.

    Any other safetensors file gives its dict of tensors. `weights_only` is accepted for the sake of PyTorch scripts;
    nothing in a file is ever executed, whatever its value. Raises CheckpointError, OSError as `checkpoint.load` does.

    Like https://docs.pytorch.org/docs/stable/generated/torch.load.html

    >>> import io, tinygrad_mnist as tg
    >>> file = io.BytesIO()
    >>> tg.save({"step": 7, "weight": tg.ones(2)}, file)
    >>> _ = file.seek(0)
    >>> tg.load(file)
    {'step': 7, 'weight': tensor([1., 1.])}
    """
    return _to_tensors(checkpoint.load(f), map_location)


def _to_tensors(value: Any, device: Any) -> Any:
    match value:
        case np.ndarray():
            return wrap(value, device)
        case dict():
            return {key: _to_tensors(item, device) for key, item in value.items()}
        case list() | tuple():
            return type(value)(_to_tensors(item, device) for item in value)
    return value
