"""The one place that launches our CUDA kernels.

CuPy hands arguments to a kernel as they are: a wrong dtype, a strided array or a Python float where the kernel has a
`float` give garbage, and a wrong count crashes. So `launch` compares every argument with the kernel's own signature,
which it reads from the source.
"""

from __future__ import annotations

import ctypes
import functools
import math
import re
import struct
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cupy as cp
import numpy as np

from . import fault

SOURCES = Path(__file__).parent.parent
THREADS = 256  # of a block
MAX_ELEMENTS = 2**31 - 1  # kernels count with 32 bits

C_NAMES: dict[np.dtype, str] = {
    np.dtype(np.float16): "__half", np.dtype(np.float32): "float", np.dtype(np.float64): "double",
    np.dtype(np.uint8): "unsigned char", np.dtype(np.int8): "signed char", np.dtype(np.int16): "short",
    np.dtype(np.int32): "int", np.dtype(np.int64): "long long", np.dtype(np.uint32): "unsigned",
    np.dtype(np.uint64): "unsigned long long", np.dtype(np.bool_): "bool",
}  # fmt: skip
DTYPES: dict[str, np.dtype] = {name: dtype for dtype, name in C_NAMES.items()}


Constants = tuple[tuple[str, int], ...]  # names and values


class Parameter(NamedTuple):
    """One parameter of a kernel: `const T* x` is ("x", "T", True, True)."""

    name: str
    type: str
    pointer: bool
    const: bool


@functools.cache
def source(file: str) -> str:
    """The CUDA source of kernels/`file`, with the common header in front and the files that it includes written out."""
    return _text("common.cuh") + re.sub(r'#include "([\w.]+)"\n', lambda m: _text(m[1]), _text(file))


def _text(file: str) -> str:
    path = SOURCES / file
    return f'#line 1 "{path}"\n{path.read_text()}'


def typed_source(file: str, dtype: np.dtype, constants: Constants = ()) -> str:
    """`source` for arrays of `dtype` and with these constants.

    T is a typedef, as NVRTC's own headers have a T that a macro would break. Acc is the type to add many T in.
    """
    header = "#include <cuda_fp16.h>\n" if dtype == np.float16 else ""
    lines = [f"typedef {C_NAMES[dtype]} T;", f"typedef {C_NAMES[sum_type(dtype)]} Acc;"]
    lines += [f"const int {name} = {value};" for name, value in constants]
    return header + "\n".join(lines) + f"\n{source(file)}"


def sum_type(dtype: np.dtype) -> np.dtype:
    """The type that many numbers of `dtype` are added in: float32 for float16, else the same."""
    return np.dtype(np.float32) if dtype == np.float16 else dtype


@functools.cache
def signatures(file: str) -> dict[str, list[Parameter]]:
    """The parameters of each kernel in kernels/`file`, read from the source."""
    text = re.sub(r"//[^\n]*", "", source(file))
    kernels = re.findall(
        r'extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s*)?(\w+)\s*\(([^)]*)\)', text
    )
    return {name: [_parameter(p) for p in parameters.split(",")] for name, parameters in kernels}


def _parameter(declaration: str) -> Parameter:
    """A parameter from its declaration, such as `const T* __restrict__ x`."""
    words = declaration.replace("*", " * ").split()
    pointer = "*" in words
    *type_words, name = [w for w in words if w not in ("const", "__restrict__", "*")]
    return Parameter(name, " ".join(type_words), pointer, "const" in words)


class LaunchError(TypeError):
    """A kernel was given what it does not take: a fault of this package, not of its user."""


