"""How a call of a compiled function gets to another thread without Python: contract in `team.py`.

A slot is memory that two threads see: its state, and a call. The state is changed by compare-and-swap, and says who may
touch the rest: the caller at first, from OFFERED on who sets it to BUSY.
"""

from __future__ import annotations

import os
import platform
from typing import Any

from llvmlite import ir
from numba import int64, njit, types, void
from numba.core import cgutils
from numba.extending import intrinsic

options: Any = {"nogil": True, "cache": True, "error_model": "numpy", "no_cfunc_wrapper": True}
inner: Any = {**options, "no_cpython_wrapper": True}  # of what only other compiled functions call

FREE, OFFERED, BUSY, DONE = range(4)
STATE, THERE, LEAVE, FAILED, START, ARGUMENTS = 0, 1, 2, 8, 9, 10  # words of a slot; those that are written by
WORDS = 256  # different threads lie in different lines of the cache

LOOKS = 16  # of 10 ns or more, after which a thread that waits lets others run that want its CPU
PAUSE = "llvm.x86.sse2.pause" if platform.machine() in ("x86_64", "AMD64") else ""  # lets the core rest for a moment
YIELD = "sched_yield" if os.name == "posix" else ""

Bit, Byte, Int, Nothing = ir.IntType(1), ir.IntType(8), ir.IntType(64), ir.VoidType()


# These run while Numba compiles, whose result is cached on disk, so that coverage may or may not see them.


def _word(builder: Any, slot: Any, i: int, kind: Any = Int) -> Any:  # pragma: no cover
    """A pointer to word i of the slot at an address."""
    return builder.inttoptr(builder.add(slot, Int(8 * i)), kind.as_pointer())


@intrinsic
def handed_over(typing_context: Any, slot: Any) -> Any:  # pragma: no cover
    """`if handed_over(slot): return` is how a function begins that other threads can take over. Its first argument is
    `slot`: 0 where it is to run, or the address of a slot, where it leaves its other arguments, for a call with 0.

    Arrays are left without their owners, who may be gone when Numba's wrapper of this call is: the caller has them.
    """

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        function = builder.function
        result, exception, slot, *arguments = function.args
        if slot.name != "arg.slot":
            raise ValueError("the first argument of a function that can be handed over is `slot`")
        function.attributes.add("noinline")
        owners = [a.type == Byte.as_pointer() and a.name.endswith((".0", ".1")) for a in arguments]
        if len(arguments) > WORDS - ARGUMENTS:
            raise ValueError("the arguments of this function do not fit into a slot")

        start = ir.Function(builder.module, ir.FunctionType(Int, [Int]), builder.module.get_unique_name("start"))
        start.linkage = "internal"
        inside = ir.IRBuilder(start.append_basic_block())
        room = [inside.alloca(a.type.pointee) for a in (result, exception)]
        found = [
            ir.Constant(a.type, None) if owner else inside.load(_word(inside, start.args[0], ARGUMENTS + i, a.type))
            for i, (a, owner) in enumerate(zip(arguments, owners, strict=True))
        ]
        status = inside.call(function, [*room, Int(0), *found])
        raised = [inside.icmp_signed("!=", status, status.type(code)) for code in (0, -2)]  # -2: returned None
        inside.ret(inside.zext(inside.and_(*raised), Int))

        given = builder.icmp_signed("!=", slot, Int(0))
        with builder.if_then(given):
            for i, (a, owner) in enumerate(zip(arguments, owners, strict=True)):
                if not owner:
                    builder.store(a, _word(builder, slot, ARGUMENTS + i, a.type))
            builder.store(builder.ptrtoint(start, Int), _word(builder, slot, START))
            builder.store_atomic(Int(OFFERED), _word(builder, slot, STATE), "release", 8)
        return given

    return types.boolean(int64), emit


@intrinsic
def _swap(typing_context: Any, address: Any, old: Any, new: Any) -> Any:  # pragma: no cover
    """Set a word to `new` if it is `old`, and say whether: no other thread can have come between."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address, old, new = args
        return builder.extract_value(builder.cmpxchg(_word(builder, address, 0), old, new, "acq_rel", "acquire"), 1)

    return types.boolean(int64, int64, int64), emit


@intrinsic
def _look(typing_context: Any, address: Any) -> Any:  # pragma: no cover
    """A word that other threads change."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(_word(builder, args[0], 0), "acquire", 8)

    return int64(int64), emit


@intrinsic
def _start(typing_context: Any, slot: Any) -> Any:  # pragma: no cover
    """Make the call that lies in the slot; FAILED is 1 if it raised, else 0."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        start = builder.load(_word(builder, args[0], START))
        failed = builder.call(builder.inttoptr(start, ir.FunctionType(Int, [Int]).as_pointer()), args)
        builder.store(failed, _word(builder, args[0], FAILED))
        return context.get_dummy_value()

    return void(int64), emit


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


@njit(void(int64), **inner)
def _take(slot: int) -> None:  # pragma: no cover
    """Make the call on offer at a slot, if there is one and nobody else does."""
    if _swap(slot + 8 * STATE, OFFERED, BUSY):
        _start(slot)
        _swap(slot + 8 * STATE, BUSY, DONE)


@njit(void(int64), **inner)
def _wait(slot: int) -> None:  # pragma: no cover
    """Some looks at a slot, until its state is another; then others may run."""
    state = _look(slot + 8 * STATE)
    for _ in range(LOOKS):
        if _look(slot + 8 * STATE) != state:
            return
        _pause()
    _let_others_run()


@njit(int64(int64, int64), **options)
def finish(slots: int, count: int) -> int:  # pragma: no cover
    """Make the calls at some slots that nobody has begun, wait for the others; 1 if one has raised, else 0."""
    failed = 0
    for slot in range(slots, slots + 8 * WORDS * count, 8 * WORDS):
        _take(slot)
        while _look(slot + 8 * STATE) == BUSY:
            _wait(slot)
        if _swap(slot + 8 * STATE, DONE, FREE):
            failed |= _look(slot + 8 * FAILED)
    return failed


@njit(inline="always")
def slot_of(slots: int, part: int) -> int:  # pragma: no cover
    """The slot of a part of what a function shares out that was given these slots: 0 is the caller's own."""
    return slots + 8 * WORDS * (part - 1) if slots and part else 0


@njit(inline="always")
def finish_parts(slots: int, parts: int) -> None:  # pragma: no cover
    """Have all parts at these slots done."""
    if slots:
        finish(slots, parts - 1)


@njit(void(int64, int64), **options)
def serve(slot: int, patience: int) -> None:  # pragma: no cover
    """Make the calls that are offered at a slot, until none came for `patience` turns of LOOKS, or LEAVE is set."""
    turns = 0
    while turns < patience and _look(slot + 8 * LEAVE) == 0:
        if _look(slot + 8 * STATE) == OFFERED:
            _take(slot)
            turns = 0
        _wait(slot)
        turns += 1
    _swap(slot + 8 * THERE, 1, 0)
