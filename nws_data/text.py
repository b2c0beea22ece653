"""Texts that go into a dataset: what may be stored, shown in a terminal and put into a table."""

from __future__ import annotations

MAX_TEXT = 1_000
"""Characters of a text: names, sources of images, hosts."""


def check_text(value: object, what: str) -> str:
    """Return a text that can be stored, shown in a terminal and put into a table, or raise ``ValueError``."""
    if not isinstance(value, str) or len(value) > MAX_TEXT or not value.isprintable():
        shown = f"{value[:40]!r}" if isinstance(value, str) else type(value).__name__
        raise ValueError(f"{what} must be a text of at most {MAX_TEXT:,} printable characters, got {shown}")
    return value
