"""Contenders take turns, and a dead one ends the measurement."""

from __future__ import annotations

import json
import os
import signal

import pytest

from benchmarks.speed.alternate import Work, alternate, command_line, compared, show


def sound() -> Work:
    return lambda: None


def broken() -> Work:
    raise ValueError("no such card")


def killed() -> Work:
    return lambda: os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_every_contender_is_timed_in_every_round():
    resets: list[int] = []
    timings = alternate({"a": sound, "b": sound}, 2, lambda: resets.append(1))
    assert [len(seconds) for seconds in timings.values()] == [2, 2]
    assert len(resets) == 2 * (1 + 2)  # the warm-up, too


@pytest.mark.parametrize("contenders", [{"a": sound, "b": broken}, {"b": broken, "a": sound}])
def test_a_contender_that_fails_is_an_error_wherever_it_stands(contenders):
    with pytest.raises(RuntimeError, match="the contender 'b' ended in round 0 of 1: ValueError: no such card"):
        alternate(contenders, 1)


def test_a_process_that_dies_is_an_error():
    with pytest.raises(RuntimeError, match="the contender 'b' ended in round 0 of 1: BrokenProcessPool"):
        alternate({"a": sound, "b": killed}, 1)


def test_ratios_are_those_of_rounds():
    assert compared([2.0, 6.0, 3.0], [1.0, 2.0, 3.0]) == {"ratio": 2.0, "least": 1.0, "most": 3.0, "median_s": 2.0}


def test_options_are_checked(capsys):
    for text in ("0", "-1", "x"):
        with pytest.raises(SystemExit):
            command_line("").parse_args(["--rounds", text])
        assert "must be at least 1" in capsys.readouterr().err
    assert command_line("", 7).parse_args([]).rounds == 7


def test_rows_are_shown_as_a_table_or_as_json(capsys):
    rows = [{"reader": "a", "ratio": 0.91234, "bar": None}, {"reader": "b", "ratio": 1234.5, "bar": 2}]
    show(rows, as_json=True)
    assert json.loads(capsys.readouterr().out) == rows
    show(rows, as_json=False)
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["reader", "ratio", "bar"],
        ["a", "0.912", "-"],
        ["b", "1,234", "2"],
    ]
