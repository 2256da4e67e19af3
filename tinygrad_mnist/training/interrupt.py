"""Ctrl-C that waits until the weights are whole."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Self, TypeVar

T = TypeVar("T")


class Interrupted(KeyboardInterrupt):
    """Ctrl-C was pressed, and now everything is in a state that can be saved."""


class InterruptGuard:
    """Inside the `with`, the first Ctrl-C only sets `pressed`; a second one raises KeyboardInterrupt at once.

    Only where Ctrl-C would raise KeyboardInterrupt anyway: not in other threads, nor where a program handles it.
    """

    pressed = False

    def __enter__(self) -> Self:
        self._installed = False
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            try:
                signal.signal(signal.SIGINT, self._press)
                self._installed = True
            except ValueError:  # not the main thread, which alone gets signals
                pass
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if self.pressed and error is None:  # pressed after the last check
            raise KeyboardInterrupt

    def _press(self, number: int, frame: FrameType | None) -> None:
        self.pressed = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def check(self) -> None:
        """Raise Interrupted if Ctrl-C was pressed."""
        if self.pressed:
            raise Interrupted

    def watch(self, items: Iterable[T]) -> Iterator[T]:
        """`items`, until Ctrl-C is pressed: then Interrupted."""
        for item in items:
            self.check()
            yield item
