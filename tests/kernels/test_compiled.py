"""Choosing between compiled kernels and NumPy, and what happens at the first use."""

import os
import pty
import subprocess
import sys

import pytest

from tinygrad_mnist.kernels import compiled

CONVOLVE = """
import numpy as np, sys
from tinygrad_mnist import kernels
assert "numba" not in sys.modules
kernels.conv2d(np.ones((2, 3, 8, 8), np.float32), np.ones((5, 3, 3, 3), np.float32), None, (1, 1), (0, 0), (1, 1), 1)
print("numba" in sys.modules)
"""


def test_use_compiled_tells_what_held_before():
    before = compiled.use_compiled(False)
    assert compiled.load("conv_compiled") is None
    assert compiled.use_compiled(True) is False
    assert compiled.load("conv_compiled").__name__ == "tinygrad_mnist.kernels.conv_compiled"
    compiled.use_compiled(before)


def test_without_numba_numpy_is_used():
    hide = "import sys; sys.modules['numba'] = None\n"
    code = hide + CONVOLVE.replace('assert "numba" not in sys.modules', "").replace('"numba" in sys.modules', '"fine"')
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, "fine\n", "")


@pytest.mark.parametrize("terminal", [False, True])
def test_first_use_compiles_and_says_so_in_a_terminal_only(tmp_path, terminal):
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    notices = []
    for _ in range(2):
        reader, writer = pty.openpty() if terminal else os.pipe()
        result = subprocess.run([sys.executable, "-c", CONVOLVE], env=env, stdout=subprocess.PIPE, stderr=writer)
        os.close(writer)
        said = b""
        try:
            while part := os.read(reader, 1000):
                said += part
        except OSError:  # how a terminal ends
            pass
        os.close(reader)
        assert (result.returncode, result.stdout) == (0, b"True\n"), said
        notices.append(said.count(b"compiling kernels"))
    assert notices == [int(terminal), 0]  # the second run finds the compiled code on disk
