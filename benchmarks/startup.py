"""What a program pays before it computes: importing the library, beyond importing NumPy."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile

CODE = "import time, numpy; start = time.perf_counter(); import {name}; print(time.perf_counter() - start)"


def startup(rounds: int) -> list[dict]:
    """Seconds that `import tinygrad_mnist`, and torch, add to `import numpy`: a new process each, with bytecode."""
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        for name in ("tinygrad_mnist", "torch"):
            command = [sys.executable, "-X", f"pycache_prefix={cache}", "-c", CODE.format(name=name)]
            env = {"PYTHONDONTWRITEBYTECODE": "", "PATH": ""}
            times = [
                float(subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout)
                for _ in range(rounds + 1)
            ][1:]  # the first one writes the bytecode
            low, median, high = statistics.quantiles(times, n=4)
            print(f"import {name}: {median:.3f} s after numpy, quartiles {low:.3f} to {high:.3f}, n = {rounds}")
            rows.append({"what": f"import {name}", "median": median, "quartiles": [low, high], "n": rounds})
    return rows
