"""Choice of cases: every two values that meet in some case meet in a chosen one (or each is in one), with far fewer."""

from __future__ import annotations

import itertools
from collections.abc import Iterable


def all_pairs(cases: Iterable[tuple]) -> list[tuple]:
    """Return cases that hold, at every two positions, each pair of values that the cases hold there; the same each time."""
    return _covering(cases, 2)


def all_values(cases: Iterable[tuple]) -> list[tuple]:
    """Return cases that hold, at every position, each value the cases hold there: a small sample; the same each time."""
    return _covering(cases, 1)


def _covering(cases: Iterable[tuple], n: int) -> list[tuple]:
    """Return cases that hold at every n positions what the cases hold there together."""
    cases = list(cases)
    parts = {case: set(itertools.combinations(enumerate(case), n)) for case in cases}
    left = set().union(*parts.values())
    chosen = []
    while left:
        chosen.append(max(cases, key=lambda case: len(left & parts[case])))  # the first of equals
        left -= parts[chosen[-1]]
    return chosen
