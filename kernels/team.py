"""Calls of a compiled function, shared out among threads that are awake already.

`parallel.for_blocks` wakes a thread, which then runs Python with a cold cache: for one image, that takes as long as the
kernel itself. Here the other threads wait in compiled code for about a millisecond after each call, and take over a
compiled function with its arguments in a microsecond, without Python and its lock. Where no thread waits, the caller
makes all calls itself, and a thread is called in for the next time.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from . import compiled

PATIENCE = 100_000  # looks for a call, of 10 ns or more, before a thread waits no longer
SMALL = 20_000  # nanoseconds: less is done before another core has fetched what it needs


@functools.cache
def _address(function: Any) -> int:
    """Where the machine code of a compiled function, which has one signature, begins."""
    (result,) = function.overloads.values()
    return result.library.get_pointer_to_function(result.fndesc.llvm_func_name)


class Team:
    """Slots where calls are offered, each for one other thread. `call_in` has one of them run a function, some time."""

    def __init__(self, others: int, call_in: Callable[[Callable[[], None]], None]):
        self.code = compiled.load("team_compiled")
        self.slots = np.zeros((others, self.code.WORDS), np.int64)
        self.call_in = call_in
        self.lock = threading.Lock()

    def run(self, function: Any, calls: list[tuple[Any, ...]]) -> None:
        """function(*call) for each of calls, which may run at the same time; all have ended when this returns."""
        if not self.lock.acquire(blocking=False):  # another thread of the user's has the team
            failed = True
        else:
            try:
                absent, failed = self.code.share(self.slots, _address(function), tuple(calls))
                if absent:
                    self.call_threads()
            finally:
                self.lock.release()
        if failed:
            for call in calls:
                function(*call)  # and raise what was raised

    def call_threads(self) -> None:
        """Have a thread wait at each slot that one has been called to."""
        for slot in self.slots:
            if slot[self.code.STATE] == self.code.CALLED:
                slot[self.code.LEAVE] = 0
                self.call_in(functools.partial(self.code.serve, slot, PATIENCE))

    def dismiss(self) -> None:
        """Have the threads that wait at the slots leave at once."""
        self.slots[:, self.code.LEAVE] = 1
