"""`python -m tinygrad_mnist info`: what this machine offers, and what to do about what it lacks."""

import argparse

from .info import report
from .utils.cli import tidy_exit


def main() -> None:
    """Run the command that the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tinygrad_mnist")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("info", help="versions, devices and caches, and what to do about each problem found")
    parser.parse_args()
    with tidy_exit(parser):
        print(report(), flush=True)


if __name__ == "__main__":
    main()
