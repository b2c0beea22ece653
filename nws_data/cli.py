"""The command ``nws``: info and verify work from the wheel; build, bench and the like need the repository beside it."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from nws_data import __version__
from nws_data.commands import DATA, JSON, Commands, add_arguments, add_command, arg
from nws_data.convert import cli as convert
from nws_data.errors import NWSError
from nws_data.home import expanded
from nws_data.terminal import plain, say, say_json

CHECKOUT_COMMANDS = {
    "bench": ("benchmarks.cli", "run methods on tasks; turn the results into the leaderboard"),
    "build": ("builders.cli", "train networks and write or extend a dataset"),
    "plan": ("builders.cli", "what a build will cost before it starts: work, hours, gigabytes"),
    "figure": ("benchmarks.cli", "the paper's findings on a dataset: pictures, numbers and one page"),
    "quickstart": ("benchmarks.cli", "from nothing to a dataset and what its weights tell, in minutes"),
    "reference": ("benchmarks.cli", "the reference population: build it, run the methods on it, write the pages"),
    "read": ("baselines.reading.cli", "how was a network trained? its hyper-parameters, read off a checkpoint's weights"),
    "rebuild": ("builders.cli", "train one training again from its id and compare it bit for bit"),
}
"""Commands that live in the repository, outside the wheel: the module that adds them, and their help."""

PICTURES = {
    "trajectory": "a picture of one training: accuracies, distance from the initialisation, weights over time",
    "weights": "a picture of one training's weights: first filters as images, distribution of each layer",
}
"""Commands that draw one training, and their help."""

_MAX_MESSAGE = 4_000  # characters: an error may quote megabytes of a stranger's file

RESUMABLE = ("bench", "build", "figure", "import-original", "merge", "pull", "push", "quickstart", "reference", "subset")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0 done, 1 problems found, 2 bad input, 130 Ctrl-C (143 SIGTERM)."""
    _check_streams()
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    # A closed terminal, too, ends a build as Ctrl-C does, unless the command was started by nohup.
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) != signal.SIG_IGN:
            signal.signal(getattr(signal, name), _interrupt)
    try:
        options = _parser(arguments).parse_args(arguments)
        for name, value in vars(options).items():  # a shell replaces the ~ of --out ~/nws, not that of --out=~/nws
            setattr(options, name, expanded(value) if isinstance(value, Path) else value)
        return int(options.run(options))
    except NWSError as error:
        lines = [f"nws: {error}"[:_MAX_MESSAGE], *getattr(error, "__notes__", ())]
        say("\n".join(map(plain, lines)), error=True)
        return 2
    except BrokenPipeError:  # the reader of a pipe, such as head, has gone
        sys.stderr.close()
        return 141
    except OSError as error:
        say(plain(f"nws: {error.strerror or error}{f': {error.filename}' if error.filename else ''}"), error=True)
        return 2
    except KeyboardInterrupt as error:
        goes_on = "; finished work is kept, run the same command again to go on"
        say(f"\nnws: interrupted{goes_on if arguments[:1] and arguments[0] in RESUMABLE else ''}", error=True)
        return 128 + (error.args[0] if error.args else signal.SIGINT)