class _Signature:
    """A kernel's parameters for one T, in the form in which arguments are checked fastest."""

    def __init__(self, file: str, name: str, dtype: np.dtype):
        self.file, self.name, self.dtype = file, name, dtype
        self.parameters = signatures(file)[name]
        self.wanted = [_wanted(p, dtype) for p in self.parameters]
        self.slots = [(p.pointer, wanted) for p, wanted in zip(self.parameters, self.wanted, strict=True)]
        self.takes_fault = self.parameters[-1].type == "Fault"

    def values(self, arguments: Sequence[Any], device: int) -> list[Any]:
        """The addresses of arrays, the bytes of structs, and numbers as they are; LaunchError for what does not fit."""
        if len(arguments) + self.takes_fault != len(self.slots):
            raise LaunchError(
                f"{self.name} in {self.file} takes {len(self.slots) - self.takes_fault} arguments, got {len(arguments)}"
            )
        values = []
        for i, (argument, (pointer, wanted)) in enumerate(zip(arguments, self.slots, strict=False)):
            if not pointer:
                values.append(argument if wanted is not None else self.struct(i, argument))
            elif argument is None:
                values.append(0)
            elif (
                type(argument) is cp.ndarray
                and argument.dtype == wanted
                and argument._c_contiguous
                and argument.data.device_id == device
            ):
                values.append(argument.data.ptr)
            else:
                raise self.refusal(i, argument, device)
        if self.takes_fault:
            values.append(int(fault.pointer()))
        return values

    def struct(self, i: int, argument: Any) -> bytes:
        """The bytes of a struct that is passed by value."""
        if not isinstance(argument, np.void):
            raise self.refusal(i, argument, 0)
        return argument.tobytes()

    def refusal(self, i: int, argument: Any, device: int) -> LaunchError:
        """What is wrong with argument i."""
        parameter, wanted = self.parameters[i], self.wanted[i]
        where, found = f"{self.name}: argument {parameter.name}", f"got {type(argument).__name__}"
        if not parameter.pointer:
            if wanted is None:
                return LaunchError(f"{where} must be a {parameter.type}, {found}")
            if wanted.kind == "f":
                return LaunchError(f"{where} must be a number, {found}")
            if not isinstance(argument, int):
                return LaunchError(f"{where} must be an integer, {found}")
            return LaunchError(f"{where} must fit into {wanted}, got {argument}")
        if not isinstance(argument, cp.ndarray):
            return LaunchError(f"{where} must be a CuPy array, {found}")
        if argument.dtype != wanted:
            return LaunchError(f"{where} must be {wanted}, got {argument.dtype}")
        if not argument.flags.c_contiguous:
            return LaunchError(
                f"{where} must be C-contiguous, got strides {argument.strides} for shape {argument.shape}"
            )
        return LaunchError(f"{where} is on cuda:{argument.device.id}, the current device is cuda:{device}")

    def wrong_number(self, values: Sequence[Any]) -> LaunchError:
        """Which of the numbers `struct` does not take."""
        for i, (value, parameter) in enumerate(zip(values, self.parameters, strict=True)):
            code = _code(parameter, self.dtype)
            try:
                struct.pack(code or f"{len(value)}s", value)
            except struct.error:
                return self.refusal(i, value, 0)
        raise AssertionError("each number fits")


@functools.cache
def _signature(file: str, name: str, dtype: np.dtype) -> _Signature:
    return _Signature(file, name, dtype)


def _wanted(parameter: Parameter, dtype: np.dtype) -> np.dtype | None:
    """The NumPy type of a parameter, or of what it points to; None for a struct."""
    return {"T": dtype, "Acc": sum_type(dtype)}.get(parameter.type) or DTYPES.get(parameter.type)


def _code(parameter: Parameter, dtype: np.dtype) -> str:
    """How `struct` calls the type of a parameter; empty for a struct."""
    if parameter.pointer:
        return "P"
    wanted = _wanted(parameter, dtype)
    return "" if wanted is None else {"l": "q"}.get(wanted.char, wanted.char)


@functools.cache
def _compiled(file: str, name: str, dtype: np.dtype, constants: Constants, device: int) -> _Kernel:
    """The compiled kernel for arrays of `dtype`; CuPy keeps its machine code in its own cache between runs."""
    module = cp.RawModule(code=typed_source(file, dtype, constants), options=("-std=c++17",))
    try:
        module.compile()
    except cp.cuda.compiler.CompileException as error:
        raise RuntimeError(
            f"the CUDA compiler (NVRTC {'.'.join(map(str, cp.cuda.nvrtc.getVersion()))}) refused {file} for {dtype}:\n"
            f"{error}\nCheck the installation with: python -m tinygrad_mnist info"
        ) from error
    return _Kernel(module.get_function(name).kernel, _signature(file, name, dtype))


