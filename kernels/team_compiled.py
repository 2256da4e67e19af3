"""How a compiled function is called on several threads at once, in compiled code: contract in `team.py`.

A slot is memory that two threads see: its state, and a call. The state is changed by compare-and-swap, and says who may
touch the rest: the caller at first, from OFFERED on who sets it to BUSY.
"""

from __future__ import annotations

import os
import platform
from typing import Any

import numpy as np
from llvmlite import ir
from numba import int64, njit, types, void
from numba.core import cgutils
from numba.extending import intrinsic

from .fused_compiled import inner, options

AWAY, CALLED, FREE, OFFERED, BUSY, DONE = range(6)  # AWAY: no thread waits at the slot; CALLED: one will
STATE, LEAVE, FAILED, START, FUNCTION, ARGUMENTS = 0, 1, 2, 8, 9, 10  # words of a slot; those that are written by
WORDS = 256  # different threads lie in different lines of the cache

LONG = 100_000  # looks, of 10 ns or more, after which a caller that waits lets other threads run meanwhile
PAUSE = "llvm.x86.sse2.pause" if platform.machine() in ("x86_64", "AMD64") else ""  # lets the core rest for a moment
YIELD = "sched_yield" if os.name == "posix" else ""  # lets other threads run

Int, Nothing = ir.IntType(64), ir.VoidType()


# These run while Numba compiles, whose result is cached on disk, so that coverage may or may not see them.


def _word(builder: Any, slot: Any, i: int, kind: Any) -> Any:  # pragma: no cover
    """A pointer to word i of the slot at an address."""
    return builder.inttoptr(builder.add(slot, Int(8 * i)), kind.as_pointer())


@intrinsic
def _swap(typing_context: Any, slot: Any, old: Any, new: Any) -> Any:  # pragma: no cover
    """Set the state to `new` if it is `old`, and say whether: no other thread can have come between."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        state = _word(builder, args[0], STATE, Int)
        return builder.extract_value(builder.cmpxchg(state, args[1], args[2], "acq_rel", "acquire"), 1)

    return types.boolean(int64, int64, int64), emit


@intrinsic
def _look(typing_context: Any, address: Any) -> Any:  # pragma: no cover
    """A word that other threads change."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(builder.inttoptr(args[0], Int.as_pointer()), "acquire", 8)

    return int64(int64), emit


