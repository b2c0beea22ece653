"""``nws bench board``: from a folder of result files to board.md and board.html. The same files give the same bytes."""

from __future__ import annotations

from pathlib import Path

from benchmarks.leaderboard.board.markdown import board_markdown
from benchmarks.leaderboard.board.page import board_html
from benchmarks.leaderboard.board.standings import arrange
from benchmarks.leaderboard.files.against_data import check_against_data, recompute
from benchmarks.leaderboard.files.collection import read_results, refuse
from benchmarks.leaderboard.files.results import Result, ResultError
from nws_data.atomic import write_bytes

MARKDOWN, HTML = "board.md", "board.html"


def write_board(results: Path, out: Path, data: Path | None = None, predictions: Path | None = None) -> list[Result]:
    """Check all result files and write the board; returns what stands on it.

    Args:
        results: folder of result files, searched in depth.
        out: folder for board.md and board.html.
        data: the dataset, to derive what each task tests on again.
        predictions: folder of prediction files, to score them again on ``data``.

    Raises:
        ResultError: files that are refused, each with its reason, or predictions without data; nothing is written.
        FormatError: ``data`` is no dataset.
    """
    if predictions is not None and data is None:
        raise ResultError("--predictions are scored on the dataset they were made on: name its folder by --data")
    found = read_results(results)
    recomputed = set() if data is None else _check_all(found, results, data, predictions)
    standing = [result for _, result in found]
    sections = arrange(standing)
    pages = {MARKDOWN: board_markdown(sections, standing, recomputed), HTML: board_html(sections, standing, recomputed)}
    for name, text in pages.items():
        write_bytes(out / name, text.encode())
    return standing


def _check_all(found: list[tuple[Path, Result]], folder: Path, data: Path, predictions: Path | None) -> set[Path]:
    """Return the paths of those results that were computed again from predictions; raises ``ResultError``."""
    refused, recomputed = [], set()
    for path, result in found:
        try:
            check_against_data(result, data)
            if predictions is not None and recompute(result, data, predictions):
                recomputed.add(result.path)
        except ResultError as error:
            refused.append(f"{path.relative_to(folder)}: {error}")
    refuse(folder, refused)
    return recomputed
