"""Mutants of a dataset; which they are is fixed by the seed."""

import pytest

from tests.fuzz.fuzz import fuzz


def test_hostile_datasets() -> None:
    assert fuzz(200) == []


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 5000, 1250))
def test_many_hostile_datasets(first: int) -> None:
    assert fuzz(first + 1250, seed=1, first=first) == []
