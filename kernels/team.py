"""Calls of compiled functions, shared out among threads that are awake already.

To wake a thread takes as long as a small kernel, and it then runs Python with a cold cache. Here the other threads wait
in compiled code for about a millisecond after each call, and take over the next in a microsecond, without Python and
its lock; whoever else wants their CPU gets it meanwhile. Where no thread waits, one is called in: until it comes, its
call is on offer, and the caller makes it if its own ends first.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from . import compiled

PATIENCE = 3000  # turns of 0.4 microseconds or more, before a thread waits no longer
SMALL = 20_000  # nanoseconds: less is done before another core has fetched what it needs
HERE = 0  # the slot that says: in this thread


class Team:
    """Slots where calls are offered, each for one other thread. `call_in` has one of them run a function, some time."""

    def __init__(self, others: int, call_in: Callable[[Callable[[], None]], None]):
        self.code = compiled.load("team_compiled")
        self.slots = np.zeros((others, self.code.WORDS), np.int64)
        self.addresses = [slot.ctypes.data for slot in self.slots]
        self.call_in = call_in
        self.lock = threading.Lock()

    def run(self, function: Any, calls: list[tuple[Any, ...]]) -> None:
        """function(slot, *call) for each of calls, at the same time; all have ended when this returns.

        The function begins with `if handed_over(slot): return` (see `team_compiled`).
        """
        if not self.lock.acquire(blocking=False):  # another thread of the user's has the team
            for call in calls:
                function(HERE, *call)
            return
        others = 1 + len(self.slots)
        offered = calls[1:others]
        try:
            self.call_threads()
            for slot, call in zip(self.addresses, offered, strict=False):
                function(slot, *call)
            for call in (calls[0], *calls[others:]):
                function(HERE, *call)
        finally:
            failed = self.code.finish(self.addresses[0], len(offered))
            self.lock.release()
        if failed:
            for call in offered:
                function(HERE, *call)  # and raise what was raised

    def lead(self, function: Any, arguments: tuple[Any, ...]) -> None:
        """function(slots, parts, *arguments), which cuts its work into so many parts, one for each thread.

        The function calls what can be handed over with `slot_of(slots, part)`, and ends with `finish_parts` (see
        `team_compiled`). The parts are the same, and so are the bits, where another thread of the user's has the team.
        """
        parts = 1 + len(self.slots)
        if not self.lock.acquire(blocking=False):
            function(HERE, parts, *arguments)
            return
        try:
            self.call_threads()
            function(self.addresses[0], parts, *arguments)
        finally:
            self.lock.release()

    def call_threads(self) -> None:
        """Have a thread come to each slot where there is none."""
        for i in range(len(self.slots)):
            if not self.slots.item(i, self.code.THERE):
                self.slots[i, self.code.THERE], self.slots[i, self.code.LEAVE] = 1, 0
                self.call_in(functools.partial(self.serve, i))

    def serve(self, i: int) -> None:
        """What a thread does that comes to slot i."""
        self.code.serve(self.addresses[i], PATIENCE)

    def dismiss(self) -> None:
        """Have the threads that wait at the slots leave at once."""
        self.slots[:, self.code.LEAVE] = 1
