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
    """Return JSON with one field a line; plain values of a list stand in lines of about 120 characters.

    Raises ``ValueError`` for NaN and infinity, which JSON has no word for.
    """
    inner, outer = " " * (indent + 1), " " * indent
    if isinstance(value, Mapping) and value:
        lines = [f"{inner}{_plain(str(key))}: {readable(item, indent + 1)}" for key, item in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{outer}}}"
    if not isinstance(value, list | tuple) or not value:
        return _plain(value)
    if any(isinstance(item, Mapping | list | tuple) for item in value):
        return "[\n" + ",\n".join(inner + readable(item, indent + 1) for item in value) + f"\n{outer}]"
    items = [_plain(item) for item in value]
    n = max(1, (WIDTH - len(inner)) // (max(map(len, items)) + 2))
    lines = [", ".join(items[i : i + n]) for i in range(0, len(items), n)]
    return f"[{lines[0]}]" if len(lines) == 1 else f"[\n{inner}" + f",\n{inner}".join(lines) + f"\n{outer}]"


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
        if json.dumps(found) == json.dumps(expected):  # nearly all are equal, and this is the fast way to see it
            return None
        if len(found) != len(expected):
            return f"{path} has {len(found)} entries, {len(expected)} expected"
        pairs = enumerate(zip(found, expected, strict=True))
        return next((below for i, (a, b) in pairs if (below := difference(a, b, f"{path}[{i}]", source))), None)
    return None if _same(found, expected) else f"{path} is {found!r}, but {expected!r} follows from {source}"


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, bool) or isinstance(b, bool) or not (isinstance(a, int | float) and isinstance(b, int | float)):
        return type(a) is type(b) and bool(a == b)
    return abs(a - b) <= _TOLERANCE * max(1.0, abs(a), abs(b))