class _Kernel:
    """A compiled kernel, and the memory in which its arguments are handed to the driver: all at once by `struct`, as
    making an object of each costs more than everything else in a launch."""

    def __init__(self, function: Any, signature: _Signature):
        self.function = function  # keeps the machine code alive
        self.codes = [_code(p, signature.dtype) for p in signature.parameters]
        self.lock = threading.Lock()  # several threads share the memory
        self.format: struct.Struct | None = None

    def _prepare(self, values: Sequence[Any]) -> struct.Struct:
        """Make the memory; the first arguments say how large the structs among them are."""
        codes = [code or f"0q{len(value)}s" for code, value in zip(self.codes, values, strict=True)]
        aligned = ["0" + (code or "q") for code in self.codes]
        offsets = [struct.calcsize("".join(codes[:i]) + aligned[i]) for i in range(len(codes))]
        self.memory = ctypes.create_string_buffer(struct.calcsize("".join(codes)))
        start = ctypes.addressof(self.memory)
        self.pointers = (ctypes.c_void_p * len(codes))(*(start + offset for offset in offsets))
        return struct.Struct("".join(codes))

    def run(self, blocks: int, threads: int, values: Sequence[Any]) -> None:
        """Launch on the current stream; struct.error if a number does not fit its parameter."""
        stream = cp.cuda.get_current_stream().ptr
        with self.lock:
            memory_format = self.format or self._prepare(values)
            memory_format.pack_into(self.memory, 0, *values)
            self.format = memory_format  # only now, when these arguments are known to be right
            cp.cuda.driver.launchKernel(
                self.function.ptr, blocks, 1, 1, threads, 1, 1, 0, stream, ctypes.addressof(self.pointers), 0
            )


@functools.cache
def multiprocessors(device: int) -> int:
    """How many multiprocessors a device has."""
    return cp.cuda.Device(device).attributes["MultiProcessorCount"]


@functools.cache
def max_blocks(device: int) -> int:
    """More blocks than can run at once are of no use: kernels go on from there in strides."""
    resident = cp.cuda.Device(device).attributes["MaxThreadsPerMultiProcessor"] // THREADS
    return 4 * resident * multiprocessors(device)


def launch(
    file: str,
    name: str,
    dtype: np.dtype,
    work: int,
    *arguments: Any,
    per_block: int = THREADS,
    threads: int = THREADS,
    capped: bool = True,
    constants: Constants = (),
) -> None:
    """Run a kernel of kernels/`file`, compiled for T = `dtype`, on `work` pieces of work, `per_block` to a block.

    The blocks, of `threads` threads, are no more than fill the device if they are `capped`: then a kernel must go on in
    strides.

    Arrays must have the dtype of their parameter, lie C-contiguous and belong to the current device. Python numbers
    become what the parameter says. A pointer that may be null takes None. A last parameter `Fault* fault` is filled in
    here. Nothing is launched for no work.
    """
    signature, device = _signature(file, name, dtype), cp.cuda.runtime.getDevice()
    values = signature.values(arguments, device)
    if work == 0:
        return
    blocks = -(-work // per_block)
    if capped:
        blocks = min(blocks, max_blocks(device))
    try:
        _compiled(file, name, dtype, constants, device).run(blocks, threads, values)
    except struct.error:
        raise signature.wrong_number(values) from None


def empty(shape: Sequence[int], dtype: Any) -> cp.ndarray:
    """A new array of the current device, if kernels can count its elements."""
    n = math.prod(shape)
    if n > MAX_ELEMENTS:
        raise ValueError(
            f"the CUDA kernels take arrays of up to {MAX_ELEMENTS:,} elements, and shape {tuple(shape)} has {n:,}; "
            "use a smaller batch"
        )
    return cp.empty(tuple(shape), dtype)


def contiguous(x: cp.ndarray) -> cp.ndarray:
    """x C-contiguous (a copy if it is not), if kernels can count its elements."""
    if x.size > MAX_ELEMENTS:
        empty(x.shape, x.dtype)  # says so
    return x if x.flags.c_contiguous else cp.ascontiguousarray(x)
