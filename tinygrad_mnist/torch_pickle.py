"""Reading a pickle as data: nothing is imported and nothing is called.

A pickle is a program for a small stack machine that can call any Python function by name, which is why unpickling
a file from a stranger runs their code. This machine has no such power: a name stays a string, "calling" is looking
the string up in a short list of reconstructions that the caller gives, and every other name is refused.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from typing import IO, Any


class UnsafePickleError(ValueError):
    """The pickle names something that is not needed to rebuild tensors, or is malformed."""


class Name(str):
    """A global that the pickle refers to, as 'module name': a string and no more."""

    __slots__ = ()


class _Mark:
    """Where a tuple, list or dict that is being collected begins on the stack."""


_MARK = _Mark()
_CONSTANTS = {
    "NONE": None,
    "NEWTRUE": True,
    "NEWFALSE": False,
}
_LITERALS = {
    "BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4", "BINFLOAT", "FLOAT",
    "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE", "BINSTRING", "SHORT_BINSTRING", "STRING",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
}  # fmt: skip
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_SET": set, "EMPTY_TUPLE": tuple}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_STORE = {"BINPUT", "LONG_BINPUT", "PUT"}
_FETCH = {"BINGET", "LONG_BINGET", "GET"}


def read_pickle(
    file: IO[bytes], rebuild: Mapping[str, Callable[..., Any]], persistent: Callable[[Any], Any] | None = None
) -> Any:
    """The object that the next pickle in `file` describes.

    `rebuild` maps the names that may be called ('module name') to what makes their result; a name outside it
    raises UnsafePickleError. `persistent` turns a persistent id into an object.
    """
    machine = _Machine(rebuild, persistent)
    try:
        for opcode, argument, _ in pickletools.genops(file):
            machine.step(opcode.name, argument)
        return machine.stack.pop()
    except UnsafePickleError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, MemoryError) as error:
        # What a malformed pickle makes of the machine: a missing operand, an unhashable key, a bad number.
        raise UnsafePickleError(f"malformed pickle: {error or type(error).__name__}") from error


class _Machine:
    """The stack and the memo of one pickle."""

    def __init__(self, rebuild: Mapping[str, Callable[..., Any]], persistent: Callable[[Any], Any] | None):
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.rebuild = rebuild
        self.persistent = persistent

    def step(self, name: str, argument: Any) -> None:
        """Carry out one opcode."""
        stack = self.stack
        if name in _LITERALS:
            stack.append(argument)
        elif name in _STORE:
            self.memo[int(argument)] = stack[-1]
        elif name in _FETCH:
            stack.append(self.memo[int(argument)])
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name in _TUPLES:
            stack.append(tuple(self.take(_TUPLES[name])))
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif handler := getattr(self, f"op_{name.lower()}", None):
            handler(argument)
        elif name not in ("PROTO", "FRAME", "STOP"):
            raise UnsafePickleError(f"the pickle uses {name}, which no file of tensors needs")

    def take(self, count: int) -> list[Any]:
        """The top `count` objects, taken off the stack."""
        if len(self.stack) < count:
            raise IndexError("stack is too short")
        taken = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return taken

    def take_to_mark(self) -> list[Any]:
        """What lies above the last mark, taken off the stack together with the mark."""
        at = max(i for i, x in enumerate(self.stack) if x is _MARK)
        taken = self.stack[at + 1 :]
        del self.stack[at:]
        return taken

    def op_mark(self, _: Any) -> None:
        self.stack.append(_MARK)

    def op_memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def op_pop(self, _: Any) -> None:
        self.take(1)

    def op_tuple(self, _: Any) -> None:
        self.stack.append(tuple(self.take_to_mark()))

    def op_list(self, _: Any) -> None:
        self.stack.append(self.take_to_mark())

    def op_dict(self, _: Any) -> None:
        items = self.take_to_mark()
        self.stack.append(dict(zip(items[::2], items[1::2], strict=True)))

    def op_append(self, _: Any) -> None:
        (item,) = self.take(1)
        self.expect(list).append(item)

    def op_appends(self, _: Any) -> None:
        items = self.take_to_mark()
        self.expect(list).extend(items)

    def op_additems(self, _: Any) -> None:
        items = self.take_to_mark()
        self.expect(set).update(items)

    def op_setitem(self, _: Any) -> None:
        key, value = self.take(2)
        self.expect(dict)[key] = value

    def op_setitems(self, _: Any) -> None:
        items = self.take_to_mark()
        self.expect(dict).update(zip(items[::2], items[1::2], strict=True))

    def expect(self, kind: type) -> Any:
        """The object on top, which must be a `kind`."""
        if not isinstance(self.stack[-1], kind):
            raise TypeError(f"expected a {kind.__name__}, found {type(self.stack[-1]).__name__}")
        return self.stack[-1]

    def op_global(self, argument: str) -> None:
        self.push_name(argument)

    def op_stack_global(self, _: Any) -> None:
        module, name = self.take(2)
        self.push_name(f"{module} {name}")

    def push_name(self, name: str) -> None:
        if name not in self.rebuild:
            raise UnsafePickleError(
                f"the pickle asks for {name.replace(' ', '.')!r}, which is not a tensor or a plain container; "
                "loading it would mean running code from the file"
            )
        self.stack.append(Name(name))

    def op_reduce(self, _: Any) -> None:
        function, arguments = self.take(2)
        if type(function) is not Name or type(arguments) is not tuple:
            raise TypeError("REDUCE without a name and a tuple of arguments")
        self.stack.append(self.rebuild[function](*arguments))

    def op_build(self, _: Any) -> None:
        """State of an object. A state dict carries `_metadata` this way, which is not needed."""
        (state,) = self.take(1)
        if type(self.stack[-1]) is not dict or type(state) is not dict:
            raise UnsafePickleError("the pickle sets attributes of an object that is no plain dictionary")

    def op_binpersid(self, _: Any) -> None:
        if self.persistent is None:
            raise UnsafePickleError("the pickle refers to a storage where none can be")
        (key,) = self.take(1)
        self.stack.append(self.persistent(key))
