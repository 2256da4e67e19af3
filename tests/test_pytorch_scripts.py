"""Scripts written for PyTorch run after their imports are changed, and nothing else.

The deterministic ones also run under PyTorch itself and must print the same.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent / "scripts"
DETERMINISTIC = ["autograd_by_example", "residual_net", "tensors"]
NUMBER = re.compile(r"-?\d+\.\d*(?:e[+-]?\d+)?")


def change_imports(source: str) -> str:
    """The same script for this framework: only lines that import torch or torchvision differ."""
    lines = []
    for line in source.splitlines():
        line = re.sub(r"^import torch$", "import tinygrad_mnist as torch", line)
        line = re.sub(r"^(import|from) torch(vision)?(?=[. ])", r"\1 tinygrad_mnist", line)
        lines.append(line)
    return "\n".join(lines)


def run(source: str, folder: Path) -> str:
    """What a script prints, run in a folder of its own."""
    (folder / "script.py").write_text(source)
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"}
    command = [sys.executable, "script.py"]
    result = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout


@pytest.mark.parametrize("path", sorted(SCRIPTS.glob("*.py")), ids=lambda p: p.stem)
def test_runs_with_imports_changed(path: Path, tmp_path: Path) -> None:
    ours = run(change_imports(path.read_text()), tmp_path)
    if path.stem in DETERMINISTIC:
        (tmp_path / "torch").mkdir()
        theirs = run(path.read_text(), tmp_path / "torch").replace("torch.", "")
        assert NUMBER.sub("#", ours) == NUMBER.sub("#", theirs)
        numbers = [[float(n) for n in NUMBER.findall(text)] for text in (ours, theirs)]
        assert numbers[0] == pytest.approx(numbers[1], rel=2e-4, abs=2e-6)
