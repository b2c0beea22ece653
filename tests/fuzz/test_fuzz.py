"""Mutants of a dataset; which they are is fixed by the seed."""

import pytest

from tests.fuzz.fuzz import fuzz


def test_hostile_datasets() -> None:
    assert fuzz(200) == []


@pytest.mark.slow
def test_many_hostile_datasets() -> None:
    assert fuzz(500, seed=1) == []
