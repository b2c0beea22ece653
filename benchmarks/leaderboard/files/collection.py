"""All result files of a folder, each checked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.leaderboard.files.json_text import difference
from benchmarks.leaderboard.files.results import Result, ResultError


def read_results(folder: Path) -> list[tuple[Path, Result]]:
    """Read every result file under a folder, sorted by path.

    Raises:
        ResultError: no folder, no files, or files that are refused, each with its reason.
    """
    paths = result_paths(folder)
    if not paths:
        raise ResultError(f"{folder}: no result files (*.json); make some with nws bench run --out {folder}")
    found: list[tuple[Path, Result]] = []
    refused: list[str] = []
    first: dict[Path, Path] = {}
    tests: dict[tuple[str, int, str], Result] = {}
    for path in paths:
        try:
            result = Result.load(path)
            if result.path in first:
                raise ResultError(f"the same run as {first[result.path].relative_to(folder)}; remove one of the two")
            tested = tests.setdefault((result.task, result.folds, result.data_digest), result)
            if odd := difference(result.test, tested.test, "test", f"{first.get(tested.path, path).relative_to(folder)}"):
                raise ResultError(f"tested on something else than others on this task: {odd}")
        except ResultError as error:
            refused.append(f"{path.relative_to(folder)}: {error}")
            continue
        first[result.path] = path
        found.append((path, result))
    refuse(folder, refused)
    return found


def result_paths(folder: Path) -> list[Path]:
    """Return all JSON files under a folder, hidden ones left out, sorted."""
    paths = (path for path in folder.rglob("*.json") if path.is_file())
    return sorted(p for p in paths if not any(part.startswith(".") for part in p.relative_to(folder).parts))


def refuse(folder: Path, reasons: Sequence[str]) -> None:
    """Raise ``ResultError`` with the reasons as its notes, if there are any."""
    if reasons:
        n = len(reasons)
        error = ResultError(f"{folder}: {n} result file{'' if n == 1 else 's'} refused, no board written")
        for reason in reasons:
            error.add_note(f"  {reason}")
        raise error
