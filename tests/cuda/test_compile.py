"""Every kernel through the real CUDA compiler, for every GPU generation; needs no GPU."""

import pytest
from cuda import resources
from cupy_backends.cuda.libs import nvrtc

LIMIT = 48 * 1024  # shared memory of a block that every GPU has
HERE = nvrtc.getVersion()


@pytest.mark.parametrize("file", resources.FILES)
@pytest.mark.parametrize("architecture", resources.ARCHITECTURES)
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


def test_every_kernel_is_in_the_table() -> None:
    named = {(file, name) for file in resources.FILES for name in resources.launch.signatures(file)}
    assert {(k.file, k.kernel) for k in resources.committed()} == named


def test_what_the_compiler_refuses_is_shown() -> None:
    with pytest.raises(RuntimeError, match='identifier "nonsense" is undefined'):
        resources.compile_log("__global__ void k() { nonsense(); }", 90)
