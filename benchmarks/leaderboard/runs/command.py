"""``nws bench run`` and ``nws bench methods`` as a person sees them."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from baselines.reading.saved import check_keepable
from benchmarks.leaderboard.files.formats import interval_text, spread_text, unit_of, value_text
from benchmarks.leaderboard.files.results import main_metric
from benchmarks.leaderboard.runs.plans import choose_methods, choose_tasks, fits, make_plans, method_label
from benchmarks.leaderboard.runs.published import Published
from benchmarks.leaderboard.runs.runner import Keep, Outcome, run_all
from nws_data.errors import NWSError
from nws_data.progress import FITS, progress_bar
from nws_data.terminal import say


def bench(options: argparse.Namespace) -> int:
    """Run methods on tasks and print a line for each run, by the options of ``nws bench run``.

    Returns 1 where a task or a run was not possible, else 0. Raises ``NWSError`` for names, options or a dataset that make
    no sense; nothing has run then.
    """
    for name, most in (("seeds", 1000), ("workers", 256)):  # more than anybody needs: a slip must not fill memory
        if not 1 <= (n := getattr(options, name)) <= most:
            raise NWSError(f"--{name} must be in [1, {most}], got {n}")
    chosen, missing = choose_tasks(options.task, options.data, options.folds)
    found = choose_methods(options.method)
    plans = list(make_plans(chosen, found, options.option, options.seeds, options.folds))
    for reason in missing:
        say(f"not available: {reason}", error=True)
    if not plans and not missing:
        names = f"{', '.join(options.method)}; {', '.join(chosen)}"
        raise NWSError(f"none of these methods fits these tasks: {names}; nws bench methods says what each reads")
    for method in found:
        if others := [task for task in chosen if not fits(method, task)]:
            say(f"left out, the method does not fit: {method_label(method)} on {', '.join(others)}", error=True)
    # Absolute: a method may change the working directory.
    out = options.out
    root, place = options.data.resolve(), out.resolve()
    kept, classifiers = (folder and folder.resolve() for folder in (options.predictions, options.keep))
    if classifiers is not None:
        for method in dict.fromkeys(plan.method for plan in plans):
            check_keepable(method)
    for folder in filter(None, (place, kept, classifiers) if plans else ()):
        _check_writable(folder)
    keep = Keep(predictions=kept, classifiers=classifiers)
    failed = len(missing)
    with progress_bar(total=sum(plan.n_fits for plan in plans), bar_format=FITS) as bar:
        published = Published(root)
        running = {"keep": keep, "again": options.again, "published": published, "workers": options.workers}
        for outcome in run_all(plans, root, place, **running, bar=bar):
            say(sentence(outcome).replace("\n", "\n  "), error=outcome.result is None)
            failed += outcome.result is None
    n = len(plans) + len(missing)
    say(f"{n - failed} of {n} runs are in {out}." + (f" Next: nws bench board {out}" if failed < n else ""))
    return 1 if failed else 0


def _check_writable(folder: Path) -> None:
    """Raise ``NWSError`` where no file can be made in a folder: better now than after hours."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise NWSError(f"cannot write into {folder}: {error.strerror or error}; choose another folder") from error


def sentence(outcome: Outcome) -> str:
    """Return what came of a run: ``TASK, METHOD: 83.1 ± 0.4 [79.0, 86.5] accuracy in %, chance 33.3; 1.2 s``."""
    plan = outcome.plan
    name = f"{plan.task}{f' ({plan.folds} folds)' if plan.folds else ''}, {plan.label}"
    if outcome.result is None:
        return f"{name}: failed: {outcome.note}"
    result, kind = outcome.result, outcome.result.kind
    found, chance = main_metric(result), result.summary["chance"]
    score = f"{spread_text(found['mean'], found['std'], kind)} {interval_text(found['low'], found['high'], kind)}"
    guess = "" if chance is None else f", chance {value_text(chance, kind)}"
    done = f"{name}: {score} {unit_of(kind)}{guess}"
    if outcome.skipped:
        note = f"; {outcome.note}" if outcome.note else ""
        if outcome.reused:
            return f"{done}; reused from {outcome.reused}, --again runs it here{note}"
        return f"{done}; there already ({result.path}), --again runs it once more{note}"
    seconds = sum(run.fit_s + run.predict_s for run in result.runs)
    return f"{done}; {seconds:.1f} s" + (f" ({outcome.note})" if outcome.note else "")
