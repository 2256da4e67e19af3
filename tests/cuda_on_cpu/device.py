"""A CUDA device made of the CPU, below the real, unmodified CuPy.

`install()` before anything imports cupy. From then on CuPy finds one sm_80 device. Its memory is the CPU's
(driver.c), its kernels, our own (once the real NVRTC accepted them) and those that CuPy writes, are compiled by g++ and
run by threads.cpp, and cuBLAS and cuRAND are NumPy (libraries.py). docs/cuda.md says what this cannot show.
"""

import ctypes
import functools
import importlib.util
import os
import platform
import re
import shutil
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import compiler, libraries, parameters

# The functions of cupy_backends.cuda.api.runtime that are replaced, and by which function of driver.c if not by
# runtime_<the same name>.
REPLACED = {
    "malloc": "", "free": "", "mallocAsync": "", "freeAsync": "", "hostAlloc": "", "freeHost": "", "memcpy": "",
    "memcpyAsync": "", "memset": "", "memsetAsync": "", "memGetInfo": "", "deviceSynchronize": "",
    "eventSynchronize": "", "streamSynchronize": "", "eventQuery": "", "streamQuery": "", "eventRecord": "",
    "streamWaitEvent": "", "streamBeginCapture": "", "streamEndCapture": "", "streamIsCapturing": "",
    "graphInstantiate": "", "graphLaunch": "", "graphUpload": "", "graphDestroy": "", "graphExecDestroy": "",
    "profilerStart": "nothing", "profilerStop": "nothing",
    "eventDestroy": "nothing_handle", "streamDestroy": "nothing_handle", "setDevice": "nothing_int",
    "_deviceEnsurePeerAccess": "nothing_int", "_ensure_context": "ensure_context",
    "eventCreate": "handle", "streamCreate": "handle", "eventCreateWithFlags": "handle_flags",
    "streamCreateWithFlags": "handle_flags", "streamCreateWithPriority": "", "eventElapsedTime": "",
    "getDevice": "zero", "getDeviceCount": "one", "driverGetVersion": "version",
    "runtimeGetVersion": "version", "deviceCanAccessPeer": "", "deviceGetAttribute": "", "pointerGetMemoryType": "",
    "deviceGetPCIBusId": "", "getDeviceProperties": "", "pointerGetAttributes": "",
}  # fmt: skip

C_TYPES: dict[str, Any] = {
    "int": ctypes.c_int, "unsigned int": ctypes.c_uint, "size_t": ctypes.c_size_t, "intptr_t": ctypes.c_ssize_t,
    "float": ctypes.c_float, "PyObject *": ctypes.py_object,
}  # fmt: skip
COUNTED = (
    "allocations", "launches", "library_calls", "synchronisations", "host_to_device", "device_to_host",
    "graph_launches", "graph_kernels",
)  # fmt: skip
NAMES = 256  # as in driver.c
_keep_alive: list[Any] = []


class Counters(ctypes.Structure):
    """The state of the device, shared with driver.c."""

    memory_limit: int
    memory_used: int
    memory_peak: int
    allocations: int
    launches: int
    library_calls: int  # of cuBLAS
    synchronisations: int
    host_to_device: int
    device_to_host: int
    graph_launches: int
    graph_kernels: int  # launched by graphs
    order: int
    capturing: int
    names: ctypes.Array[ctypes.Array[ctypes.c_char]]

    _fields_ = (
        *((name, ctypes.c_size_t) for name in ("memory_limit", "memory_used", "memory_peak")),
        *((name, ctypes.c_long) for name in COUNTED),
        ("order", ctypes.c_uint),
        ("capturing", ctypes.c_int),
    )

    def launched(self, n: int) -> list[str]:
        """The names of the last n kernels, at most NAMES."""
        return [self.names[i % NAMES].value.decode() for i in range(self.launches - n, self.launches)]


