"""What the commands print: what a file says never reaches a terminal raw, and lines fit the terminal's width."""

from __future__ import annotations

import json
import re
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import Any

_TOGETHER = re.compile(r"(?<=:) |(?<=\d) (?=[a-zA-Z%]{1,3}(?!\w))")  # `adam: 3`, `10 s`
_FIRST_COLUMN = re.compile(r"\s*\S+(?: \S+)*\s{2,}(?=\S)")


def plain(text: str, keep: str = "") -> str:
    r"""Return text with what commands a terminal, or cannot be seen, spelt out as ``\x1b``; ``keep`` stays as it is."""
    return "".join(c if c.isprintable() or c in keep else ascii(c)[1:-1] for c in text)


def say(text: str, *, error: bool = False) -> None:
    """Print lines to stdout, or to stderr, above the progress bars; what commands a terminal is spelt out.

    Newlines and tabs are the caller's: text of a file that may hold some goes through :func:`plain` or :func:`align` first.
    In a terminal long lines are folded between words; elsewhere they stay whole.
    """
    stream = sys.stderr if error else sys.stdout
    text = plain(text, keep="\n\t")
    if stream.isatty():
        text = fold(text, shutil.get_terminal_size().columns)
    bars = sys.modules.get("tqdm.auto")  # None: no bar was ever shown
    write = bars.tqdm.write if bars else print
    write(text, file=stream)
    stream.flush()


def say_json(values: Any) -> None:
    """Print values as JSON, which is ASCII."""
    print(json.dumps(values, indent=1), flush=True)


def fold(text: str, width: int) -> str:
    """Break lines longer than ``width`` between words; the rest is indented, under the second column where there is one."""
    lines = text.split("\n")
    for i, line in enumerate(lines):
        if len(line) > width:
            column = _FIRST_COLUMN.match(line)
            indent = len(column[0]) if column and len(column[0]) <= width // 2 else len(line) - len(line.lstrip()) + 2
            form: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
            glued = textwrap.fill(_TOGETHER.sub("\xa0", line), width, subsequent_indent=" " * indent, **form)
            lines[i] = glued.replace("\xa0", " ")
    return "\n".join(lines)


def align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows as lines of aligned columns, numbers to the right."""
    rows = [[plain(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    right = [all(row[i][:1] in "-0123456789" for row in rows[1:]) for i in range(len(widths))]
    lines = []
    for row in rows:
        cells = zip(row, widths, right, strict=True)
        lines.append("  ".join(c.rjust(width) if r else c.ljust(width) for c, width, r in cells).rstrip())
    return lines