def _system(name: str) -> Any:  # pragma: no cover
    @intrinsic
    def call(typing_context: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            if name:
                builder.call(cgutils.get_or_insert_function(builder.module, ir.FunctionType(Nothing, []), name), [])
            return context.get_dummy_value()

        return void(), emit

    return call


_pause, _let_others_run = _system(PAUSE), _system(YIELD)


def _call(context: Any, builder: Any, address: Any, kinds: tuple[Any, ...], struct: Any) -> Any:  # pragma: no cover
    """Call the compiled function at an address with the numbers of a struct; 1 if it raised, else 0."""
    kind = context.call_conv.get_function_type(types.void, kinds)
    function = builder.inttoptr(address, kind.as_pointer())
    parts = [builder.extract_value(struct, i) for i in range(len(kinds))]
    status, _ = context.call_conv.call_function(builder, function, types.void, kinds, parts)
    return builder.zext(status.is_error, Int)


@intrinsic
def _make(typing_context: Any, function: Any, call: Any) -> Any:  # pragma: no cover
    """function(*call), in this thread; 1 if it raised, else 0."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _call(context, builder, args[0], signature.args[1].types, args[1])

    return int64(int64, call), emit


@intrinsic
def _write(typing_context: Any, slot: Any, function: Any, call: Any) -> Any:  # pragma: no cover
    """Write into the slot what `_start` needs. Arrays go without their owners: the caller, who waits, has them."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        (slot, function, struct), kinds = args, signature.args[2].types
        for i, kind in enumerate(kinds):
            if isinstance(kind, types.Array):
                array = context.make_array(kind)(context, builder, builder.extract_value(struct, i))
                array.meminfo = cgutils.get_null_value(array.meminfo.type)
                array.parent = cgutils.get_null_value(array.parent.type)
                struct = builder.insert_value(struct, array._getvalue(), i)
        if context.get_abi_sizeof(struct.type) > 8 * (WORDS - ARGUMENTS):
            raise ValueError("the arguments of this function do not fit into a slot")
        start = ir.Function(builder.module, ir.FunctionType(Int, [Int]), builder.module.get_unique_name("start"))
        start.linkage = "internal"
        inside = ir.IRBuilder(start.append_basic_block())
        found = inside.load(_word(inside, start.args[0], ARGUMENTS, struct.type))
        found.align = 8
        inside.ret(_call(context, inside, inside.load(_word(inside, start.args[0], FUNCTION, Int)), kinds, found))
        builder.store(struct, _word(builder, slot, ARGUMENTS, struct.type)).align = 8
        builder.store(function, _word(builder, slot, FUNCTION, Int))
        builder.store(builder.ptrtoint(start, Int), _word(builder, slot, START, Int))
        return context.get_dummy_value()

    return void(int64, int64, call), emit


@intrinsic
def _start(typing_context: Any, slot: Any) -> Any:  # pragma: no cover
    """Make the call that lies in the slot; FAILED is 1 if it raised, else 0."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        start = builder.load(_word(builder, args[0], START, Int))
        failed = builder.call(builder.inttoptr(start, ir.FunctionType(Int, [Int]).as_pointer()), args)
        builder.store(failed, _word(builder, args[0], FAILED, Int))
        return context.get_dummy_value()

    return void(int64), emit


@njit(void(int64), **inner)
def _take(slot: int) -> None:  # pragma: no cover
    """Make the call on offer at a slot, if there is one and nobody else does."""
    if _swap(slot, OFFERED, BUSY):
        _start(slot)
        _swap(slot, BUSY, DONE)


@njit(**options)
def share(slots: np.ndarray, function: int, calls: tuple[Any, ...]) -> tuple[int, bool]:  # pragma: no cover
    """Make all calls of the compiled function at an address: the first in this thread, each other in one that waits at
    a slot, or else here too. Returns how many slots no thread waits at, now CALLED, and whether a call raised."""
    at = slots.ctypes.data
    offered, absent = 1, 0
    for slot in range(at, at + 8 * WORDS * len(slots), 8 * WORDS):
        if offered < len(calls) and _swap(slot, FREE, BUSY):
            _write(slot, function, calls[offered])
            _swap(slot, BUSY, OFFERED)
            offered += 1
        elif _swap(slot, AWAY, CALLED):
            absent += 1
    failed = _make(function, calls[0])
    for i in range(offered, len(calls)):
        failed |= _make(function, calls[i])
    for slot in range(at, at + 8 * WORDS * len(slots), 8 * WORDS):
        _take(slot)
        looks = 0
        while _look(slot + 8 * STATE) == BUSY:
            _pause()
            looks += 1
            if looks > LONG:
                _let_others_run()
        if _swap(slot, DONE, FREE):
            failed |= _look(slot + 8 * FAILED)
    return absent, failed != 0


@njit(void(int64[::1], int64), **options)
def serve(slot: np.ndarray, patience: int) -> None:  # pragma: no cover
    """Make the calls that are offered at a slot, until none came for `patience` looks, or LEAVE is set."""
    at = slot.ctypes.data
    if not _swap(at, CALLED, FREE):
        return
    looks = 0
    while looks < patience and _look(at + 8 * LEAVE) == 0:
        _pause()
        looks += 1
        if _look(at + 8 * STATE) == OFFERED:
            _take(at)
            looks = 0
    while not _swap(at, FREE, AWAY):  # once the call that came last has been made
        _take(at)
