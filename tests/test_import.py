"""What `import tinygrad_mnist` does: little, quickly, in silence."""

import os
import subprocess
import sys

import pytest

import tinygrad_mnist as tg

OPTIONAL = ["cupy", "filelock", "matplotlib", "numba", "PIL", "requests", "safetensors", "threadpoolctl", "tqdm"]


def run(code, **env):
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **env})


def test_nothing_optional_is_imported_and_nothing_printed():
    found = run(f"import sys, tinygrad_mnist; print([m for m in {OPTIONAL} if m in sys.modules])")
    assert (found.stdout, found.stderr) == ("[]\n", "")


def test_submodules_are_attributes():
    code = (
        "import tinygrad_mnist as tg; tg.nn.functional; tg.optim.lr_scheduler; tg.utils.data.DataLoader;"
        "tg.datasets.MNIST; tg.transforms.Compose; tg.models; tg.finetune; tg.autograd.Function;"
        "tg.cuda.is_available();"
        "print(tg.tensor([1.0]), tg.float32, tg.get_num_threads() > 0)"
    )
    assert run(code).stdout == "tensor([1.]) float32 True\n"


def test_unknown_names():
    for module in (tg, tg.utils):
        with pytest.raises(AttributeError, match=f"module '{module.__name__}' has no attribute 'nonsense'"):
            module.nonsense  # noqa: B018
