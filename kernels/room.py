"""Memory that a compiled function works in: taken and given back there, without an array of Numba's own.

To compile what makes such an array, counts who has it and frees it takes a second in each function that has some.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import int64, types, void
from numba.core import cgutils
from numba.extending import intrinsic

from .memory import LINE

Int = ir.IntType(64)


# This runs while Numba compiles, whose result is cached on disk, so that coverage may or may not see it.


def _owner(builder: Any, address: Any) -> Any:  # pragma: no cover
    """Where the address is kept that the memory was given at: just before the room."""
    return builder.inttoptr(builder.sub(address, Int(8)), Int.as_pointer())


@intrinsic
def take(typing_context: Any, numbers: Any) -> Any:  # pragma: no cover
    """The address of room for so many float32, at the beginning of a line of the cache. Give it back!"""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        size = builder.add(builder.mul(args[0], Int(4)), Int(2 * LINE))
        raw = context.nrt.allocate(builder, size)
        with builder.if_then(cgutils.is_null(builder, raw), likely=False):
            context.call_conv.return_user_exc(builder, MemoryError, ("no memory for a kernel to work in",))
        raw = builder.ptrtoint(raw, Int)
        address = builder.and_(builder.add(raw, Int(2 * LINE - 1)), Int(-LINE))
        builder.store(raw, _owner(builder, address))
        return address

    return int64(int64), emit


@intrinsic
def give_back(typing_context: Any, address: Any) -> Any:  # pragma: no cover
    """What `take` gave."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        raw = builder.load(_owner(builder, args[0]))
        context.nrt.free(builder, builder.inttoptr(raw, ir.IntType(8).as_pointer()))
        return context.get_dummy_value()

    return void(int64), emit


@intrinsic
def image_at(typing_context: Any, address: Any, height: Any, width: Any, channels: Any) -> Any:  # pragma: no cover
    """The room as an array (height, width, channels), which does not own it."""
    kind = types.Array(types.float32, 3, "C")

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address, *shape = args
        row = builder.mul(shape[2], Int(4))
        array = context.make_array(kind)(context, builder)
        array.data = builder.inttoptr(address, ir.FloatType().as_pointer())
        array.shape = cgutils.pack_array(builder, shape)
        array.strides = cgutils.pack_array(builder, [builder.mul(shape[1], row), row, Int(4)])
        array.itemsize = Int(4)
        array.nitems = builder.mul(shape[0], builder.mul(shape[1], shape[2]))
        array.meminfo = cgutils.get_null_value(array.meminfo.type)
        array.parent = cgutils.get_null_value(array.parent.type)
        return array._getvalue()

    return kind(int64, int64, int64, int64), emit
