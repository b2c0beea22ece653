"""The commands ``nws bench`` and ``nws quickstart``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.leaderboard.submission.fields import ENTRIES, TEXTS
from nws_data.commands import DATA, JSON, OUT, Commands, add_arguments, add_command, arg
from nws_data.errors import NWSError
from nws_data.space.hyperparameters import POPULATIONS
from nws_data.terminal import align, say

QUICKSTART_HELP = "from nothing to a dataset and what its weights tell, in minutes"
_EXTRA = ("sklearn", "lightning", "torchmetrics")
_FIGURES = ("matplotlib", "statsmodels", "plotly")
_SEVERAL: dict[str, Any] = {"action": "extend", "nargs": "+"}
"""Several values after one flag, or the flag several times."""
_BENCH_EXAMPLES = """\
examples:
  nws bench check mine.py:Mine
  nws bench run --task global/optimizer --method majority svm-linear-16
  nws bench run --task 'global/*' --method 'svm-*' --folds --data nws
  nws bench run --task global/activation --method mine.py:Mine --option depth=3
  nws bench run --task 'NWS(global, v1)' --method nfn --seeds 10
  nws bench board --data nws

Results go beside the dataset unless --out says where: those on nws into
nws-results. Run the same command again to go on after an interruption; runs
whose result file is there are skipped, and results published on the same data,
in benchmarks/results or with the dataset on the hub, are taken over.
"""
_FIGURE_EXAMPLES = """\
examples:
  nws figure statistics regression --data nws
  nws figure all --data nws
  nws figure map --target optimizer --method dmc-asinh-short

Each figure writes PNG, SVG and CSV; findings.html shows them all. Run the same
command again to go on after an interruption: figures that are there are kept.
"""


def add_commands(commands: Commands) -> None:
    """Add the benchmarks' commands to the ``nws`` parser."""
    help = "run methods on tasks; turn the results into the leaderboard"
    parser = add_command(commands, "bench", lambda options: 2, help, examples=_BENCH_EXAMPLES)
    bench: Commands = parser.add_subparsers(metavar="COMMAND", required=True)
    task = {**_SEVERAL, "required": True, "metavar": "NAME"}
    option = {**_SEVERAL, "default": [], "metavar": "KEY=VALUE"}
    methods = "methods, patterns such as 'svm-*', or classes: package.module:Class, file.py:Class"
    seeds = "seeds 0 to N-1 (default 3); a method that draws nothing is fitted with seed 0 alone"
    add_command(
        bench,
        "run",
        _runs("leaderboard.runs.command:bench", *_EXTRA),
        "run methods on tasks: one result file each",
        arg("--task", **task, help="tasks, suites such as 'NWS(global, v1)', or patterns such as 'global/*'"),
        arg("--method", **task, help=methods),
        arg("--seeds", type=int, default=3, metavar="N", help=seeds),
        arg("--folds", action="store_true", help="test on all trainings in five folds, pooled: unofficial"),
        arg("--option", **option, help="for those methods that have it"),
        DATA,
        arg("--out", type=Path, help="folder of results (default: beside the dataset, such as nws-results)"),
        arg("--predictions", type=Path, metavar="DIR", help="keep prediction files there, for nws score"),
        arg("--keep", type=Path, metavar="DIR", help="keep the fitted classifiers there, for nws read (docs/reading.md)"),
        arg("--again", action="store_true", help="run what is there already or published, too"),
        arg("--workers", type=int, default=1, metavar="W", help="processes that run one fit each (default 1)"),
    )
    add_command(
        bench,
        "board",
        _run_board,
        "check result files and write board.md, board.html and board.parquet",
        arg("results", type=Path, nargs="?", help="folder of results (default: beside --data, else nws-results)"),
        arg("--data", type=Path, help="the dataset: derive what each task tests on from it again"),
        arg("--predictions", type=Path, metavar="DIR", help="score the prediction files there again on --data"),
        arg("--out", type=Path, metavar="FOLDER", help="where the board goes (default: into the results)"),
    )
    _add_entries(bench)
    add_command(bench, "methods", _runs("leaderboard.runs.methods:methods", *_EXTRA), "list methods with their options")
    _add_checks(bench, task, option)
    add_command(commands, "quickstart", _runs("quickstart:quickstart", *_EXTRA, "torchvision"), QUICKSTART_HELP, OUT)
    _add_figure(commands)
    _add_reference(commands)


