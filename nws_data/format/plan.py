"""Comparing plans: what a population was built with, and what is asked for now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def plan_differences(known: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """Return a sentence part for each difference between two plans of FORMAT.md, empty when they are equal.

    Image sets are named; a digest alone would tell a person nothing.
    """
    keys = [key for key in sorted({*known, *asked}) if known.get(key) != asked.get(key)]
    return [
        _image_sets(known.get(key), asked.get(key))
        if key == "image_sets"
        else f"{key} was {known.get(key)!r}, now {asked.get(key)!r}"
        for key in keys
    ]


def _image_sets(known: Any, asked: Any) -> str:
    try:
        before, now = dict(known), dict(asked)
    except (TypeError, ValueError):
        return f"image_sets was {known!r}, now {asked!r}"
    if list(before) != list(now):
        return f"the image sets were {', '.join(before)}, now {', '.join(now)} (their order counts)"
    changed = [name for name in before if before[name] != now[name]]
    return f"the images of {', '.join(changed)} are others (another file, --train-images or --test-images?)"
