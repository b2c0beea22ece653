"""``nws bench submit`` and ``nws bench entries`` as a person sees them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.leaderboard.files.formats import interval_text, unit_of, value_text
from benchmarks.leaderboard.files.results import Result, ResultError, main_metric
from benchmarks.leaderboard.submission.entry import EntryError
from benchmarks.leaderboard.submission.fields import TEXTS
from benchmarks.leaderboard.submission.recheck import check_entry, has_data
from benchmarks.leaderboard.submission.submit import results_of, with_files, write_entry
from nws_data.terminal import align, plain, say

_ELSEWHERE = {"method": "how the board names it", "fit_seconds": "of one seed", "hardware": "'here', or where it ran"}
_DEFAULT = Path("nws")


def submit(options: argparse.Namespace) -> int:
    """Write an entry and say what to do with it; raises ``NWSError``, and nothing is written then."""
    told = [name for name in (*_ELSEWHERE, "parameters") if getattr(options, name) is not None]
    if options.results:
        if told:
            raise EntryError(f"--{told[0].replace('_', '-')} is of prediction files without result files; leave it away")
        found = with_files(options.results, options.predictions)
        results = [result for result, _ in found.values()]
        data = options.data or (_DEFAULT if all(has_data(result, _DEFAULT) for result in results) else None)
    else:
        missing = [f"--{n.replace('_', '-')} ({about})" for n, about in _ELSEWHERE.items() if getattr(options, n) is None]
        if not options.predictions or missing:
            needs = ", ".join([*([] if options.predictions else ["--predictions FILE..."]), *missing])
            raise EntryError(f"give result files of nws bench run; or of a method that ran elsewhere also {needs}")
        data = options.data or _DEFAULT
        own = {"method": options.method, "fit_s": options.fit_seconds, "n_parameters": options.parameters}
        found = results_of(options.predictions, data, hardware=options.hardware, **own)
        results = [result for result, _ in found.values()]
    name = options.name or results[0].method.replace(":", ".")
    texts = {field: getattr(options, field) for field in TEXTS}
    folder, checked = write_entry(found, texts, name, options.out, data)
    seen = f"checked on {data}" if data else "not checked on data: none here is of that digest, give it by --data"
    board = folder.parent.parent
    say("\n".join(_table(checked)))
    say(
        f"Entry: {folder}\n{seen}. Next: nws bench board {board}, commit {folder} and {board}/board.*, and open a pull "
        "request; docs/submitting.md says what is looked at there"
    )
    return 0


def entries(options: argparse.Namespace) -> int:
    """Check all entries of a folder and print how; returns 1 where one is refused, else 0."""
    good: list[tuple[Result, str]] = []
    refused: list[str] = []
    for path in sorted(path for path in options.folder.glob("*") if path.is_dir()):
        try:
            good += check_entry(path, options.data)
        except ResultError as error:
            refused.append(f"{path.name}: {error}")
    say("\n".join(_table(good)) if good else f"no sound entry in {options.folder}")
    for reason in refused:
        say(f"refused: {plain(reason)}", error=True)
    return 1 if refused else 0


def _table(checked: Sequence[tuple[Result, str]]) -> list[str]:
    rows = [["task", "method", "score [95 %]", "unit", "from"]]
    for result, how in checked:
        found, kind = main_metric(result), result.kind
        score = f"{value_text(found['mean'], kind)} {interval_text(found['low'], found['high'], kind)}"
        unit = "%" if kind == "classification" else unit_of(kind)
        rows.append([result.task + (" (folds)" if result.folds else ""), result.method, score, unit, how])
    return align(rows)
