"""CUDA source to a shared object that the CPU runs: the real NVRTC says whether ours is valid, g++ builds it.

Builds are kept in the user's cache folder, named by a hash of all that goes into them.
"""

import functools
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tinygrad_mnist" / "cuda_on_cpu"
SANITIZERS = os.environ.get("CUDA_ON_CPU_SANITIZE", "")  # of g++: "address,undefined", "thread" or ""
FLAGS = ["-std=c++17", "-fPIC", "-w", "-fpermissive", "-ffp-contract=off", "-pipe"]
CUPY_HEADERS = "#include <cupy/"
LINKER = ["-shared", *(["-fuse-ld=gold"] if shutil.which("ld.gold") else [])]  # the faster one, where there is a choice
# What kernels need of the C++ library is there already, with threads.so.
# CuPy's are thousands, each small: build them fast. A third of a build is C++17's mathematical functions, which nobody
# calls, a sixth the functions of CuPy's header that this kernel does not call.
CUPYS = ["-O1", "-fno-exceptions", "-fno-rtti", "-nostdlib", "-std=c++14", "-fwhole-program"]
OURS = ["-O2", "-g1", "-nostdlib"]  # ours are few, and loop: make them fast
THREADS = ["-O2", "-g1"]
if SANITIZERS:  # in ours alone, so that CuPy's need not be built again; -O1, as most of the time goes into building
    watched = [f"-fsanitize={SANITIZERS}", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"]
    OURS, THREADS = ["-O1", "-g1", *watched], THREADS + watched


@functools.cache
def include_flags() -> list[str]:
    """Our stand-ins for CUDA's and CuPy's headers, then CuPy's own."""
    import cupy

    return [f"-I{HERE / 'include'}", f"-I{Path(cupy.__file__).parent / '_core' / 'include'}"]


@functools.cache
def version() -> str:
    """A hash of what every build depends on: the headers, this file, g++, CuPy."""
    import cupy

    sources = [p.read_bytes() for p in sorted(HERE.rglob("*")) if p.suffix in (".hpp", ".cpp", ".cuh", ".h")]
    sources.append(Path(__file__).read_bytes())
    gxx = subprocess.run(["g++", "--version"], capture_output=True, check=True).stdout
    return digest(*sources, gxx, cupy.__version__.encode())


def digest(*parts: bytes) -> str:
    """A name for content: the start of its SHA-256."""
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:24]


def write(path: Path, content: str) -> None:
    """Make a file with this content, at once for whoever looks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_text(content)
    draft.rename(path)


def make(path: Path, command: Sequence[str]) -> Path:
    """`path`, made by a compiler `command` if it is not there yet. Safe when several processes do it at once."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        result = subprocess.run([*command, "-o", str(draft)], capture_output=True, text=True, check=False)
        if result.returncode:
            raise RuntimeError(f"{' '.join(command)}\nfailed:\n{result.stderr[:5000]}")
        draft.rename(path)
    return path


@functools.cache
def precompiled(name: str, *flags: str) -> Path:
    """A header of ours, parsed once: that takes most of the time of a build."""
    header = CACHE / version() / digest(" ".join(flags).encode()) / name
    source = ["-x", "c++-header", str(HERE / name)]
    make(header.with_suffix(".hpp.gch"), ["g++", *FLAGS, *flags, *include_flags(), *source])
    write(header, '#error "g++ did not take the precompiled header"\n')
    return header


def threads_library() -> Path:
    """What runs the kernels, for all of them."""
    source = HERE / "threads.cpp"
    path = CACHE / version() / f"threads-{digest(' '.join(THREADS).encode())}.so"
    return make(path, ["g++", *FLAGS, *THREADS, *LINKER, str(source)])


