"""The board as Markdown: the tables of the page, for people who read it in a repository."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from itertools import groupby
from pathlib import Path

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


def board_markdown(sections: Sequence[Section], results: Sequence[Result], recomputed: Collection[Path]) -> str:
    """Return the whole board; ``recomputed`` has the paths of results whose predictions were scored again."""
    lines = [f"# {TITLE}", "", INTRODUCTION, "", *(f"- {note}" for note in NOTES), ""]
    for (population, digest), of_dataset in groupby(sections, key=lambda s: (s.population, s.data_digest)):
        lines += [f"## Population {population}", "", f"Data digest `{digest}`", ""]
        for status, found in groupby(of_dataset, key=lambda section: section.status):
            lines += [f"### {STATUSES[status]}", "", STATUS_NOTES[status], ""]
            lines += [line for section in found for line in _section(section)]
        runs = runs_table([result for result in results if result.data_digest == digest], recomputed)
        lines += ["### All runs", "", RUNS_NOTE, "", *_table(runs), ""]
    return "\n".join(lines)


def _section(section: Section) -> list[str]:
    lines = [f"#### {section_title(section)}", "", *_table(scores_table(section)), ""]
    paired = differences_table(section)
    return [*lines, DIFFERENCES_NOTE, "", *_table(paired), ""] if paired.rows else lines


def _table(table: Table) -> list[str]:
    align = ["---" if text else "---:" for text in table.is_text]
    cells = ([_cell(cell) for cell in row] for row in (*table.rows, *table.apart))
    rows = [[_escape(header) for header in table.headers], align, *cells]
    return [f"| {' | '.join(row)} |" for row in rows]


def _cell(cell: TableCell) -> str:
    text = _escape(cell.text)
    text = f"**{text}**" if cell.mark else text
    return f"{text} {_escape(cell.small)}" if cell.small else text


_PLAIN = re.compile(r"(?:\w|[ ,%±()\[\]+=:\N{EN DASH}\N{MINUS SIGN}²-]|\.(?!\w*[^\W\d])|/(?!/))*")
"""Texts without markup, mentions and links: no point before a word with letters, no two slashes."""


def _escape(text: str) -> str:
    """Keep a text from being taken for markup, a link or a mention, and from ending its cell or turning the writing round.

    What is not plain becomes code, in which nothing is read as markup; what would end the code becomes ``?``.
    """
    if _PLAIN.fullmatch(text):
        return re.sub(r"([_\[\]])", r"\\\1", text)
    shown = re.sub(r"[`|\\]", "?", CONTROL.sub(" ", text))
    return f"`{shown}`"
