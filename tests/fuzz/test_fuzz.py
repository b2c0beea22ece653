"""Mutants of a dataset; which they are is fixed by the seed."""

from tests.fuzz.fuzz import fuzz


def test_hostile_datasets() -> None:
    assert fuzz(200, first=100) == []