def _add_entries(bench: Commands) -> None:
    parser = add_command(
        bench,
        "submit",
        _runs("leaderboard.submission.submit:submit"),
        "check results and predictions, and write the entry for a pull request",
        arg("results", type=Path, nargs="*", metavar="RESULT", help="result files of nws bench run"),
        arg("--predictions", **_SEVERAL, type=Path, default=[], metavar="FILE", help="their prediction files"),
        *(arg(f"--{field.replace('_', '-')}", metavar="TEXT", help=about) for field, about in TEXTS.items()),
        arg("--name", help="of the entry (default: the method's)"),
        arg("--data", type=Path, help="the dataset, to score the predictions on (default: nws, where it is that one)"),
        arg("--out", type=Path, default=ENTRIES, metavar="DIR", help=f"folder of entries (default: {ENTRIES})"),
    )
    add_arguments(
        parser.add_argument_group("prediction files without result files, of a method that ran elsewhere"),
        arg("--method", metavar="NAME", help="how the board names it"),
        arg("--fit-seconds", type=float, metavar="S", help="of one seed; the files of one task are its seeds"),
        arg("--hardware", help="here, or 'PROCESSOR; N cores; M GB[; GPU]'"),
        arg("--parameters", type=int, metavar="N", help="fitted values, where the notion has a meaning"),
    )
    add_command(
        bench,
        "entries",
        _runs("leaderboard.submission.submit:entries"),
        "check all entries again, as CI does",
        arg("folder", type=Path, nargs="?", default=ENTRIES, help=f"folder of entries (default: {ENTRIES})"),
        arg("--data", type=Path, help="the dataset, to score the predictions on"),
    )


def _add_checks(bench: Commands, task: dict[str, Any], option: dict[str, Any]) -> None:
    add_command(
        bench,
        "check",
        _runs("leaderboard.check.report:check", *_EXTRA),
        "check a method without data, in seconds: on made-up tasks of every family",
        arg("method", metavar="METHOD", help="one method, as in nws bench run"),
        arg("--task", **_SEVERAL, default=[], metavar="NAME", help="tasks of the miniature, or patterns (default: all)"),
        arg("--option", **option, help="options of the method"),
        JSON,
    )
    for name, about, tasks, n in (
        ("leaks", "permute the training labels: every method must fall to chance", "classification tasks", 20),
        ("drift", "permute hidden units of the test networks: whose predictions stay?", "tasks of whole vectors", 5),
    ):
        add_command(
            bench,
            name,
            _runs(f"leaderboard.runs.permutations:{name}", *_EXTRA),
            about,
            arg("--task", **task, help=f"{tasks}, or patterns"),
            arg("--method", **task, help="as in nws bench run"),
            arg("--permutations", type=int, default=n, metavar="N", help=f"how many (default {n})"),
            arg("--option", **option, help="options of the methods"),
            DATA,
            JSON,
        )


def _add_figure(commands: Commands) -> None:
    add_command(
        commands,
        "figure",
        _run_figure,
        "the paper's findings on a dataset: pictures, numbers and one page",
        arg("names", nargs="+", metavar="NAME", help="figures, or all; nws figure list shows them"),
        DATA,
        arg("--results", type=Path, help="result files of nws bench run (default: beside the dataset, such as nws-results)"),
        arg("--out", type=Path, help="folder for the figures (default: beside the dataset, such as nws-figures)"),
        arg("--target", **_SEVERAL, default=[], metavar="T", help="hyper-parameters, for map and importance"),
        arg("--method", default="svm-rbf-16", help="of the map (default svm-rbf-16)"),
        arg("--repeats", type=int, default=10, metavar="N", help="of fits, for error bars (default 10)"),
        arg("--without-batch-norm", type=Path, metavar="DIR", help="a dataset of nws build --no-batch-norm, for batch-norm"),
        arg("--again", action="store_true", help="make what is there already, too"),
        examples=_FIGURE_EXAMPLES,
    )


