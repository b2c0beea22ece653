"""The board as Markdown: the tables of the page, for people who read it in a repository."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

from benchmarks.leaderboard.board.standings import Section
from benchmarks.leaderboard.board.tables import Table, TableCell, differences_table, runs_table, scores_table
from benchmarks.leaderboard.board.words import (
    DIFFERENCES_NOTE,
    INTRODUCTION,
    NOTES,
    RUNS_NOTE,
    STATUS_NOTES,
    STATUSES,
    TITLE,
    section_title,
)
from benchmarks.leaderboard.files.checks import CONTROL
from benchmarks.leaderboard.files.results import Result


def board_markdown(sections: Sequence[Section], results: Sequence[Result]) -> str:
    """Return the whole board."""
    lines = [f"# {TITLE}", "", INTRODUCTION, "", *(f"- {note}" for note in NOTES), ""]
    for (population, digest), of_dataset in groupby(sections, key=lambda s: (s.population, s.data_digest)):
        lines += [f"## Population {population}", "", f"Data digest `{digest}`", ""]
        for status, found in groupby(of_dataset, key=lambda section: section.status):
            lines += [f"### {STATUSES[status]}", "", STATUS_NOTES[status], ""]
            lines += [line for section in found for line in _section(section)]
        runs = runs_table([result for result in results if result.data_digest == digest])
        lines += ["### All runs", "", RUNS_NOTE, "", *_table(runs), ""]
    return "\n".join(lines)


def _section(section: Section) -> list[str]:
    lines = [f"#### {section_title(section)}", "", *_table(scores_table(section)), ""]
    paired = differences_table(section)
    return [*lines, DIFFERENCES_NOTE, "", *_table(paired), ""] if paired.rows else lines


def _table(table: Table) -> list[str]:
    align = ["---" if isinstance(cell.sort, str) else "---:" for cell in table.rows[0]]
    rows = [[_escape(header) for header in table.headers], align, *([_cell(cell) for cell in row] for row in table.rows)]
    return [f"| {' | '.join(row)} |" for row in rows]


def _cell(cell: TableCell) -> str:
    text = _escape(cell.text)
    text = f"**{text}**" if cell.mark else text
    return f"{text} {_escape(cell.small)}" if cell.small else text


def _escape(text: str) -> str:
    """Keep a text from being taken for markup, ending its cell or turning the direction of writing."""
    return CONTROL.sub(" ", re.sub(r"([\\`*_<>|\[\]])", r"\\\1", text))