def missing() -> str | None:
    """Why this machine cannot have the CPU device; None if it can."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return f"the CUDA-on-CPU device is written for Linux on x86-64, this is {sys.platform} on {platform.machine()}"
    for tool in ("gcc", "g++"):
        if shutil.which(tool) is None:
            return f"the CUDA-on-CPU device needs {tool}, which is not on the PATH"
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        return "the CUDA-on-CPU device needs Python's C headers (python3-dev)"
    try:
        found = importlib.util.find_spec("nvidia.cuda_nvrtc")
    except ModuleNotFoundError:
        found = None
    if found is None:
        return "the CUDA-on-CPU device needs nvidia-cuda-nvrtc-cu12: pip install -e '.[test]'"
    return missing_cupy()


def missing_cupy() -> str | None:
    """Why there is no CuPy; None if there is."""
    if importlib.util.find_spec("cupy") is None:
        return "CuPy is not installed: pip install -e '.[test]', or with a GPU '.[cuda12]' or '.[cuda13]'"
    return None


def _install_driver() -> Counters:
    """Build driver.c and put its functions where CuPy looks for CUDA's."""
    source = compiler.HERE / "driver.c"
    parts = [source.read_bytes(), (compiler.HERE / "capture.c").read_bytes(), sys.version.encode()]
    folder = compiler.CACHE / compiler.digest(*parts)
    include = sysconfig.get_paths()["include"]
    path = compiler.make(
        folder / "libcuda.so.1",
        ["gcc", "-O1", "-g", "-w", "-fPIC", "-shared", f"-I{include}", "-Wl,-soname,libcuda.so.1", str(source), "-ldl"],
    )
    # Loaded before CuPy asks for libcuda.so.1, so that the loader gives it this one.
    library = ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    import cupy_backends.cuda.api.runtime as runtime

    for name, ours in REPLACED.items():
        _replace(runtime, name, getattr(library, f"runtime_{ours or name}"))
    callback = ctypes.cast(parameters.parameter_sizes, ctypes.c_void_p)
    ctypes.c_void_p.in_dll(library, "parameter_sizes").value = callback.value
    counters = Counters.in_dll(library, "device")
    counters.names = (ctypes.c_char * 128 * NAMES).in_dll(library, "names")
    return counters


def _replace(runtime: Any, name: str, function: Any) -> None:
    """Make `function` what Cython code binds to as runtime.`name`, and what Python code calls."""
    api = ctypes.pythonapi
    api.PyCapsule_New.restype = ctypes.py_object
    api.PyCapsule_New.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    api.PyCapsule_GetName.restype = ctypes.c_char_p
    api.PyCapsule_GetName.argtypes = [ctypes.py_object]
    signature = api.PyCapsule_GetName(runtime.__pyx_capi__[name])  # such as b"int (intptr_t, int __pyx_skip_dispatch)"
    address = ctypes.cast(function, ctypes.c_void_p).value
    _keep_alive.append(signature)
    runtime.__pyx_capi__[name] = api.PyCapsule_New(address, signature, None)

    match = re.fullmatch(r"(.*?)\s*\((.*)\)", signature.decode())
    assert match, signature
    arguments = [a.strip() for a in match[2].split(",") if a.strip() != "void"]
    visible = [a for a in arguments if "__pyx" not in a]
    hidden = len(arguments) - len(visible)
    types = [C_TYPES.get(a, ctypes.c_void_p) for a in visible] + [ctypes.c_void_p] * hidden
    result = C_TYPES.get(match[1], ctypes.py_object)  # else a class of Cython's
    call = ctypes.PYFUNCTYPE(result, *types)(address)

    @functools.wraps(getattr(runtime, name, call), assigned=("__name__", "__doc__"), updated=())
    def python_call(*given: Any) -> Any:
        return call(*given[: len(visible)], *[0] * hidden)

    setattr(runtime, name, python_call)


@functools.cache
def install() -> Counters:
    """Set the device up; its counters. Call before cupy is imported; needs what `missing()` looks for."""
    assert "cupy" not in sys.modules, "cupy was imported before the CPU device was installed"
    os.environ["CUPY_ACCELERATORS"] = ""  # CUB's reductions come as machine code, CuPy's own as source
    os.environ["CUPY_CACHE_IN_MEMORY"] = "1"  # never write our "machine code" into the user's real kernel cache
    counters = _install_driver()
    libraries.install(counters)
    import cupy
    import cupy.cuda.compiler

    ctypes.CDLL(str(compiler.threads_library()), mode=ctypes.RTLD_GLOBAL)  # kernels find its functions there
    libraries.install_sort(counters)
    compiler.replace_compile(cupy.cuda.compiler._NVRTCProgram)
    cupy.cuda.set_allocator(_allocate)
    cupy.cuda.set_pinned_memory_allocator(None)
    return counters


def _allocate(size: int) -> Any:
    """A block of its own for every array, which CuPy's pool would not give: all filled with NaN, none reused."""
    from cupy.cuda import memory, runtime

    try:
        return memory.MemoryPointer(memory.Memory(size), 0)
    except runtime.CUDARuntimeError:
        free, total = runtime.memGetInfo()
        raise memory.OutOfMemoryError(size, total - free, total) from None


def count(counters: Counters, run: Callable[[], Any]) -> dict[str, int]:
    """How often `run()` did what `counters` count."""
    before = {name: getattr(counters, name) for name in COUNTED}
    run()
    return {name: getattr(counters, name) - before[name] for name in COUNTED}
