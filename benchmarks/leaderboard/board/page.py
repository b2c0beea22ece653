"""The board as one HTML page that needs nothing else: styles, script and charts are inside."""

from __future__ import annotations

from collections.abc import Sequence
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


def board_html(sections: Sequence[Section], results: Sequence[Result]) -> str:
    """Return the whole page."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", TITLE),
        element("style", Markup("\n" + (_HERE / "page.css").read_text(encoding="utf-8"))),
    )
    body = [
        element("h1", TITLE),
        element("p", INTRODUCTION),
        element("ul", *(element("li", note) for note in NOTES), class_="notes"),
        element("p", "Press a column's header to sort by it, once more to turn the order round."),
    ]
    for (population, digest), of_dataset in groupby(sections, key=lambda s: (s.population, s.data_digest)):
        body += [element("h2", f"Population {population}"), element("p", "Data digest ", element("code", digest))]
        body += [_status(status, list(found)) for status, found in groupby(of_dataset, key=lambda section: section.status)]
        runs = runs_table([result for result in results if result.data_digest == digest])
        body += [element("h3", "All runs"), element("p", RUNS_NOTE), _table(runs, "all runs")]
    script = element("script", Markup("\n" + (_HERE / "page.js").read_text(encoding="utf-8")))
    parts = Markup("\n").join(body)
    return f"<!doctype html>\n{element('html', head, element('body', element('main', Markup(parts)), script), lang='en')}\n"


def _status(status: str, sections: Sequence[Section]) -> Markup:
    parts = [element("h3", STATUSES[status]), element("p", STATUS_NOTES[status])]
    for section in sections:
        title = section_title(section)
        parts.append(element("h4", title))
        if section.kind == "classification":
            parts.append(chart(section))
        parts.append(_table(scores_table(section), title))
        paired = differences_table(section)
        if paired.rows:
            parts += [element("p", DIFFERENCES_NOTE), _table(paired, f"paired differences, {title}")]
    return element("section", *parts, class_=status if status == "official" else f"{status} unofficial")


def _table(table: Table, label: str) -> Markup:
    is_text = [isinstance(cell.sort, str) for cell in table.rows[0]]
    heads = [
        element("th", element("button", header, type="button"), scope="col", class_="text" if text else None)
        for header, text in zip(table.headers, is_text, strict=True)
    ]
    rows = [element("tr", _row_head(row[0]), *(_cell(cell) for cell in row[1:])) for row in table.rows]
    content = element("table", element("thead", element("tr", *heads)), element("tbody", *rows), class_="sortable")
    return element("div", content, class_="scroll", tabindex="0", role="region", aria_label=label)


def _row_head(cell: TableCell) -> Markup:
    return element("th", cell.text, scope="row", data_sort=cell.sort)


def _cell(cell: TableCell) -> Markup:
    small = element("small", cell.small) if cell.small else Markup("")
    name = " ".join(filter(None, [cell.mark, "text" if isinstance(cell.sort, str) else ""]))
    return element("td", joined(cell.text, small), data_sort=cell.sort, class_=name or None)
