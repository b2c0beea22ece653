"""All-pairs choice of cases: every two values that meet in some case meet in a chosen one, with far fewer cases."""

from __future__ import annotations

import itertools
from collections.abc import Iterable


def all_pairs(cases: Iterable[tuple]) -> list[tuple]:
    """Return cases that hold, at every two positions, each pair of values that the cases hold there; the same each time."""
    cases = list(cases)
    left = {pair for case in cases for pair in _pairs(case)}
    chosen = []
    while left:
        chosen.append(max(cases, key=lambda case: len(left & _pairs(case))))  # the first of equals
        left -= _pairs(chosen[-1])
    return chosen


def _pairs(case: tuple) -> set[tuple]:
    return set(itertools.combinations(enumerate(case), 2))
