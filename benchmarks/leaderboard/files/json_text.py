"""JSON of result files: text whose diff a person can read, and the digest that does not depend on its layout."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from nws_data.hashing import sha256_of

WIDTH = 120
_TOLERANCE = 1e-9
"""Relative and absolute: other machines add floats in another order."""


def readable(value: Any, indent: int = 0) -> str:
    """Return JSON with one field a line; lists of plain values fill lines of at most 120 characters.

    Raises ``ValueError`` for NaN and infinity, which JSON has no word for.
    """
    inner, outer = " " * (indent + 1), " " * indent
    if isinstance(value, Mapping) and value:
        lines = [f"{inner}{_plain(str(key))}: {readable(item, indent + 1)}" for key, item in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{outer}}}"
    if isinstance(value, list | tuple) and value:
        if any(isinstance(item, Mapping | list | tuple) for item in value):
            lines = [inner + readable(item, indent + 1) for item in value]
            return "[\n" + ",\n".join(lines) + f"\n{outer}]"
        return _filled([_plain(item) for item in value], inner, outer)
    return _plain(value)


def _filled(items: list[str], inner: str, outer: str) -> str:
    one_line = f"[{', '.join(items)}]"
    if len(inner) + len(one_line) <= WIDTH:
        return one_line
    lines, line = [], inner + items[0]
    for item in items[1:]:
        if len(line) + len(item) + 2 > WIDTH:
            lines.append(line + ",")
            line = inner + item
        else:
            line += f", {item}"
    return "[\n" + "\n".join([*lines, line]) + f"\n{outer}]"


def _plain(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def digest(content: Mapping[str, Any]) -> str:
    """Return SHA-256 in hex over the canonical JSON of all fields but ``sha256``: sorted keys, no spaces."""
    rest = {key: value for key, value in content.items() if key != "sha256"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return sha256_of(text.encode())


def difference(found: Any, expected: Any, path: str = "", source: str = "the rest of the file") -> str | None:
    """Return the first place where two JSON values differ, in words; None where they agree, floats to 1e-9.

    ``source`` says where the expected values come from.
    """
    if isinstance(found, Mapping) and isinstance(expected, Mapping):
        for key in [*found, *expected]:
            place = f"{path}.{key}" if path else str(key)
            if key not in expected:
                return f"unknown field {place}"
            if key not in found:
                return f"field {place} is missing"
            if below := difference(found[key], expected[key], place, source):
                return below
        return None
    if isinstance(found, list | tuple) and isinstance(expected, list | tuple):
        if len(found) != len(expected):
            return f"{path} has {len(found)} entries, {len(expected)} expected"
        pairs = enumerate(zip(found, expected, strict=True))
        return next((below for i, (a, b) in pairs if (below := difference(a, b, f"{path}[{i}]", source))), None)
    return None if _same(found, expected) else f"{path} is {found!r}, but {expected!r} follows from {source}"


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, bool) or isinstance(b, bool) or not (isinstance(a, int | float) and isinstance(b, int | float)):
        return type(a) is type(b) and bool(a == b)
    return abs(a - b) <= _TOLERANCE * max(1.0, abs(a), abs(b))
