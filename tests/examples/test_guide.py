"""The program in docs/finetuning.md runs as it stands there, but for its size."""

import functools
import re
from pathlib import Path

import pytest

import tinygrad_mnist as tg
from tinygrad_mnist import datasets, models

GUIDE = Path(__file__).parents[2] / "docs" / "finetuning.md"


def test_the_program_of_the_guide(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = re.search(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert program is not None
    assert "epochs=5" in program[1]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets, "MNIST", functools.partial(datasets.MNIST, digits))
    tg.save(models.resnet20().state_dict(), tmp_path / "resnet20-12fca82f.th", format="torch")
    exec(program[1].replace("epochs=5", "epochs=1"), {})
    saved = tg.load(tmp_path / "digits.safetensors")
    assert saved["linear.weight"].shape == (10, 64)
    assert saved["conv1.weight"].shape == (16, 1, 3, 3)
