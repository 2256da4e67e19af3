"""Memory that compiled loops ask for before they need it.

The CPU asks for what comes next by itself, but not behind the end of a page of 4 KB, and for memory to be written only
when it is. Nothing waits, and nothing happens where there is no memory.
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .memory import LINE

AHEAD = 2048  # bytes: how far ahead of what is read or written now passes over memory ask for it
IN_RUNS = not binding.get_host_cpu_name().startswith("znver")  # AMD's Zen loses by it where nothing but a run is read

Int, Byte = ir.IntType(64), ir.IntType(8)


# This runs while Numba compiles, whose result is cached on disk, so that coverage may or may not see it.


def prefetch(builder: Any, place: Any, writing: int = 0) -> None:  # pragma: no cover
    """Ask for the line of the cache that `place`, a pointer, lies in: to be in the first cache."""
    flag = ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [Byte.as_pointer(), flag, flag, flag])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    builder.call(function, [builder.bitcast(place, Byte.as_pointer()), flag(writing), flag(3), flag(1)])


def _ask(writing: int) -> Any:  # pragma: no cover
    @intrinsic
    def ask(typing_context: Any, address: Any, lines: Any) -> Any:
        """So many lines of the cache from an address on."""

        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            address, lines = args
            with cgutils.for_range(builder, lines) as i:
                place = builder.add(address, builder.mul(i.index, Int(LINE)))
                prefetch(builder, builder.inttoptr(place, Byte.as_pointer()), writing)
            return context.get_dummy_value()

        return types.void(types.intp, types.intp), emit

    return ask


read_soon, write_soon = _ask(0), _ask(1)