def _add_reference(commands: Commands) -> None:
    help = "the reference population: build it, run the methods on it, write the pages"
    parser = add_command(commands, "reference", lambda options: 2, help)
    steps: Commands = parser.add_subparsers(metavar="STEP", dest="step", required=True)
    budget = arg("--budget", default="cpu", metavar="B", help="cpu: two cores and hours; gpu: one card (default cpu)")
    out = arg("--out", type=Path, default=Path("reference"), help="folder of dataset, results and figures (reference)")
    root = arg("--image-root", type=Path, metavar="DIR", help="torchvision's folder (default: ~/.cache/nws/images)")
    download = arg("--download", action="store_true", help="let torchvision download what is missing")
    population = arg("--population", choices=POPULATIONS, help="that one alone, such as in a run of its own (default: both)")
    pilot = "train 40 networks by each of several image counts and epoch caps, to choose from"
    add_command(steps, "pilot", _run_reference, pilot, budget, population, out, root, download)
    add_command(steps, "build", _run_reference, "train the networks", budget, population, out, root, download)
    add_command(steps, "run", _run_reference, "run methods on the tasks and make all figures", budget, out)
    add_command(steps, "report", _run_reference, "write results, findings and docs/ of this checkout", budget, out)


def _run_board(options: argparse.Namespace) -> int:
    from benchmarks.leaderboard.board.write import HTML, MARKDOWN, TABLE, write_board

    results = options.results or _beside(options.data or Path("nws"), "results")
    out = options.out or results
    standing = write_board(results, out, options.data, options.predictions)
    n, checked = len(standing), f", checked against {options.data}" if options.data else ""
    say(f"{n} result{'' if n == 1 else 's'}{checked}: {out / MARKDOWN}, {out / HTML}, {out / TABLE}")
    return 0


def _runs(target: str, *needed: str) -> Callable[[argparse.Namespace], int]:
    """Return what runs a command: a function of a module of benchmarks, ``MODULE:FUNCTION``, loaded only then."""

    def run(options: argparse.Namespace) -> int:
        _need(*needed)
        module, _, function = target.partition(":")
        if "option" in options:
            options.option = _given(options.option)
        if getattr(options, "out", "") is None:
            options.out = _beside(options.data, "results")
        return int(getattr(import_module(f"benchmarks.{module}"), function)(options))

    return run


def _run_figure(options: argparse.Namespace) -> int:
    from benchmarks.findings.registry import FIGURES

    if options.names == ["list"]:
        say("\n".join(align([[name, entry.title, entry.paper] for name, entry in FIGURES.items()])))
        return 0
    _need(*_EXTRA, *_FIGURES)
    from benchmarks.findings.make import KEPT, PAGE, chosen, make_figures
    from benchmarks.findings.source import Source

    out = options.out or _beside(options.data, "figures")
    results = options.results or _beside(options.data, "results")
    own = {"method": options.method, "repeats": options.repeats, "without_batch_norm": options.without_batch_norm}
    source = Source(options.data, results, tuple(options.target), kept=out / KEPT, **own)
    n_made = 0
    for figure in make_figures(chosen(options.names), source, out, options.again):
        n_made += not figure.missing
        say(f"{figure.name}: {figure.shows or f'not made: {figure.missing}'}")
    say(f"Pictures and numbers: {out}; all on one page: {out / PAGE}")
    return 0 if n_made else 1


def _run_reference(options: argparse.Namespace) -> int:
    _need(*_EXTRA, *_FIGURES)
    from benchmarks.reference.budgets import budget_of
    from benchmarks.reference.commands import build_pilots, build_reference, run_reference
    from benchmarks.reference.report import write_report

    budget = budget_of(options.budget)
    if options.step == "run":
        return 1 if run_reference(budget, options.out) else 0
    if options.step == "report":
        say("\n".join(map(str, write_report(options.budget, budget, options.out))))
        return 0
    train = build_pilots if options.step == "pilot" else build_reference
    chosen = budget.of([options.population]) if options.population else budget
    train(chosen, options.out, options.image_root, options.download)
    return 0


def _beside(data: Path, what: str) -> Path:
    """Return a folder beside a dataset, such as ``nws-results`` of ``nws``."""
    data = data if data.name.strip(".") else data.resolve()
    return data.parent / f"{data.name}-{what}"


def _given(words: list[str]) -> dict[str, str]:
    """Turn ``KEY=VALUE`` words into options; raises ``NWSError``."""
    found: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key or key in found:
            raise NWSError(f"--option takes KEY=VALUE, each key once, got {word!r}")
        found[key] = value
    return found


def _need(*names: str) -> None:
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise NWSError(f"{', '.join(missing)} not installed; run in the checkout: pip install -e '.[all]'")
