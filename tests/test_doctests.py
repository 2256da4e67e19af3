"""The examples in the docstrings of the installed package run and give what they say."""

import doctest
import importlib
import pkgutil

import pytest
import tinygrad_mnist
from tinygrad_mnist import kernels

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
