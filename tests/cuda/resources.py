"""What NVRTC makes of every kernel, for every GPU generation: registers, shared memory, spills. Needs no GPU.

`python tests/cuda/resources.py` writes resources.csv anew (`... loss.cu`: its rows only); test_compile.py compares.
Each row names the source that it is of, so that a change shows without compiling for all generations.
"""

import csv
import hashlib
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from cuda_on_cpu.compiler import cuda_headers
from cupy_backends.cuda.libs import nvrtc
from tinygrad_mnist.kernels.cuda import launch, product

TABLE = Path(__file__).parent / "resources.csv"
ARCHITECTURES = (70, 75, 80, 86, 89, 90, 100, 120)
COMPILER = (12, 9)  # the NVRTC that resources.csv was written with: registers differ from one to the next
OPTIONS = ("-std=c++17", "-ftz=true", "--device-as-default-execution-space")  # what CuPy passes too
FILES = sorted(p.name for p in launch.SOURCES.glob("*.cu"))
FLOATS = (np.float32, np.float64)
BY_FLOAT32 = ("erf.cu", "im2col.cu", "index.cu", "matmul.cu", "warp.cu")  # float16 goes through it there
INTEGERS = (np.int32, np.int64, np.uint8)
ALSO = {"index.cu": INTEGERS, "relu.cu": (np.int32, np.int64), "rows.cu": (np.int64, np.uint8), "warp.cu": (np.uint8,)}


class Kernel(NamedTuple):
    """A row of the table."""

    file: str
    kernel: str
    dtype: str
    constants: str
    architecture: int
    registers: int
    shared_bytes: int
    spilled_bytes: int
    source: str  # the start of the SHA-256 of what was compiled


def dtypes(file: str) -> tuple[type, ...]:
    """The types of T that a file is compiled for."""
    return FLOATS + (np.float16,) * (file not in BY_FLOAT32) + ALSO.get(file, ())


def variants(file: str) -> Iterator[tuple[np.dtype, launch.Constants]]:
    """The types and constants that a file is compiled for."""
    tiled = '#include "tile.cuh"' in (launch.SOURCES / file).read_text()
    for dtype in map(np.dtype, dtypes(file)):
        for tile in product.tiles_for(dtype) if tiled else ():
            yield dtype, product.constants(*tile)
        if not tiled:
            yield dtype, ()


def digest(source: str) -> str:
    """A name for a source, wherever it lies and whatever its comments say."""
    told = re.sub(r"//[^\n]*", "", source.replace(str(launch.SOURCES), ""))
    return hashlib.sha256(" ".join(told.split()).encode()).hexdigest()[:12]


def compile_log(source: str, architecture: int) -> str:
    """What the compiler says about a source, with the resources of each kernel; raises NVRTCError if it refuses."""
    program = nvrtc.createProgram(source, "kernel.cu", [], [])
    try:
        target = f"--gpu-architecture=sm_{architecture}"
        nvrtc.compileProgram(program, (*OPTIONS, cuda_headers(), target, "--ptxas-options=-v"))
        return nvrtc.getProgramLog(program)
    except nvrtc.NVRTCError as error:
        raise RuntimeError(nvrtc.getProgramLog(program)) from error
    finally:
        nvrtc.destroyProgram(program)


def kernels(file: str, architecture: int) -> Iterator[Kernel]:
    """The rows of a file; RuntimeError for a warning."""
    for dtype, constants in variants(file):
        source = launch.typed_source(file, dtype, constants)
        log = compile_log(source, architecture)
        warnings = [line for line in log.splitlines() if "warning" in line and "deprecated" not in line]
        if warnings:
            raise RuntimeError(f"{file} for {dtype} on sm_{architecture}:\n" + "\n".join(warnings))
        for entry in log.split("Compiling entry function '")[1:]:
            spilled = sum(int(n) for n in re.findall(r"(\d+) bytes spill", entry))
            registers = re.search(r"Used (\d+) registers", entry)
            shared = re.search(r"(\d+) bytes smem", entry)
            assert registers, entry
            yield Kernel(
                file,
                entry.partition("'")[0],
                str(dtype),
                " ".join(f"{name}={value}" for name, value in constants),
                architecture,
                int(registers[1]),
                int(shared[1]) if shared else 0,
                spilled,
                digest(source),
            )


def committed() -> list[Kernel]:
    """The rows of resources.csv."""
    with TABLE.open() as f:
        rows = list(csv.reader(f))[1:]
    return [
        Kernel(file, kernel, dtype, constants, int(architecture), int(registers), int(shared), int(spilled), source)
        for file, kernel, dtype, constants, architecture, registers, shared, spilled, source in rows
    ]


def table(anew: Iterable[str]) -> list[Kernel]:
    """The rows of resources.csv, made anew for some files."""
    kept = [k for k in committed() if k.file in FILES and k.file not in anew]
    made = [k for file in anew for architecture in ARCHITECTURES for k in kernels(file, architecture)]
    return sorted(kept + made, key=lambda k: (k.file, k.architecture))


if __name__ == "__main__":
    rows = table(sys.argv[1:] or FILES)
    with TABLE.open("w") as f:
        writer = csv.writer(f, lineterminator="\n")
        writer.writerow(Kernel._fields)
        writer.writerows(rows)
