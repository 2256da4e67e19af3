"""Error messages that say which layer of the model is meant. They cost nothing until something is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .module import Module


def say_where(module: Module, error: Exception) -> None:
    """Put the layer and its path before the message of an error that passes through `module.__call__`.

    The innermost module sees the error first; each module further out knows a longer path to it.
    Only messages made of one string are touched, and each keeps its type and its text.
    """
    layer, message = getattr(error, "raised_in", (module, error.args[0] if len(error.args) == 1 else None))
    if not isinstance(message, str):
        return
    error.raised_in = layer, message  # type: ignore[attr-defined]
    path = next((name for name, m in module.named_modules() if m is layer), "")
    if not path and module is not layer:
        return  # called from outside the tree of modules: the shorter path stays
    error.args = (f"{headline(layer)}{path and f' at {path!r}'}: {message}",)


def headline(layer: Module) -> str:
    """One line for a layer: its repr, without the layers inside."""
    return type(layer).__name__ if layer._modules else repr(layer)
