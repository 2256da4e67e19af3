"""What compiled loops say to LLVM that Numba has no words for.

All of this runs while Numba compiles, whose result is cached on disk, so that coverage may or may not see it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


@contextlib.contextmanager
def for_range(builder: Any, count: Any, unroll: bool) -> Iterator[Any]:  # pragma: no cover
    """A loop over the numbers below count, which the compiler may unroll or not."""
    with cgutils.for_range(builder, count) as loop:
        yield loop.index
        end = builder.block
    if not unroll:
        module = builder.module
        disable = module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")])
        properties = ir.values.MDValue(module, [disable], name=str(len(module.metadata)))
        properties.operands = properties, disable  # by holding itself it is of this loop alone
        end.terminator.set_metadata("llvm.loop", properties)


def apart(function: Any) -> Any:  # pragma: no cover
    """A compiled function, with one signature and without a result, for others to call where its code lies. Numba would
    compile it anew as a part of each caller; what it raises is lost."""
    (compiled,) = function.overloads.values()
    name = f"{function.py_func.__module__}.{function.py_func.__name__}"
    binding.add_symbol(name, compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name))

    @intrinsic
    def call(typing_context: Any, *arguments: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kinds = compiled.signature.args
            code = cgutils.get_or_insert_function(
                builder.module, context.call_conv.get_function_type(types.void, kinds), name
            )
            context.call_conv.call_function(builder, code, types.void, kinds, cgutils.unpack_tuple(builder, *args))
            return context.get_dummy_value()

        return types.void(types.BaseTuple.from_types(compiled.signature.args)), emit

    return call


@intrinsic
def widest_vectors(typing_context: Any) -> Any:  # pragma: no cover
    """In a function that calls this, the compiler takes the CPU's widest vectors. On AVX-512 it takes half of them by
    itself: as fast for passes that write, but sums have more to do for each number that they read."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')  # llvmlite lets only plain names through
        return context.get_dummy_value()

    return types.void(), emit
