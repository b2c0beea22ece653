"""``nws bench check``: all checks of a method on all tasks of the miniature that it fits, and the table for people."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from benchmarks.leaderboard.check.miniature import TASKS, write_miniature
from benchmarks.leaderboard.check.probes import CHECKS, RUNS, Finding, Probe
from benchmarks.leaderboard.runs.plans import choose_methods, make_plans
from nws_data.errors import NWSError
from nws_data.progress import FITS, progress_bar
from nws_data.terminal import align, say, say_json


@dataclass(frozen=True, kw_only=True)
class Report:
    """What the checks of a method found."""

    method: str
    tasks: tuple[str, ...]  # of the miniature, that it fits and that were asked for
    left_out: tuple[str, ...]  # that were asked for, but the method says that it does not fit
    seconds: float
    findings: tuple[Finding, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong, and some task was not declined; notes are not counted."""
        ran = len(self.tasks) > sum(finding.check == RUNS for finding in self.findings)
        return ran and not any(finding.wrong for finding in self.findings)


def check(options: argparse.Namespace) -> int:
    """Check a method and print what was found, by the options of ``nws bench check``; returns 1 where something is wrong."""
    report = check_method(options.method, options.option, options.task)
    found = [asdict(finding) | {"what_to_do": CHECKS[finding.check]} for finding in report.findings]
    values = asdict(report) | {"sound": report.sound, "checks": list(CHECKS), "findings": found}
    say_json(values) if options.json else say(format_report(report))
    return 0 if report.sound else 1


def check_method(method: str, options: Mapping[str, str], patterns: Sequence[str] = ()) -> Report:
    """Check one method, by name or class path, on the tasks of the miniature that match; all by default.

    Raises ``NWSError`` for no such method, option or task, or a method that fits none of the tasks.
    """
    started_s = time.perf_counter()
    (name, *others) = choose_methods([method])
    if others:
        raise NWSError(f"one method is checked at a time; {method!r} matches {', '.join([name, *others])}")
    asked = [task for task in TASKS if not patterns or any(fnmatchcase(task, pattern) for pattern in patterns)]
    if not asked:
        raise NWSError(f"--task: the miniature has no {' '.join(patterns)}; its tasks are {', '.join(TASKS)}")
    plans = list(make_plans(asked, [name], options, seeds=1, folds=False))
    if not plans:
        raise NWSError(f"{method} fits none of {', '.join(asked)}; nws bench methods says what each reads")
    findings: list[Finding] = []
    # What a method prints goes to stderr: stdout is the report's.
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        write_miniature(Path(folder))
        for i, plan in enumerate(progress_bar(iterable=plans, bar_format=FITS)):
            findings += Probe(plan, Path(folder)).findings(with_seed=i == 0)
    tasks = tuple(plan.task for plan in plans)
    return Report(
        method=plans[0].label,
        tasks=tasks,
        left_out=tuple(task for task in asked if task not in tasks),
        seconds=round(time.perf_counter() - started_s, 1),
        findings=tuple(findings),
    )


def format_report(report: Report) -> str:
    """Return the table for people: each check with its result and what to do, then what was found where."""
    n = len(report.tasks)
    lines = [f"{report.method} on {n} task{'' if n == 1 else 's'} of a made-up miniature, {report.seconds:.1f} s"]
    if report.left_out:
        lines.append(f"left out, the method does not fit: {', '.join(report.left_out)}")
    rows = [["check", "result", "what to do"]]
    for check, advice in CHECKS.items():
        own = [finding for finding in report.findings if finding.check == check]
        verdict = "wrong" if any(finding.wrong for finding in own) else "look"
        rows.append([check, f"{verdict} on {len(own)} of {n}" if own else "ok", advice if own else ""])
    lines += ["", *align(rows)]
    lines += [""] * bool(report.findings) + [f"{f.check}: {f.task}: {f.what}" for f in report.findings]
    if report.sound:
        lines += ["", "Sound. Next: nws bench run --task ... --method ..."]
    return "\n".join(lines)
