"""Ours against PyTorch, on this machine: `python -m benchmarks --help`."""
