"""The commands ``nws import-original``, ``diff``, ``subset`` and ``merge``: arguments, and what is printed."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from nws_data.commands import JSON, Commands, add_command, arg
from nws_data.progress import bytes_bar
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
    a, b = (arg(name, type=Path, help="a dataset's folder") for name in "ab")
    add_command(commands, "diff", _diff, "what two datasets differ in; exit status 1 if they do", a, b, JSON)
    add_command(
        commands,
        "subset",
        _subset,
        "write the trainings that meet conditions, or some of their snapshots, as a dataset of their own",
        arg("folder", type=Path, help="a dataset's folder"),
        arg(
            "conditions", nargs="*", metavar="CONDITION", help="optimizer=adam,rmsprop or 'test_accuracy>0.5'; all must hold"
        ),
        arg("--population", nargs="+", default=[], metavar="NAME", help="fixed, random (default: all there are)"),
        arg(
            "--snapshots",
            nargs="+",
            type=int,
            default=[],
            metavar="N",
            help="0 (initialisation) to 19 (converged model), such as 0 10 19 (default: all there are)",
        ),
        _NEW,
        JSON,
    )
    help = "write two datasets as one: other populations, or parts of one plan"
    add_command(commands, "merge", _merge, help, a, b, _NEW, JSON)


def _import(options: argparse.Namespace) -> int:
    from nws_data.convert.original import format_import, import_original

    with bytes_bar(shown=not options.json) as show:
        report = import_original(options.folder, options.out, skip_bad=options.skip_bad, progress=show)
    say_json(asdict(report)) if options.json else say(plain(format_import(report, options.out), keep="\n"))
    return 0


def _diff(options: argparse.Namespace) -> int:
    from nws_data.convert.diff import diff, format_diff

    with bytes_bar(shown=not options.json) as show:
        found = diff(options.a, options.b, progress=show)
    values = {"equal": found.equal} | asdict(found)
    say_json(values) if options.json else say(plain(format_diff(found, options.a, options.b), keep="\n"))
    return 0 if found.equal else 1


def _subset(options: argparse.Namespace) -> int:
    from nws_data.convert.subset import subset

    with bytes_bar(shown=not options.json) as show:
        chosen = {"populations": options.population, "snapshots": options.snapshots}
        subset(options.folder, options.out, options.conditions, **chosen, progress=show)
    return _written(options)


def _merge(options: argparse.Namespace) -> int:
    from nws_data.convert.merge import merge

    with bytes_bar(shown=not options.json) as show:
        merge(options.a, options.b, options.out, progress=show)
    return _written(options)


def _written(options: argparse.Namespace) -> int:
    from nws_data.format.describe import describe

    info = describe(options.out)
    say_json(info.to_dict()) if options.json else say(
        f"{options.out}: {info.n_trainings:,} trainings, {info.n_bytes / 1e6:,.1f} MB, data digest {info.data_digest[:12]}\n"
        f"Next: nws info {options.out}, nws verify {options.out}"
    )
    return 0
