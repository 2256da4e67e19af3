"""Types of flags, and how a script ends."""

import argparse
import sys
from pathlib import Path

import pytest

from tinygrad_mnist.utils import cli


@pytest.mark.parametrize(
    ("kind", "limits", "text", "value"),
    [(int, (1,), "7", 7), (float, (0,), "0", 0.0), (float, (0, 1), "1", 1.0), (float, (1e-12,), "5e-3", 0.005)],
)
def test_numbers(kind: type, limits: tuple, text: str, value: float) -> None:
    got = cli.number(kind, *limits)(text)
    assert (got, type(got)) == (value, kind)


@pytest.mark.parametrize(
    ("kind", "limits", "text", "message"),
    [
        (int, (1,), "0", "expected a whole number of at least 1, got '0'"),
        (int, (1,), "1.5", "expected a whole number of at least 1, got '1.5'"),
        (float, (0,), "nan", "expected a number of at least 0, got 'nan'"),
        (float, (0,), "inf", "expected a number of at least 0, got 'inf'"),
        (float, (0, 1), "2", "expected a number from 0 to 1, got '2'"),
    ],
)
def test_what_is_no_such_number(kind: type, limits: tuple, text: str, message: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as error:
        cli.number(kind, *limits)(text)
    assert str(error.value) == message


def test_folders_and_files(tmp_path: Path) -> None:
    assert cli.folder(str(tmp_path)) == tmp_path
    assert cli.new_file(str(tmp_path / "new")) == tmp_path / "new"
    (tmp_path / "old").write_text("")
    assert cli.new_file(str(tmp_path / "old")) == tmp_path / "old"
    with pytest.raises(argparse.ArgumentTypeError, match=r"there is no folder '.*old'"):
        cli.folder(str(tmp_path / "old"))
    with pytest.raises(argparse.ArgumentTypeError, match=r"there is no folder '.*nowhere'; make it first"):
        cli.new_file(str(tmp_path / "nowhere" / "file"))
    with pytest.raises(argparse.ArgumentTypeError, match="cannot write to"):
        cli.new_file(str(tmp_path))


def test_pyplot_or_the_extra_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli.pyplot("--plot").get_backend().lower() == "agg"
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"--plot needs matplotlib: pip install 'tinygrad_mnist\[plot\]'"):
        cli.pyplot("--plot")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "\nStopped; all is saved\n"),
        (OSError(2, "No such file", "x.pth"), 2, "program: [Errno 2] No such file: 'x.pth'\n"),
        (ValueError("weights of another network"), 2, "program: weights of another network\n"),
        (ImportError("needs requests"), 2, "program: needs requests\n"),
    ],
)
def test_ends(error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end, cli.tidy_exit(argparse.ArgumentParser("program"), "Stopped; all is saved"):
        raise error
    assert (end.value.code, capsys.readouterr()) == (code, ("", said))


def test_bugs_keep_their_traceback() -> None:
    with pytest.raises(TypeError), cli.tidy_exit(argparse.ArgumentParser()):
        raise TypeError("a bug")


def test_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "--lr", "2"])
    monkeypatch.setattr(sys, "executable", "python")
    parser = argparse.ArgumentParser()
    for flag, default in [("--lr", 1), ("--batch-size", 64), ("--save", "w"), ("--resume", None)]:
        parser.add_argument(flag, default=default)
    args = parser.parse_args(["--lr", "2", "--save", "a file", "--resume", "x"])
    said = cli.how_to_go_on(parser, args, Path("runs/step-1"))
    assert said == (
        "\nStopped; everything is in runs/step-1. Go on with\n  python train.py --lr=2 '--save=a file' --resume\n"
    )
    assert cli.how_to_go_on(parser, args, None).endswith("Start again with\n  python train.py --lr 2\n")