def _check_streams() -> None:
    """Put something in the place of standard streams that are closed, and let all take any text."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # as by 2>&-: else the next file that is opened would get its number
            descriptor = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(descriptor, True)
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8"))
    if isinstance(sys.stdout, io.TextIOWrapper):  # its encoding may be ASCII, and names of files need not be UTF-8
        sys.stdout.reconfigure(errors="backslashreplace")


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt(number)


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nws", description="The neural weight space dataset.")
    parser.add_argument("--version", action="version", version=f"nws-data {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_own(commands)
    # The builders import torchvision and more: only when one of their commands is meant.
    chosen = CHECKOUT_COMMANDS.get(arguments[0]) if arguments else None
    if chosen:
        _checkout_module(chosen[0]).add_commands(commands)
    else:
        for name, (_, text) in CHECKOUT_COMMANDS.items():
            commands.add_parser(name, help=text)
    return parser


def _checkout_module(name: str) -> Any:
    """Import a module of the checkout that this package stands in; raises ``NWSError`` in an installed wheel."""
    if not (Path(__file__).parents[1] / "FORMAT.md").is_file():
        raise NWSError(
            f"this command needs the repository, not only the wheel: clone it (this is version {__version__}), "
            "run `pip install -e '.[all]'` in the clone and use that `nws`"
        )
    return importlib.import_module(name)


def _add_own(commands: Commands) -> None:
    """Add the commands that the wheel has."""
    folder = arg("folder", type=Path, help="a dataset's folder")
    tier = arg("--tier", help="this tier of every population only: 1GB, 10GB or any size such as 500MB")
    add_command(commands, "info", _info, "what a dataset holds", folder, tier, JSON)
    help = "check every file of a dataset against FORMAT.md and its checksums"
    quick = arg("--quick", action="store_true", help="do not read the weights: no checksums of shards")
    verify = add_command(commands, "verify", _verify, help, folder, quick, tier, JSON)
    add_arguments(
        verify.add_argument_group("proof from the weights, in a checkout"),
        arg(
            "--rescore",
            type=int,
            metavar="N",
            help="evaluate N random snapshots on the images and compare with the accuracies",
        ),
        arg("--images", nargs="+", metavar="SOURCE", help="where the images are, as for nws build (default: as recorded)"),
        arg("--image-root", type=Path, metavar="DIR", help="torchvision's folder (default: ~/.cache/nws/images)"),
        arg("--download", action="store_true", help="let torchvision download what is missing"),
    )
    help = "fetch a dataset, or a tier of it, from the Hugging Face hub into a folder"
    add_command(
        commands,
        "pull",
        _pull,
        help,
        arg("repository", help="owner/name, or owner/name@revision"),
        arg("--tier", required=True, help="of each population: 1GB, 10GB, full or any size such as 500MB"),
        arg("--population", nargs="+", default=[], metavar="NAME", help="fixed, random (default: all there are)"),
        arg("--split", help="this split alone: train, validation, test or none"),
        arg("--out", type=Path, help="the folder (default: the repository's name without its owner)"),
        JSON,
    )
    help = "send a dataset to the Hugging Face hub: shows what would be sent, and with --yes sends it"
    target = arg("repository", help="owner/name; made if there is none")
    yes = arg("--yes", action="store_true", help="send; without it nothing is sent")
    private = arg("--private", action="store_true", help="a repository that is made is private")
    add_command(commands, "push", _push, help, target, DATA, yes, private, JSON)
    names = "names or patterns, such as 'global/*/threshold=0' (default: all but ood)"
    add_command(
        commands,
        "tasks",
        _tasks,
        "which official tasks a dataset has, and how large they are",
        arg("folder", type=Path, nargs="?", default=Path("nws"), help="a dataset's folder (default: nws)"),
        arg("names", nargs="*", metavar="NAME", help=names),
        arg("--all", action="store_true", help="also list each task that is not available, and why"),
        JSON,
    )
    help = "score a file of predictions on the task and dataset it was made for"
    predictions = arg("predictions", type=Path, help="a Parquet file that Predictions.save wrote")
    add_command(commands, "score", _score, help, predictions, DATA, JSON)
    convert.add_commands(commands)
    training = arg("training", metavar="ID", help="a training, such as fixed-000003")
    for name, help in PICTURES.items():
        out = arg("--out", type=Path, help=f"the picture, PNG or SVG (default: ID-{name}.png)")
        add_command(commands, name, partial(_picture, name), help, training, DATA, out)


def _info(options: argparse.Namespace) -> int:
    from nws_data.format.describe import describe, format_info

    info = describe(options.folder, tier=options.tier)
    say_json(info.to_dict()) if options.json else say(format_info(info))
    return 0


def _verify(options: argparse.Namespace) -> int:
    from nws_data.check.verify import verify
    from nws_data.progress import bytes_bar

    builders = None if options.rescore is None else _checkout_module("builders.rescore")  # said before any work
    with bytes_bar(shown=not options.quick and not options.json) as show:
        report = verify(options.folder, deep=not options.quick, tier=options.tier, progress=show)
    rescored = []
    if builders and report.ok:
        where = {"sources": options.images, "root": options.image_root, "download": options.download}
        rescored = builders.rescore(options.folder, options.rescore, **where)
    if options.json:
        say_json(report.to_dict() | ({"rescored": [item.to_dict() for item in rescored]} if builders else {}))
    elif report.ok:
        depth = "every byte" if report.deep else "headers and metadata"
        say(f"{options.folder}: sound ({report.n_trainings:,} trainings, {report.n_bytes / 1e6:,.1f} MB, {depth} checked)")
        if report.n_shards_left:
            why = "are not of this tier" if report.tier else "were not pulled"
            say(f"Partial: {report.n_shards_left:,} shards {why}.")
        if builders:
            say(builders.format_rescores(rescored))
    else:
        n = len(report.problems)
        problems = "".join(f"\n  {plain(problem)}" for problem in report.problems)
        say(f"{options.folder}: {n:,} problem{'' if n == 1 else 's'}{problems}")
        if report.n_damaged:
            others = "; the others are good" if report.n_damaged == n else ""
            say(f"If they were pulled, remove them and run nws pull again; if built, build into a new folder{others}.")
    return 0 if report.ok and all(item.agrees for item in rescored) else 1


def _pull(options: argparse.Namespace) -> int:
    from nws_data.hub.pull import format_report, pull
    from nws_data.progress import bytes_bar

    out = options.out or Path(options.repository.partition("@")[0].rpartition("/")[2])
    with bytes_bar(shown=not options.json) as show:
        selection = {"tier": options.tier, "populations": options.population, "split": options.split}
        report = pull(options.repository, out, **selection, progress=show)
    say_json(asdict(report)) if options.json else say(format_report(report, out))
    return 0


def _push(options: argparse.Namespace) -> int:
    from nws_data.hub.push import format_plan, plan_push, push
    from nws_data.progress import bytes_bar

    if options.yes:
        with bytes_bar(shown=not options.json) as show:
            plan = push(options.repository, options.data, private=options.private, progress=show)
    else:
        plan = plan_push(options.repository, options.data)
    values = asdict(plan) | {"sent": options.yes}
    say_json(values) if options.json else say(format_plan(plan, options.data, done=options.yes))
    return 0


def _tasks(options: argparse.Namespace) -> int:
    from nws_data.tasks.report import format_tasks, task_states

    states = task_states(options.folder, options.names)
    each = options.all or bool(options.names)
    say_json([asdict(state) for state in states]) if options.json else say(format_tasks(states, each))
    return 0


def _score(options: argparse.Namespace) -> int:
    from nws_data.format.manifest import Manifest
    from nws_data.tasks.predictions import Predictions
    from nws_data.tasks.report import format_score
    from nws_data.tasks.task import load_task

    predictions = Predictions.load(options.predictions)
    predictions.check_data(Manifest.load(options.data), options.data)  # before "not available" on other data
    task = load_task(predictions.task, options.data)
    score = task.evaluate(predictions)
    values = {"task": task.name, "official": task.official, "data_digest": task.data_digest, "score": score.to_dict()}
    say_json(values) if options.json else say(format_score(task, score))
    return 0


def _picture(name: str, options: argparse.Namespace) -> int:
    from nws_data.plot import style
    from nws_data.plot.training import caption, load_training
    from nws_data.plot.trajectory import draw_trajectory
    from nws_data.plot.weights import draw_weights

    out = options.out or Path(f"{options.training}-{name}.png")
    style.check_suffix(out)
    with style.theme():
        training = load_training(options.data, options.training)
        style.save((draw_trajectory if name == "trajectory" else draw_weights)(training), out)
    say(f"{caption(training)}\nPicture: {out}")
    return 0
