"""Every kernel through the real CUDA compiler; needs no GPU.

For the oldest, the newest and the most common GPU generation. What it made of the same sources for the others is in
resources.csv, which `resources.py` writes.
"""

import pytest
from cuda import resources
from cupy_backends.cuda.libs import nvrtc

COMPILED = (70, 90, 120)
LIMIT = 48 * 1024  # shared memory of a block that every GPU has
HERE = nvrtc.getVersion()


@pytest.mark.parametrize("file", resources.FILES)
@pytest.mark.parametrize("architecture", COMPILED)
def test_resources_are_those_of_the_table(file: str, architecture: int) -> None:
    """No warning, no spilled register; registers and shared memory as committed in resources.csv."""
    if architecture not in nvrtc.getSupportedArchs():
        pytest.skip(f"NVRTC {HERE[0]}.{HERE[1]} does not compile for sm_{architecture}")
    found = set(resources.kernels(file, architecture))
    for kernel in found:
        assert kernel.spilled_bytes == 0, kernel
        assert kernel.shared_bytes <= LIMIT, kernel
    if resources.COMPILER != HERE:
        pytest.skip(f"compiled well; resources.csv has the registers of NVRTC {resources.COMPILER}, this is {HERE}")
    expected = {k for k in resources.committed() if (k.file, k.architecture) == (file, architecture)}
    assert found == expected, f"if the change is wanted: PYTHONPATH=tests python tests/cuda/resources.py {file}"


@pytest.mark.parametrize("file", resources.FILES)
def test_the_table_is_of_these_sources(file: str) -> None:
    """Every kernel for every type and generation, compiled from the source as it is now, and none of it bad."""
    rows = [k for k in resources.committed() if k.file == file]
    assert max(k.spilled_bytes for k in rows) == 0
    assert max(k.shared_bytes for k in rows) <= LIMIT
    wanted = {
        (kernel, str(dtype), architecture, resources.digest(resources.launch.typed_source(file, dtype, constants)))
        for dtype, constants in resources.variants(file)
        for kernel in resources.launch.signatures(file)
        for architecture in resources.ARCHITECTURES
    }
    found = {(k.kernel, k.dtype, k.architecture, k.source) for k in rows}
    assert found == wanted, f"write it anew: PYTHONPATH=tests python tests/cuda/resources.py {file}"


def test_what_the_compiler_refuses_is_shown() -> None:
    with pytest.raises(RuntimeError, match='identifier "nonsense" is undefined'):
        resources.compile_log("__global__ void k() { nonsense(); }", 90)
