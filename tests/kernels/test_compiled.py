"""Choosing between compiled kernels and NumPy, and what happens at the first use."""

import ast
import importlib
import importlib.util
import io
import os
import pty
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tinygrad_mnist.kernels import compiled

KERNELS = Path(compiled.__file__).parent

CONVOLVE = """
import numpy as np, sys
from tinygrad_mnist import kernels
assert "numba" not in sys.modules
kernels.conv2d(np.ones((2, 3, 8, 8), np.float32), np.ones((5, 3, 3, 3), np.float32), None, (1, 1), (0, 0), (1, 1), 1)
print("numba" in sys.modules)
"""


# Compiles for one second, not for four.
LOAD = """
import sys
from tinygrad_mnist.kernels import compiled
assert "numba" not in sys.modules
compiled.load("team_compiled")
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


@pytest.mark.parametrize(("terminal", "code"), [(False, LOAD), (True, CONVOLVE)])
def test_first_use_compiles_and_says_so_in_a_terminal_only(tmp_path, terminal, code):
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    notices = []
    for _ in range(2):
        reader, writer = pty.openpty() if terminal else os.pipe()
        result = subprocess.run([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, stderr=writer)
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


@pytest.mark.parametrize("terminal", [False, True])
def test_the_notice_comes_once(monkeypatch, terminal):
    from numba.core import event

    class Stderr(io.StringIO):
        def isatty(self):
            return terminal

    def import_and_compile(name, package):
        for _ in range(3):
            with event.trigger_event("numba:compile"):
                pass
        return importlib

    stderr = Stderr()
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setattr(importlib, "import_module", import_and_compile)
    assert compiled._load.__wrapped__("any") is importlib
    assert stderr.getvalue().count("compiling kernels") == int(terminal)


def test_a_numba_that_cannot_be_imported(monkeypatch):
    def import_module(name):
        raise ImportError("Numba needs NumPy 2.3 or less")

    monkeypatch.setattr(importlib, "import_module", import_module)
    with pytest.warns(RuntimeWarning, match="NumPy alone, since Numba fails: Numba needs NumPy 2.3"):
        assert not compiled.numba_works.__wrapped__()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)  # not even installed: nothing to warn of
    assert not compiled.numba_works.__wrapped__()


def test_where_no_folder_can_be_written_compiled_code_is_kept_in_a_temporary_one(monkeypatch, tmp_path):
    from numba.core import caching, config

    monkeypatch.setattr(config, "CACHE_DIR", "")
    monkeypatch.setattr(tempfile, "mkdtemp", lambda: str(tmp_path))
    assert compiled.cache_folder.__wrapped__() == KERNELS / "__pycache__"
    monkeypatch.setattr(caching.CompileResultCacheImpl, "_locator_classes", [])
    assert compiled.cache_folder.__wrapped__() == tmp_path
    assert str(tmp_path) == config.CACHE_DIR


OTHER_CPU = """
import sys
import numpy as np
from llvmlite import binding
features = binding.get_host_cpu_features()
features["avx512f"], features["fma"] = False, {fma}
binding.get_host_cpu_features = lambda: features
from tinygrad_mnist import kernels
from tinygrad_mnist.kernels import compiled
rng = np.random.default_rng(0)
args = (1, 1), (1, 0), (1, 1), 1

def results(x, w, b):
    y = kernels.conv2d(x, w, b, *args)
    return [y, kernels.conv2d_input_grad(y, w, x.shape, *args), kernels.conv2d_weight_grad(y, x, w.shape, *args)]

for shapes in [(3, 5, 9, 8), (40, 5, 3, 2), (40,)], [(3, 20, 9, 8), (40, 20, 3, 3), (40,)]:
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    compiled.use_compiled(True)
    fast = results(*arrays)
    assert compiled.load("tile").LANES == {lanes}
    compiled.use_compiled(False)
    print(max(float(np.abs(a - e).max() / np.abs(e).max()) for a, e in zip(fast, results(*arrays), strict=True)))

x, w, g = (rng.standard_normal(shape).astype(np.float32) for shape in [(70, 144), (50, 144), (70, 50)])
compiled.use_compiled(True)
for a, b in [(x, w.T), (g, w), (g.T, x)]:
    print(float(np.abs(kernels.matmul(a, b) - a @ b).max() / np.abs(a @ b).max()))
"""


@pytest.mark.parametrize(("fma", "lanes"), [(True, 8), (False, 4)])
def test_tiles_of_other_cpus_give_the_same(tmp_path, fma, lanes):
    result = subprocess.run(
        [sys.executable, "-c", OTHER_CPU.format(fma=fma, lanes=lanes)],
        env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}, capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    direct, winograd, *products = map(float, result.stdout.split())
    assert direct <= 1e-5
    assert winograd <= 1e-5
    assert len(products) == 3
    assert max(products) <= 1e-6


def test_cached_code_older_than_a_source_is_forgotten(tmp_path):
    """Of any source: a function may call another file's, which Numba does not look at."""
    cache = tmp_path / "__pycache__"
    (tmp_path / "a.py").touch()
    compiled.forget_outdated(tmp_path, cache)  # no cache yet
    cache.mkdir()
    for name, seconds in [("a.py", 100), ("b.py", 200), ("__pycache__/a.old.nbi", 150), ("__pycache__/a.new.nbi", 250)]:
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (seconds, seconds))
    compiled.forget_outdated.cache_clear()
    compiled.forget_outdated(tmp_path, cache)
    assert [path.name for path in cache.iterdir()] == ["a.new.nbi"]
    (cache / "a.gone.nbi").symlink_to("nowhere")  # as a file that another process deletes meanwhile
    compiled.forget_outdated.cache_clear()
    compiled.forget_outdated(tmp_path, cache)


@pytest.mark.parametrize("source", sorted(KERNELS.glob("*_compiled.py")), ids=lambda path: path.stem)
def test_no_address_outlives_its_array(source):
    """Numba gives an array's memory back after the last line that names it: its address is not enough."""
    for function in [node for node in ast.parse(source.read_text()).body if isinstance(node, ast.FunctionDef)]:
        arguments = {argument.arg for argument in function.args.args}
        for line in function.body:
            if isinstance(line, ast.Assign):
                found = [n for n in ast.walk(line.value) if isinstance(n, ast.Attribute) and n.attr == "ctypes"]
                arrays = {name.id for n in found for name in ast.walk(n.value) if isinstance(name, ast.Name)}
                assert arrays <= arguments, f"{source.name}:{line.lineno}"
