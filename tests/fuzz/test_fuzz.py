import pytest

from tests.fuzz.fuzz import fuzz


@pytest.mark.slow
def test_100_mutants_are_refused_or_read_as_they_are() -> None:
    assert fuzz(100) == []


@pytest.mark.long
@pytest.mark.parametrize("first", range(0, 5000, 500))
def test_5000_mutants_are_refused_or_read_as_they_are(first: int) -> None:
    assert fuzz(first + 500, seed=1, first=first) == []
