"""Whether kernels compiled by Numba may be used, and loading them at their first use.

Numba is optional (`pip install 'tinygrad_mnist[fast]'`): without it every kernel runs its NumPy implementation.
Compiled code is cached on disk, so that only the first run on a machine compiles.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any

_allowed = True


def use_compiled(allowed: bool) -> bool:
    """Let the kernels use compiled code where they have it, or NumPy alone; returns what held before."""
    global _allowed
    before, _allowed = _allowed, bool(allowed)
    return before


def load(name: str) -> Any:
    """The module of compiled kernels `name`; None if they may not be used or Numba is not installed."""
    return _load(name) if _allowed and _numba_is_installed() else None


@functools.cache
def _numba_is_installed() -> bool:
    return importlib.util.find_spec("numba") is not None


@functools.cache
def _load(name: str) -> ModuleType:
    from numba.core import event

    class Notice(event.Listener):
        said = False

        def on_start(self, event: event.Event) -> None:
            if not self.said and sys.stderr.isatty():
                print("tinygrad_mnist: compiling kernels, once (a few seconds; kept on disk)", file=sys.stderr)
            self.said = True

        def on_end(self, event: event.Event) -> None:
            pass

    with event.install_listener("numba:compile", Notice()):
        return importlib.import_module(f".{name}", __package__)
