"""How large the parameters of a kernel are, which a captured launch must know to keep them: g++ says it.

Only for kernels that a test captures, so that the others are not built for longer.
"""

import ctypes
import functools
import re
from pathlib import Path
from typing import Any

from . import compiler

SIZES = """
template <class... A> const size_t* parameter_sizes(void (*)(A...)) {
  static const size_t sizes[] = {sizeof(A)..., 0};
  return sizes;
}
"""
Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.POINTER(ctypes.c_size_t))


@functools.cache
def _library(path: Path) -> Any:
    """A second build of a kernel's shared object, with a function that returns the sizes for each kernel."""
    source = path.with_suffix(".cpp").read_text()
    kernels = re.findall(r"int launch_(\w+)\(const Launch\* launch\) .*cpu::call\((.+), arguments\);", source)
    functions = (f"EXPORTED const size_t* sizes_{n}() {{ return parameter_sizes({kernel}); }}" for n, kernel in kernels)
    wanted = path.with_suffix(".sizes.cpp")
    compiler.write(wanted, source + SIZES + "\n".join(functions))
    flags, first = ["-O0"], compiler.HERE / "device_library.hpp"
    if compiler.CUPY_HEADERS in source:
        flags, first = compiler.CUPYS, compiler.precompiled("precompiled.hpp", *compiler.CUPYS)
    command = ["g++", *compiler.FLAGS, *flags, *compiler.include_flags(), *compiler.LINKER, "-include", str(first)]
    return ctypes.CDLL(str(compiler.make(path.with_suffix(".sizes.so"), [*command, str(wanted)])))


@Callback
def parameter_sizes(library: bytes, kernel: bytes, sizes: Any) -> int:
    """Write the sizes of a kernel's parameters; how many there are."""
    function = getattr(_library(Path(library.decode())), f"sizes_{kernel.decode()}")
    function.restype = ctypes.POINTER(ctypes.c_size_t)
    found, count = function(), 0
    while found[count]:
        sizes[count] = found[count]
        count += 1
    return count
