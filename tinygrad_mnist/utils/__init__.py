"""`utils.data`: data sets and loaders."""

import importlib
from typing import Any


def __getattr__(name: str) -> Any:
    """Import `utils.data` at its first use: it needs multiprocessing, which is slow to import."""
    if name == "data":
        return importlib.import_module(".data", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
