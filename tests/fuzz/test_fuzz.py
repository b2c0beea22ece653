import pytest

from tests.fuzz.fuzz import fuzz


def test_200_mutants_are_refused_or_read_as_they_are() -> None:
    assert fuzz(200) == []


@pytest.mark.slow
@pytest.mark.parametrize("first", [0, 250])
def test_500_mutants_of_another_seed(first: int) -> None:
    assert fuzz(first + 250, seed=1, first=first) == []


@pytest.mark.long
@pytest.mark.parametrize("first", range(500, 5000, 750))
def test_5000_mutants_are_refused_or_read_as_they_are(first: int) -> None:
    assert fuzz(first + 750, seed=1, first=first) == []
