"""Contenders take turns, and a dead one ends the measurement."""

from __future__ import annotations

import pytest

from benchmarks.speed.alternate import Work, alternate


def sound() -> Work:
    return lambda: None


def broken() -> Work:
    raise ValueError("no such card")


def test_every_contender_is_timed_in_every_round():
    timings = alternate({"a": sound, "b": sound}, 2)
    assert [len(timing.rounds_s) for timing in timings.values()] == [2, 2]


@pytest.mark.parametrize("contenders", [{"a": sound, "b": broken}, {"b": broken, "a": sound}])
def test_a_contender_that_dies_is_an_error_wherever_it_stands(contenders, capfd):
    with pytest.raises(RuntimeError, match="the contender 'b' ended in round 0 of 1"):
        alternate(contenders, 1)
    assert "no such card" in capfd.readouterr().err
