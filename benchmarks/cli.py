"""The commands ``nws bench`` and ``nws quickstart``."""

from __future__ import annotations

import argparse
from pathlib import Path

from nws_data.errors import NWSError


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the benchmarks' commands to the ``nws`` parser."""
    parser = commands.add_parser(
        "quickstart", help="from nothing to a dataset, four methods on two tasks and the leaderboard"
    )
    parser.add_argument("--out", type=Path, default=Path("nws"), help="folder of the dataset (default: nws)")
    parser.set_defaults(run=_run_quickstart)


def _run_quickstart(options: argparse.Namespace) -> int:
    try:
        from benchmarks.quickstart import quickstart
    except ModuleNotFoundError as error:
        raise NWSError(f"{error.name} is not installed; run: pip install -e '.[all]'") from error
    return quickstart(options.out)
