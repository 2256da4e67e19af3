"""`RemovableHandle`: what registering a hook gives back."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Self


class RemovableHandle:
    """Takes a hook away again: by `remove()`, or at the end of a `with`."""

    _ids = itertools.count()

    def __init__(self, hooks: dict[int, Callable], hook: Callable):
        self._hooks = hooks
        self.id = next(self._ids)
        hooks[self.id] = hook

    def remove(self) -> None:
        self._hooks.pop(self.id, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()
