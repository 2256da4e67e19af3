"""What a training script with flags needs: types of flags for argparse, extras by name, and a quiet end."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import math
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


def number(kind: Callable[[str], float], least: float, most: float = math.inf) -> Callable[[str], Any]:
    """A type of flag: a finite number from `least` to `most`, whole if `kind` is int.

    >>> number(int, 1)("3")
    3
    """

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most or value == math.inf:
            what = "a whole number" if kind is int else "a number"
            limits = f"of at least {least}" if most == math.inf else f"from {least} to {most}"
            raise argparse.ArgumentTypeError(f"expected {what} {limits}, got {text!r}")
        return value

    return parse


def folder(text: str) -> Path:
    """A type of flag: a folder that exists."""
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {text!r}")
    return Path(text)


def new_file(text: str) -> Path:
    """A type of flag: a file that can be written."""
    path = Path(text)
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {str(path.parent)!r}; make it first")
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"cannot write to {text!r}")
    return path


def pyplot(what: str) -> Any:
    """matplotlib.pyplot, drawing into files; `what` needs it, says the ImportError that names the extra."""
    try:
        matplotlib = importlib.import_module("matplotlib")
        matplotlib.use("agg")
        return importlib.import_module("matplotlib.pyplot")
    except ImportError as error:
        raise ImportError(f"{what} needs matplotlib: pip install 'tinygrad_mnist[plot]'") from error


def how_to_go_on(parser: argparse.ArgumentParser, args: argparse.Namespace, newest: Path | None) -> str:
    """What to say after Ctrl-C: where everything is (`newest`, the last checkpoint), and the command that goes on.

    The command has the flags of `args` that are not the parser's defaults, and --resume.
    """
    if not newest:
        return f"\nStopped before the first checkpoint. Start again with\n  {shlex.join([sys.executable, *sys.argv])}\n"
    given = {name: value for name, value in vars(args).items() if value != parser.get_default(name)}
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in given.items() if name != "resume"]
    command = shlex.join([sys.executable, sys.argv[0], *flags, "--resume"])
    return f"\nStopped; everything is in {newest}. Go on with\n  {command}\n"


@contextlib.contextmanager
def tidy_exit(parser: argparse.ArgumentParser, stopped: str = "Stopped") -> Iterator[None]:
    """Ends the program as its user expects: with a line on stderr in the place of a traceback.

    Ctrl-C: `stopped`, exit code 130; a reader of stdout that leaves: nothing, 141; what files, flags and devices can
    do wrong (OSError, RuntimeError, ValueError, ImportError): the message, 2.
    """
    try:
        yield
    except KeyboardInterrupt:
        parser.exit(130, f"\n{stopped}\n")
    except BrokenPipeError:  # as in `... | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except (OSError, RuntimeError, ValueError, ImportError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
