"""The choice of cases covers all pairs or values, and no more than needed by much."""

from __future__ import annotations

import itertools

from tests.pairs import all_pairs, all_values


def test_every_pair_is_in_a_chosen_case():
    cases = list(itertools.product("abcd", range(3), "xyzw"))
    chosen = all_pairs(cases)
    assert 16 <= len(chosen) <= 20 and set(chosen) <= set(cases)
    for i, j in itertools.combinations(range(3), 2):
        assert {(case[i], case[j]) for case in chosen} == {(case[i], case[j]) for case in cases}


def test_pairs_that_no_case_holds_are_not_asked_for():
    assert all_pairs([("a", 1), ("b", 2)]) == [("a", 1), ("b", 2)]
    assert all_pairs([]) == []


def test_every_value_is_in_a_chosen_case():
    chosen = all_values(itertools.product("ab", range(3), "xyzw"))
    assert len(chosen) == 4 and [len({case[i] for case in chosen}) for i in range(3)] == [2, 3, 4]
