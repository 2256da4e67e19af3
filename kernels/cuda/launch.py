"""The one place that launches our CUDA kernels.

CuPy hands arguments to a kernel as they are: a wrong dtype, a strided array or a Python float where the kernel has a
`float` give garbage, and a wrong count crashes. So `launch` compares every argument with the kernel's own signature,
which it reads from the source.
"""

from __future__ import annotations

import functools
import math
import re
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


class Parameter(NamedTuple):
    """One parameter of a kernel: `const T* x` is ("x", "T", True, True)."""

    name: str
    type: str
    pointer: bool
    const: bool


@functools.cache
def source(file: str) -> str:
    """The CUDA source of kernels/`file`, with the common header, and those that it includes, in front."""
    included = re.findall(r'^#include "(.+)"\n', (SOURCES / file).read_text(), re.MULTILINE)
    parts = []
    for path in (SOURCES / name for name in ("common.cuh", *included, file)):
        parts.append(f'#line 1 "{path}"\n' + re.sub(r'^#include "', "// \\g<0>", path.read_text(), flags=re.MULTILINE))
    return "".join(parts)


def typed_source(file: str, dtype: np.dtype) -> str:
    """`source` for arrays of `dtype`: a typedef, as NVRTC's own headers have a T that a macro would break."""
    return f"typedef {C_NAMES[dtype]} T;\n{source(file)}"


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


@functools.cache
def _kernel(file: str, name: str, dtype: np.dtype, device: int) -> Any:
    """The compiled kernel for arrays of `dtype`; CuPy keeps its machine code in its own cache between runs."""
    module = cp.RawModule(code=typed_source(file, dtype), options=("-std=c++17",))
    try:
        module.compile()
    except cp.cuda.compiler.CompileException as error:
        raise RuntimeError(
            f"the CUDA compiler (NVRTC {'.'.join(map(str, cp.cuda.nvrtc.getVersion()))}) refused {file} for {dtype}:\n"
            f"{error}\nCheck the installation with: python -m tinygrad_mnist info"
        ) from error
    return module.get_function(name)


@functools.cache
def max_blocks(device: int) -> int:
    """More blocks than can run at once are of no use: kernels go on from there in strides."""
    attributes = cp.cuda.Device(device).attributes
    resident = attributes["MaxThreadsPerMultiProcessor"] // THREADS
    return 4 * resident * attributes["MultiProcessorCount"]


def launch(file: str, name: str, dtype: np.dtype, work: int, *arguments: Any, per_block: int = THREADS) -> None:
    """Run a kernel of kernels/`file`, compiled for T = `dtype`, on `work` pieces of work, `per_block` to a block.

    Arrays must have the dtype of their parameter, lie C-contiguous and belong to the current device. Python numbers
    become what the parameter says. A pointer that may be null takes None. A last parameter `Fault* fault` is filled in
    here. Nothing is launched for no work.
    """
    parameters = signatures(file)[name]
    if parameters[-1].type == "Fault":
        arguments = (*arguments, fault.pointer())
    if len(arguments) != len(parameters):
        raise LaunchError(f"{name} in {file} takes {len(parameters)} arguments, got {len(arguments)}")
    device = cp.cuda.runtime.getDevice()
    checked = [_check(name, p, a, dtype, device) for p, a in zip(parameters, arguments, strict=True)]
    if work == 0:
        return
    blocks = min(-(-work // per_block), max_blocks(device))
    _kernel(file, name, dtype, device)((blocks,), (THREADS,), checked)


def _check(kernel: str, parameter: Parameter, argument: Any, dtype: np.dtype, device: int) -> Any:
    """`argument` as CuPy hands it on unchanged, or an error that says what does not fit."""
    where = f"{kernel}: argument {parameter.name}"
    wanted: Any = dtype if parameter.type == "T" else DTYPES.get(parameter.type)
    if parameter.type == "Fault":
        return argument
    if parameter.pointer:
        if argument is None:
            return None
        if not isinstance(argument, cp.ndarray):
            raise LaunchError(f"{where} must be a CuPy array, got {type(argument).__name__}")
        if argument.dtype != wanted:
            raise LaunchError(f"{where} must be {wanted}, got {argument.dtype}")
        if not argument.flags.c_contiguous:
            raise LaunchError(
                f"{where} must be C-contiguous, got strides {argument.strides} for shape {argument.shape}"
            )
        if argument.device.id != device:
            raise LaunchError(f"{where} is on cuda:{argument.device.id}, the current device is cuda:{device}")
        return argument
    if wanted is None:  # a struct, passed by value
        if not isinstance(argument, np.void):
            raise LaunchError(f"{where} must be a {parameter.type}, got {type(argument).__name__}")
        return argument
    if wanted.kind == "f":
        if not isinstance(argument, (float, int)):
            raise LaunchError(f"{where} must be a number, got {type(argument).__name__}")
        return wanted.type(argument)
    if not isinstance(argument, int):
        raise LaunchError(f"{where} must be an integer, got {type(argument).__name__}")
    limits = np.iinfo(wanted) if wanted.kind != "b" else None
    if limits is not None and not limits.min <= argument <= limits.max:
        raise LaunchError(f"{where} must fit into {wanted}, got {argument}")
    return wanted.type(argument)


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
