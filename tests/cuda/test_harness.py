"""The CPU device finds planted faults, so that its silence about our kernels says something."""

import os
import subprocess
import sys
from pathlib import Path

import cuda_on_cpu
import cupy as cp
import numpy as np
import pytest
from cupy_backends.cuda.api.driver import CUDADriverError

ROOT = Path(__file__).parents[2]

# Each reads x (n) and leaves a result in out; the first is right.
SUM = r"""
extern "C" __global__ void sum(const float* x, float* out, int n) {
  __shared__ float part[64];
  float s = 0;
  for (int i = threadIdx.x; i < n; i += 64) s += x[i];
  part[threadIdx.x] = s;
  __syncthreads();
  for (int half = 32; half; half /= 2) {
    if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
    __syncthreads();
  }
  if (threadIdx.x == 0) out[0] = part[0];
}
"""
FAULTS = {
    "out of bounds": (SUM.replace("i < n", "i <= n"), "address"),
    "shared memory too small": (SUM.replace("part[64]", "part[63]"), "address"),
    "missing barrier": (SUM.replace("    __syncthreads();\n  }", "  }"), "thread"),
    "all blocks write": (SUM.replace("if (threadIdx.x == 0) out[0] = part[0]", "out[0] = part[0]"), "thread"),
    "signed overflow": (SUM.replace("float s = 0;", "volatile int large = n + 2147483600; float s = 0;"), "undefined"),
}


@pytest.fixture(autouse=True)
def _on_the_cpu_device(counters: cuda_on_cpu.Counters) -> None:
    """These tests are of the CPU device itself."""


def run(source: str, n: int = 200) -> float:
    """What the kernel `sum` of a source leaves in out[0], for x = 1."""
    out = cp.empty(1, np.float32)
    cp.RawModule(code=source).get_function("sum")((1,), (64,), (cp.ones(n, np.float32), out, np.int32(n)))
    return out.item()


def test_the_right_kernel() -> None:
    assert run(SUM) == 200


def test_uninitialised_shared_memory_is_nan() -> None:
    assert np.isnan(run(SUM.replace("part[threadIdx.x] = s;", "if (threadIdx.x < 32) part[threadIdx.x] = s;")))


def test_a_barrier_that_some_threads_never_reach() -> None:
    source = SUM.replace("float s = 0;", "float s = 0; if (threadIdx.x >= 40) return;")
    with pytest.raises(CUDADriverError, match=r"40 threads wait at __syncthreads, which 24 others never reach"):
        run(source)
    assert run(SUM) == 200  # the next launch is fine again


def test_threads_at_different_barriers() -> None:
    source = SUM.replace(
        "float s = 0;", "float s = 0;\nif (threadIdx.x < 32)\n__syncthreads();\nelse\n__syncthreads();"
    )
    with pytest.raises(CUDADriverError, match="threads of one block wait at different __syncthreads"):
        run(source)


def test_a_shuffle_that_some_lanes_never_reach() -> None:
    source = SUM.replace("  part[", "  if (threadIdx.x % 32 < 8) s += __shfl_down_sync(0xffffffffu, s, 1);\n  part[")
    with pytest.raises(CUDADriverError, match=r"wait for lanes that never reach|which \d+ others never reach"):
        run(source)


def test_shuffles() -> None:
    source = SUM.replace(
        "  part[threadIdx.x] = s;", "  s = __shfl_xor_sync(~0u, float(threadIdx.x), 3);\n  part[threadIdx.x] = s;"
    )
    assert run(source) == sum(range(64))


def test_a_result_that_depends_on_the_order_of_blocks(counters: cuda_on_cpu.Counters) -> None:
    last = cp.RawModule(code='extern "C" __global__ void last(int* out) { out[0] = blockIdx.x; }').get_function("last")
    found = set()
    for order in (0, 1, 12345):
        counters.order = order
        out = cp.zeros(1, np.int32)
        last((10,), (1,), (out,))
        found.add(out.item())
    assert len(found) > 1


def test_every_order_runs_every_block_once(counters: cuda_on_cpu.Counters) -> None:
    count = cp.RawModule(
        code='extern "C" __global__ void count(int* out) { out[blockIdx.x + gridDim.x * blockIdx.y]++; }'
    ).get_function("count")
    for order in (0, 1, 2, 12345):
        counters.order = order
        out = cp.zeros(84, np.int32)
        count((12, 7), (1,), (out,))
        assert out.tolist() == [1] * 84


