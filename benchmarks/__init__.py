"""Ours against PyTorch, on this machine: `python -m benchmarks --help`."""

from importlib.util import find_spec

if find_spec("torch") is None:
    raise ModuleNotFoundError("benchmarks compare with PyTorch, which is not installed: pip install -e '.[test]'")
