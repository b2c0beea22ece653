"""What the commands of ``nws`` are made of: arguments as data, and a parser from them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

Commands = argparse._SubParsersAction  # of which argparse has no public name
Argument = tuple[tuple[str, ...], dict[str, Any]]
Run = Callable[[argparse.Namespace], int]  # returns the exit status


def arg(*flags: str, **options: Any) -> Argument:
    """Return an argument: what ``add_argument`` takes."""
    return flags, options


def add_arguments(parser: Any, *arguments: Argument) -> None:
    """Add arguments to a parser or a group."""
    for flags, options in arguments:
        parser.add_argument(*flags, **options)


def add_command(
    commands: Commands, name: str, run: Run, help: str, *arguments: Argument, examples: str = ""
) -> argparse.ArgumentParser:
    """Add a command that ``run`` does, and return its parser; ``examples`` stand under its help as they are."""
    form = argparse.RawDescriptionHelpFormatter if examples else argparse.HelpFormatter
    parser: argparse.ArgumentParser = commands.add_parser(name, help=help, epilog=examples or None, formatter_class=form)
    add_arguments(parser, *arguments)
    parser.set_defaults(run=run)
    return parser


JSON = arg("--json", action="store_true", help="print JSON")
DATA = arg("--data", type=Path, default=Path("nws"), help="folder of the dataset (default: nws)")
OUT = arg("--out", type=Path, default=Path("nws"), help="folder of the dataset (default: nws)")
