"""The board as one HTML page that needs nothing else: styles, script and charts are inside."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from itertools import groupby
from pathlib import Path

from benchmarks.leaderboard.board.charts import chart
from benchmarks.leaderboard.board.markup import Markup, element, joined
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
from benchmarks.leaderboard.files.results import Result

_HERE = Path(__file__).parent


def board_html(sections: Sequence[Section], results: Sequence[Result], recomputed: Collection[Path]) -> str:
    """Return the whole page; ``recomputed`` has the paths of results whose predictions were scored again."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", TITLE),
        element("style", Markup("\n" + (_HERE / "page.css").read_text(encoding="utf-8"))),
    )
    notes = (*NOTES, "Press a column's header to sort by it, once more to turn the order round.")
    body = [
        element("h1", TITLE),
        element("p", INTRODUCTION),
        element("details", element("summary", "How to read it"), element("ul", *(element("li", note) for note in notes))),
    ]
    for (population, digest), of_dataset in groupby(sections, key=lambda s: (s.population, s.data_digest)):
        body += [element("h2", f"Population {population}"), element("p", "Data digest ", element("code", digest))]
        body += [_status(status, list(found)) for status, found in groupby(of_dataset, key=lambda section: section.status)]
        runs = runs_table([result for result in results if result.data_digest == digest], recomputed)
        body += [element("h3", "All runs"), element("p", RUNS_NOTE), _table(runs, "all runs")]
    script = element("script", Markup("\n" + (_HERE / "page.js").read_text(encoding="utf-8")))
    parts = Markup("\n").join(body)
    return f"<!doctype html>\n{element('html', head, element('body', element('main', Markup(parts)), script), lang='en')}\n"


def _status(status: str, sections: Sequence[Section]) -> Markup:
    parts = [element("h3", STATUSES[status]), element("p", STATUS_NOTES[status])]
    for section in sections:
        title = section_title(section)
        parts.append(element("h4", title))
        parts.append(_table(scores_table(section), title))
        if section.kind == "classification":
            parts.append(chart(section))
        paired = differences_table(section)
        if paired.rows:
            parts += [element("p", DIFFERENCES_NOTE), _table(paired, f"paired differences, {title}")]
    return element("section", *parts, class_=status if status == "official" else f"{status} unofficial")


def _table(table: Table, label: str) -> Markup:
    heads = [
        element("th", element("button", _breakable(header), type="button"), scope="col", class_="text" if text else None)
        for header, text in zip(table.headers, table.is_text, strict=True)
    ]
    rows, apart = (
        [element("tr", _row_head(row[0]), *(_cell(cell) for cell in row[1:])) for row in part]
        for part in (table.rows, table.apart)
    )
    bodies = [element("tbody", *rows), *([element("tbody", *apart, class_="apart")] if apart else [])]
    content = element("table", element("thead", element("tr", *heads)), *bodies, class_="sortable")
    return element("div", content, class_="scroll", tabindex="0", role="region", aria_label=label)


def _breakable(text: str) -> Markup:
    """Return a text that may go on in a new line after each slash."""
    return Markup(element("wbr").join(map(joined, re.split("(?<=/)", text))))


def _row_head(cell: TableCell) -> Markup:
    return element("th", _breakable(cell.text), scope="row", data_sort=cell.sort)


def _cell(cell: TableCell) -> Markup:
    small = element("small", cell.small) if cell.small else Markup("")
    name = " ".join(filter(None, [cell.mark, "text" if isinstance(cell.sort, str) else ""]))
    return element("td", joined(cell.text, small), data_sort=cell.sort, class_=name or None)
