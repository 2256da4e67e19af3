"""Whether kernels compiled by Numba may be used, and loading them at their first use.

Numba is optional (`pip install 'tinygrad_mnist[fast]'`): without it every kernel runs its NumPy implementation.
Compiled code is cached on disk, so that only the first run on a machine compiles, and the first after a change here;
where no folder can be written, in a temporary one.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib
import importlib.util
import shutil
import sys
import tempfile
import warnings
from pathlib import Path
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
    return _load(name) if _allowed and numba_works() else None


@functools.cache
def numba_works() -> bool:
    """Whether Numba is installed and can be imported: it refuses a NumPy that is newer than itself."""
    if importlib.util.find_spec("numba") is None:
        return False
    try:
        importlib.import_module("numba")
    except ImportError as error:
        warnings.warn(f"kernels run on NumPy alone, since Numba fails: {error}", RuntimeWarning, stacklevel=2)
        return False
    return True


@functools.cache
def cache_folder() -> Path:
    """Where Numba keeps the compiled kernels: beside them, by user, or, where it can write to neither, for now."""
    from numba.core import caching, config

    try:
        return Path(caching.CompileResultCacheImpl(use_compiled).locator.get_cache_path())
    except RuntimeError:
        config.CACHE_DIR = tempfile.mkdtemp()
        atexit.register(shutil.rmtree, config.CACHE_DIR, ignore_errors=True)
        return Path(config.CACHE_DIR)


@functools.cache
def forget_outdated(folder: Path, cache: Path) -> None:
    """Delete the cached code that is older than a source in `folder`.

    Numba compares a function with its own file only, not with those whose functions it calls.
    """
    newest = max(source.stat().st_mtime for source in folder.glob("*.py"))
    for index in cache.glob("*.nbi"):
        with contextlib.suppress(FileNotFoundError):  # another process may have been first
            if index.stat().st_mtime < newest:
                index.unlink()


@functools.cache
def _load(name: str) -> ModuleType:
    from numba.core import event

    forget_outdated(Path(__file__).parent, cache_folder())

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
