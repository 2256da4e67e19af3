"""Who may import whom: the layers of docs/architecture.md, read from the sources."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "tinygrad_mnist"

# Lowest first. A part imports from the lines above its own, and from its own line where that is one thing in
# several files (marked True): the tensor, and the file formats, which know nothing but NumPy.
LAYERS: list[tuple[bool, set[str]]] = [
    (False, {"kernels", "dtypes", "size"}),
    (True, {"checkpoint", "torch_export", "torch_file", "torch_pickle", "hub"}),
    (False, {"backend"}),
    (False, {"autograd"}),
    (False, {"ops"}),
    (
        True,
        {"creation", "cuda", "functions", "info", "inplace", "interop", "printing", "random", "tensor", "tensor_ops"},
    ),
    (False, {"nn", "serialization", "utils"}),
    (False, {"datasets", "optim", "transforms"}),
    (False, {"models", "training", "finetune"}),
    (False, {"pretraining"}),
]
TITLES = "The parts, lowest first", "The kernels"  # of the tables in docs/architecture.md
PUBLIC = {"__init__", "__main__"}  # the package itself, which shows all of them


def allowed(part: str) -> set[str]:
    """What a part may import."""
    below: set[str] = set()
    for one_thing, parts in LAYERS:
        if part in parts:
            return below | (parts if one_thing else {part})
        below |= parts
    raise ValueError(f"{part} has no place in LAYERS")


def imports(path: Path, package: str) -> set[str]:
    """The absolute names of the modules that a source file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


def sources() -> list[tuple[str, str, Path]]:
    """(part, package, path) of each source file."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        part = parts[0]
        found.append((part, ".".join(["tinygrad_mnist", *parts[:-1]]), path))
    for path in sorted((ROOT / "kernels").rglob("*.py")):
        found.append(("kernels", ".".join(["tinygrad_mnist", *path.relative_to(ROOT).parts[:-1]]), path))
    return found


@pytest.mark.parametrize(("part", "package", "path"), sources(), ids=lambda v: v.name if isinstance(v, Path) else v)
def test_no_import_points_up(part: str, package: str, path: Path) -> None:
    names = imports(path, package)
    for name in names:
        assert name.split(".")[0] not in {"torch", "examples", "tests", "benchmarks"}, f"{path} imports {name}"
    if part in PUBLIC:
        return
    assert "tinygrad_mnist" not in names, f"{path} imports the whole package"
    wrong = {name.split(".")[1] for name in names if name.startswith("tinygrad_mnist.")} - allowed(part)
    assert not wrong, f"{path.relative_to(ROOT)} is in {part} and imports {sorted(wrong)}"


def test_kernels_know_only_arrays() -> None:
    for part, package, path in sources():
        if part == "kernels":
            outside = {n.split(".")[0] for n in imports(path, package)} - {"tinygrad_mnist", *sys.stdlib_module_names}
            wrong = outside - {"numpy", "numba", "llvmlite", "threadpoolctl", "cupy"}
            assert not wrong, f"{path} imports {sorted(wrong)}"


def test_every_package_is_installed() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {p.parent for p in [*PACKAGE.rglob("*.py"), *(ROOT / "kernels").rglob("*.py")]}
    names = {".".join(f.relative_to(ROOT).parts) for f in folders}
    assert {name.removeprefix("tinygrad_mnist.") if "kernels" in name else name for name in listed} == names


def test_modules_are_short() -> None:
    long = {str(p.relative_to(ROOT)): n for _, _, p in sources() if (n := len(p.read_text().splitlines())) > 300}
    assert not long


def test_the_map_names_every_part_and_kernel_and_nothing_else() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table, kernels = (text.partition(f"\n## {title}\n")[2].partition("\n## ")[0] for title in TITLES)
    first_column = "".join(re.findall(r"^\|([^|]*)\|", table, re.M))
    assert set(re.findall(r"`(\w+)/?`", first_column)) == set.union(*(parts for _, parts in LAYERS))
    stems = {p.stem for p in (ROOT / "kernels").glob("*.py")} - {"__init__"}
    listed = set(re.findall(r"`(\w+)`", kernels))
    assert {s for s in stems if s.removesuffix("_compiled") not in listed} <= listed
    assert listed <= stems | {"_compiled"}
    files = {Path(name).name for name in re.findall(r"`([\w/]+\.(?:py|cu))`", text)}
    folders = PACKAGE, ROOT / "kernels", ROOT / "examples", ROOT / "tests"
    assert files <= {path.name for folder in folders for path in folder.rglob("*")}


def test_bare_import_of_kernels_explains() -> None:
    result = subprocess.run(
        [sys.executable, "-c", "import kernels"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "import tinygrad_mnist.kernels" in result.stderr
