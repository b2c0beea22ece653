"""``nws bench submit`` and ``nws bench entries`` as a person sees them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.leaderboard.files.formats import interval_text, unit_of, value_text
from benchmarks.leaderboard.files.results import main_metric
from benchmarks.leaderboard.submission.entry import EntryError
from benchmarks.leaderboard.submission.fields import TEXTS
from benchmarks.leaderboard.submission.recheck import Checked, check_entry, has_data
from benchmarks.leaderboard.submission.submit import Told, results_of, with_files, write_entry
from nws_data.terminal import align, plain, say, say_json

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
        of_method = Told(
            method=options.method, fit_s=options.fit_seconds, hardware=options.hardware, n_parameters=options.parameters
        )
        found = results_of(options.predictions, of_method, data)
        results = [result for result, _ in found.values()]
    name = options.name or results[0].method.replace(":", ".")
    texts = {field: getattr(options, field) for field in TEXTS}
    folder, checked = write_entry(found, texts, name, options.out, data)
    if options.json:
        say_json({"entry": str(folder), "results": [_as_json(one) for one in checked]})
        return 0
    say("\n".join(_table(checked)))
    say(f"Entry: {folder}\n{_next(folder, data)}")
    return 0


def _next(folder: Path, data: Path | None) -> str:
    seen = f"checked on {data}" if data else "not checked on data: none here is of that digest, give it by --data"
    board = folder.parent.parent
    return (
        f"{seen}. Next: nws bench board {board}, commit {folder} and {board}/board.*, and open a pull request; "
        "docs/submitting.md says what is looked at there"
    )


def entries(folder: Path, data: Path | None, as_json: bool) -> int:
    """Check all entries of a folder and print how; returns 1 where one is refused, else 0."""
    good: list[tuple[str, Checked]] = []
    refused: dict[str, str] = {}
    for path in sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else ():
        try:
            good += [(path.name, one) for one in check_entry(path, data)]
        except EntryError as error:
            refused[path.name] = str(error)
    if as_json:
        say_json({"results": [{"entry": name} | _as_json(one) for name, one in good], "refused": refused})
        return 1 if refused else 0
    say("\n".join(_table([one for _, one in good])) if good else f"no sound entry in {folder}")
    for name, reason in refused.items():
        say(f"refused: {plain(name)}: {plain(reason)}", error=True)
    return 1 if refused else 0


def _table(checked: Sequence[Checked]) -> list[str]:
    rows = [["task", "method", "score [95 %]", "unit", "from"]]
    for result, how in ((one.result, one.how) for one in checked):
        found, kind = main_metric(result), result.kind
        score = f"{value_text(found['mean'], kind)} {interval_text(found['low'], found['high'], kind)}"
        unit = "%" if kind == "classification" else unit_of(kind)
        rows.append([result.task + (" (folds)" if result.folds else ""), result.method, score, unit, how])
    return align(rows)


def _as_json(one: Checked) -> dict[str, Any]:
    result = one.result
    about = {"task": result.task, "folds": result.folds, "method": result.method, "official": result.official}
    about |= {"data_digest": result.data_digest, "summary": result.summary, "from_predictions": result.from_predictions}
    return about | {"checked": one.how, "on_data": one.on_data}
