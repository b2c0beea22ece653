"""The commands ``nws import-original``, ``diff``, ``subset`` and ``merge``: arguments, and what is printed."""

from __future__ import annotations

import argparse
from pathlib import Path

from nws_data.commands import JSON, Commands, add_command, arg
from nws_data.terminal import plain, say, say_json

_NEW = arg("--out", type=Path, required=True, help="folder of the new dataset")


def add_commands(commands: Commands) -> None:
    """Add the commands."""
    help = "turn the authors' release of 2020 into a dataset"
    add_command(
        commands,
        "import-original",
        _import,
        help,
        arg("folder", type=Path, help="folder of the release: trainings and the four CSV lists"),
        arg("--out", type=Path, default=Path("nws"), help="folder of the new dataset (default: nws)"),
        arg("--skip-bad", action="store_true", help="leave out what is incomplete or unknown, and list it"),
        JSON,
    )


def _import(options: argparse.Namespace) -> int:
    from nws_data.convert.original import format_import, import_original
    from nws_data.progress import bytes_bar

    with bytes_bar(shown=not options.json) as show:
        report = import_original(options.folder, options.out, skip_bad=options.skip_bad, progress=show)
    say_json(report.to_dict()) if options.json else say(plain(format_import(report, options.out), keep="\n"))
    return 0