@pytest.mark.parametrize("grid", [((1, 65536), (1,)), ((1,), (2048,)), ((1,), (1, 1, 128))])
def test_grids_that_no_device_takes(grid: tuple[tuple[int, ...], ...]) -> None:
    kernel = cp.RawModule(code='extern "C" __global__ void nothing() {}').get_function("nothing")
    with pytest.raises(CUDADriverError, match="no device takes a grid"):
        kernel(*grid, ())


def sanitized(sanitizer: str, code: str) -> subprocess.CompletedProcess[str]:
    """Run Python with a sanitizer of g++ loaded and kernels built with it."""
    import nvidia.cuda_nvrtc  # not on every machine with a GPU, where these tests do not run

    library = {"address": "libasan.so", "undefined": "libubsan.so", "thread": "libtsan.so"}[sanitizer.split(",")[0]]
    path = subprocess.run(
        ["g++", f"-print-file-name={library}"], capture_output=True, text=True, check=True
    ).stdout.strip()
    environment = {
        **os.environ,
        "CUDA_ON_CPU_SANITIZE": sanitizer,
        "LD_PRELOAD": path,
        "ASAN_OPTIONS": "detect_leaks=0",  # Python keeps memory until it ends
        # The sanitizers' dlopen does not look beside the library that calls it, where NVRTC has a second one.
        "LD_LIBRARY_PATH": str(Path(next(iter(nvidia.cuda_nvrtc.__path__))) / "lib"),
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT / "tests"),
    }
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


REPORTS = {
    "address": "ERROR: AddressSanitizer",
    "thread": "data race",
    "undefined": "signed integer overflow",
}
RUN = """
import cuda_on_cpu, cupy as cp, numpy as np
x, out = cp.ones(200, np.float32), cp.empty(1, np.float32)
kernel = cp.RawModule(code={source!r}).get_function("sum")
kernel((2,), (64,), (x, out, np.int32(200)))
print("result", out.item())
"""


@pytest.mark.parametrize("fault", FAULTS)
def test_sanitizers_find(fault: str) -> None:
    source, sanitizer = FAULTS[fault]
    result = sanitized(sanitizer, RUN.format(source=source))
    assert REPORTS[sanitizer] in result.stderr, result.stderr[-3000:] + result.stdout


@pytest.mark.parametrize("sanitizer", REPORTS)
def test_sanitizers_are_silent_about_the_right_kernel(sanitizer: str) -> None:
    source = SUM.replace("if (threadIdx.x == 0) out[0]", "if (threadIdx.x == 0 && blockIdx.x == 0) out[0]")
    result = sanitized(sanitizer, RUN.format(source=source))
    assert result.stdout == "result 200.0\n", result.stderr[-3000:]
    assert REPORTS[sanitizer] not in result.stderr


RACES = """
import cuda_on_cpu, cupy as cp
from tinygrad_mnist.kernels import cuda
x, w, dy = (cp.asarray(cp.arange(n) % 7 - 3.0).astype("f4").reshape(s) for n, s in (
    (160, (2, 2, 8, 5)), (36, (2, 2, 3, 3)), (160, (2, 2, 8, 5))))
geometry = (1, 1), (1, 1), (1, 1), 1
cuda.conv2d(x, w, None, *geometry)
cuda.conv2d_input_grad(dy, w, x.shape, *geometry)
cuda.conv2d_weight_grad(dy, x, w.shape, *geometry)
y, mean, var = cuda.batch_norm(x, None, None, 1e-5)
cuda.batch_norm_grad(dy, x, None, mean, var, 1e-5)
rows = x.reshape(8, 20)
y, mean, r = cuda.layer_norm(rows, None, None, 1e-5)
cuda.layer_norm_grad(rows, rows, None, mean, r)
cuda.softmax_cross_entropy(rows, cp.zeros(8, int))
print("ran", cuda_on_cpu.COUNTERS.launches > 10)
"""


def test_kernels_with_shared_memory_have_no_races() -> None:
    result = sanitized("thread", RACES)
    assert result.stdout == "ran True\n", result.stderr[-3000:]
    assert "WARNING: ThreadSanitizer" not in result.stderr, result.stderr[:3000]


def test_all_kernels_under_address_and_undefined_behaviour_sanitizers() -> None:
    """The tests of test_kernels.py once more, with fewer examples."""
    code = "import sys, pytest; sys.exit(pytest.main(['-q', '-p', 'no:xdist', '-p', 'no:cacheprovider', {!r}]))"
    result = sanitized("address,undefined", code.format(str(Path(__file__).with_name("test_kernels.py"))))
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    assert " passed" in result.stdout
