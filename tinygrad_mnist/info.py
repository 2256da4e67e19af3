"""What this machine offers, and what to do about what it lacks: `python -m tinygrad_mnist info`."""

from __future__ import annotations

import ctypes
import os
import platform
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from .kernels.compiled import numba_works
from .kernels.parallel import get_num_threads

MIB = 2**20


def report() -> str:
    """Versions, CPU, GPU, caches; then each problem and its remedy."""
    lines, problems = [], []
    for section in (_versions, _cpu, _gpu):
        found, wrong = section()
        lines += found
        problems += wrong
    if not problems:
        return "\n".join([*lines, "", "no problems found"])
    return "\n".join([*lines, "", *(f"problem: {problem}" for problem in problems)])


Section = tuple[list[str], list[str]]  # lines, problems


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _versions() -> Section:
    ours = _version("tinygrad_mnist") or "not installed"
    system = f"{platform.system()} {platform.machine()}"
    return [f"tinygrad_mnist {ours}, Python {platform.python_version()}, NumPy {np.__version__}, {system}"], []


def _cpu() -> Section:
    from threadpoolctl import threadpool_info

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    lines = [f"CPU: {cores} cores, {get_num_threads()} worker threads"]
    problems = []
    pools: list[dict[str, Any]] = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    for pool in pools:
        lines.append(f"BLAS: {pool['internal_api']} {pool['version']}, {pool['num_threads']} threads")
    if not pools:
        problems.append("NumPy's BLAS is unknown to threadpoolctl, matrix products may be slow: use NumPy's own wheel")
    numba = _version("numba")
    lines.append(f"Numba: {numba or 'not installed'}")
    if numba is None or not numba_works():
        problems.append(
            "convolutions on the CPU run in plain NumPy; compiled ones need: pip install 'tinygrad_mnist[fast]'"
        )
    return lines, problems


def cupy_packages() -> list[str]:
    """The installed packages that bring CuPy, with their versions."""
    names = {(d.metadata["Name"] or "", d.version) for d in metadata.distributions()}
    return sorted(f"{name} {version}" for name, version in names if name == "cupy" or name.startswith("cupy-cuda"))


def driver_version() -> int | None:
    """The CUDA version that the NVIDIA driver is for, such as 12090; None without a driver. Needs no CuPy."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
        version = ctypes.c_int(0)
        return version.value if driver.cuDriverGetVersion(ctypes.byref(version)) == 0 else None
    except (OSError, AttributeError):
        return None


def _without_cupy(driver: int | None) -> Section:
    if driver is None:
        return ["CuPy: not installed, and no NVIDIA driver found (only needed for GPUs)"], []
    version, newest = _cuda_version(driver), min(driver // 1000, 13)
    lines = [f"driver: CUDA {version}", "CuPy: not installed"]
    if newest < 12:
        return lines, [
            f"the NVIDIA driver is for CUDA {version}: update it to one for CUDA 12 (525) or 13 (580), then "
            "pip install 'tinygrad_mnist[cuda12]' (or [cuda13])"
        ]
    return lines, [
        f"there is an NVIDIA driver for CUDA {version}, but no CuPy to use it: "
        f"pip install 'tinygrad_mnist[cuda{newest}]'"
    ]


def _gpu() -> Section:
    packages = cupy_packages()
    if not packages:
        return _without_cupy(driver_version())
    lines = [f"CuPy: {', '.join(packages)}"]
    if len(packages) > 1:
        names = " ".join(package.split()[0] for package in packages)
        return lines, [
            f"{len(packages)} CuPy packages are installed, and each overwrites files of the other. Remove all with "
            f"pip uninstall -y {names}, then install one: pip install 'tinygrad_mnist[cuda12]' (or [cuda13])"
        ]
    try:
        import cupy
    except ImportError as error:
        name = packages[0].split()[0]
        return lines, [f"CuPy cannot be imported ({error}). Reinstall it: pip install --force-reinstall '{name}'"]
    more, problems = _devices(cupy)
    return lines + more + [_kernel_cache()], problems


def _devices(cupy: ModuleType) -> Section:
    runtime = cupy.cuda.runtime
    try:
        driver, built_for = runtime.driverGetVersion(), runtime.runtimeGetVersion()
        count = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        hint = f" (CUDA_VISIBLE_DEVICES is {visible!r})" if visible is not None else ""
        return [], [
            f"CuPy finds no usable GPU{hint}: {error}. Check with nvidia-smi that the driver runs, and that it is new "
            "enough: CUDA 12 needs driver 525 or later, CUDA 13 driver 580"
        ]
    lines = [f"driver: CUDA {_cuda_version(driver)}; CuPy uses CUDA {_cuda_version(built_for)}"]
    problems = []
    if driver // 1000 < built_for // 1000:
        problems.append(
            f"the driver is for CUDA {_cuda_version(driver)}, older than CuPy's CUDA {_cuda_version(built_for)}: "
            f"update the driver, or install the CuPy package for CUDA {driver // 1000}"
        )
    if not _compiles(cupy):
        problems.append(
            "CuPy cannot compile kernels: install CUDA's compiler with pip install 'cupy-cuda12x[ctk]' (or 13x)"
        )
    for i in range(count):
        properties = runtime.getDeviceProperties(i)
        with cupy.cuda.Device(i):
            free, total = runtime.memGetInfo()
        capability = f"compute capability {properties['major']}.{properties['minor']}"
        memory = f"{free / MIB:,.0f} of {total / MIB:,.0f} MiB free"
        lines.append(f"GPU {i}: {properties['name'].decode()}, {capability}, {memory}")
        if properties["major"] < 7:
            problems.append(f"GPU {i} has {capability}; the kernels are compiled for 7.0 and later")
    return lines, problems


def _cuda_version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


def _compiles(cupy: ModuleType) -> bool:
    """Whether CuPy's compiler runs."""
    try:
        cupy.RawModule(code='extern "C" __global__ void nothing() {}').compile()
    except (RuntimeError, ImportError, OSError, cupy.cuda.compiler.CompileException):
        return False
    return True


def _kernel_cache() -> str:
    folder = Path(os.environ.get("CUPY_CACHE_DIR") or Path.home() / ".cupy" / "kernel_cache")
    files = [p for p in folder.glob("*") if p.is_file()] if folder.is_dir() else []
    size = sum(p.stat().st_size for p in files)
    return f"kernel cache: {folder}, {len(files)} files, {size / MIB:.1f} MiB"