def for_cpu(source: str, name_expressions: Sequence[str]) -> str:
    """CUDA source with what g++ cannot know written out: shared memory, and an entry to launch each kernel by.

    `name_expressions` are instances of templates, like `scan<float>`; their entries are called instance_0 and so on.
    """
    # Some of CuPy's kernels let threads return before a barrier. Hardware forgives that; ours do not do it.
    lenient = str(CUPY_HEADERS in source).lower()
    source = re.sub(r"__launch_bounds__\s*\([^)]*\)", "", source)
    source = re.sub(
        r"extern\s+__shared__\s+(?:__align__\([^)]*\)\s+)?([\w ]+?)\s+(\w+)\s*\[\s*\]\s*;",
        r"\1* \2 = (\1*)cpu::dynamic_shared;",
        source,
    )
    count = 0

    def shared_array(declaration: re.Match[str]) -> str:
        nonlocal count
        type_, name, sizes = declaration.groups()
        count += 1
        return f"auto& {name} = cpu::shared_array<{type_}{sizes}>({count - 1});"

    source = re.sub(
        r"__shared__\s+(?:__align__\([^)]*\)\s+)?([\w ]+?)\s+(\w+)((?:\s*\[[^\]]+\])*)\s*;", shared_array, source
    )
    assert count <= 32, "threads.cpp has room for 32 shared arrays"
    entries = {name: name for name in re.findall(r'extern\s+"C"\s+__global__\s+void\s+(\w+)\s*\(', source)}
    entries |= {f"instance_{i}": expression for i, expression in enumerate(name_expressions)}
    for entry, kernel in entries.items():
        source += (
            f"\nEXPORTED int launch_{entry}(const Launch* launch)"
            f" {{ return cpu::run(launch, [](void** arguments) {{ cpu::call({kernel}, arguments); }}, {lenient}); }}\n"
        )
    return source


def build(source: str, defines: Sequence[str], name_expressions: Sequence[str] = ()) -> Path:
    """The shared object of a CUDA source, built with g++."""
    from_cupy = CUPY_HEADERS in source
    name = digest(source.encode(), " ".join([*defines, *name_expressions, *(CUPYS if from_cupy else OURS)]).encode())
    folder = CACHE / version()
    path = folder / f"{name}.so"
    if path.exists():
        return path
    translated = folder / f"{name}.cpp"
    write(translated, for_cpu(source, name_expressions))
    flags, header = (CUPYS, "precompiled.hpp") if from_cupy else (OURS, "device_library.hpp")
    start = ["-include", str(precompiled(header, *flags))]
    return make(path, ["g++", *FLAGS, *flags, *include_flags(), *defines, *LINKER, *start, str(translated)])


@functools.cache
def cuda_headers() -> str:
    """The option that lets NVRTC find CUDA's own headers, those of the wheel if it is there: cuda_fp16.h is one."""
    import cupy

    wheel = importlib.util.find_spec("nvidia.cuda_runtime")
    found = wheel.submodule_search_locations if wheel else None
    return f"-I{found[0] if found else cupy.cuda.get_cuda_path()}/include"


def replace_compile(program_type: Any) -> None:
    """Let CuPy's NVRTC program give a path to a shared object where it would give machine code."""
    nvrtc_compile: Callable[..., Any] = program_type.compile

    def compile(self: Any, options: Sequence[str] = (), log_stream: Any = None) -> tuple[bytes, Any]:
        if self.method != "cubin":  # CuPy asks for the compiler's version in this way
            return nvrtc_compile(self, options, log_stream)
        valid = CACHE / version() / (digest(self.src.encode(), " ".join(options).encode()) + ".valid")
        from_cupy = CUPY_HEADERS in self.src  # hundreds, that CuPy's authors have checked: a third of the time to build
        if not (from_cupy or valid.exists()):
            # Raises CompileException, as on a machine with a GPU.
            nvrtc_compile(self, (cuda_headers(), *options), log_stream)
            write(valid, "")
        expressions = list(self.name_expressions or ())
        path = build(self.src, [o for o in options if o.startswith(("-I", "-D"))], expressions)
        return bytes(path) + b"\0", {e: f"instance_{i}" for i, e in enumerate(expressions)} or None

    program_type.compile = compile
