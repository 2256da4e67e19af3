"""The examples in the docstrings of the installed package run and give what they say."""

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import tinygrad_mnist
from tinygrad_mnist import kernels

DOCS = Path(__file__).parent.parent / "docs"
MODULES = [
    "tinygrad_mnist",
    *(m.name for m in pkgutil.walk_packages(tinygrad_mnist.__path__, "tinygrad_mnist.")),
    *(m.name for m in pkgutil.walk_packages(kernels.__path__, "tinygrad_mnist.kernels.")),
]
NEEDS_CUPY = {"tinygrad_mnist.kernels.cuda"}


@pytest.mark.parametrize("name", [m for m in MODULES if not m.endswith("__main__") and m not in NEEDS_CUPY])
def test_examples_in_docstrings(name: str) -> None:
    module = importlib.import_module(name)
    result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0


@pytest.mark.parametrize("path", sorted(p for p in DOCS.glob("*.md") if ">>> " in p.read_text()), ids=lambda p: p.name)
def test_examples_in_docs(path: Path) -> None:
    result = doctest.testfile(str(path), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted > 0
    assert result.failed == 0
