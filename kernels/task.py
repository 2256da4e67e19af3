"""A call that is handed to another thread of ours: see `parallel.py`."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Any


class Task:
    """A call that another thread makes, unless that one wakes so late that the caller has begun it. Lighter than a
    Future of the standard library, whose way to a thread and back takes 0.1 ms."""

    def __init__(self, call: Callable[[], Any]):
        self.call = call
        self.context = contextvars.copy_context()  # NumPy keeps its errstate there
        self.error: BaseException | None = None
        self.begun = threading.Lock()
        self.ended = threading.Lock()
        self.ended.acquire()

    def run(self) -> None:
        """Make the call, if no other thread has begun it."""
        if not self.begun.acquire(blocking=False):
            return
        try:
            self.value = self.context.run(self.call)
        except BaseException as error:
            self.error = error
        self.ended.release()

    def wait(self) -> None:
        with self.ended:
            pass

    def result(self) -> Any:
        """What the call returned, or raised."""
        if self.error is not None:
            raise self.error
        return self.value
