"""What the tests of examples share: a few real digits, and a script run in this process."""

import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tinygrad_mnist import datasets
from tinygrad_mnist.datasets.idx import write_idx

EXAMPLES = Path(__file__).parents[2] / "examples"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the first 120 training and 100 test images of MNIST."""
    folder = tmp_path_factory.mktemp("mnist")
    for train, stem, n in [(True, "train", 120), (False, "t10k", 100)]:
        whole = datasets.MNIST(train=train)
        write_idx(folder / f"{stem}-images-idx3-ubyte", whole.data.numpy()[:n])
        write_idx(folder / f"{stem}-labels-idx1-ubyte", whole.targets.numpy()[:n].astype(np.uint8))
    return folder


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """run("script.py", "--flag", ...) in an empty folder: exit code, stdout, stderr."""

    def call(script: str, *flags: object) -> tuple[int, str, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [script, *map(str, flags)])
        capsys.readouterr()
        code = 0
        try:
            runpy.run_path(str(EXAMPLES / script), run_name="__main__")
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capsys.readouterr()

    return call
