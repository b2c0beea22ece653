"""What the commands print: nothing of a file raw, lines of the terminal's width, columns that align."""

from __future__ import annotations

import pytest

from nws_data.terminal import align, fold, plain, say


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[8mhidden\x1b[0m", r"\x1b[8mhidden\x1b[0m"),
        ("a\x00\x07\x08\r\x7f\x9b", r"a\x00\x07\x08\r\x7f\x9b"),
        ("\u202egnp.exe\u2066\u2069\u200f", r"\u202egnp.exe\u2066\u2069\u200f"),
        ("\udcff \ud800", r"\udcff \ud800"),
        ("a\nnws: all is well\tb", r"a\nnws: all is well\tb"),
        ("Müller, 数据, 🙂, 5 µm, it's", "Müller, 数据, 🙂, 5 µm, it's"),
    ],
)
def test_what_commands_a_terminal_is_spelt_out(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_say_keeps_its_own_lines_alone(capsys: pytest.CaptureFixture[str]) -> None:
    say("a\n\tb\x1b[2J")
    say("c\u202e", error=True)
    assert capsys.readouterr() == ("a\n\tb\\x1b[2J\n", "c\\u202e\n")


def test_columns_align() -> None:
    rows = [["name", "n"], ["a", "1,000"], ["long one", "5"], ["b\n\x1b", ""]]
    assert align(rows) == ["name          n", "a         1,000", "long one      5", r"b\n\x1b"]


def test_long_lines_are_folded_between_words() -> None:
    text = "short\n  problem: one two three four\nkey    adam: 1, momentum: 2, rmsprop: 3\n" + "x" * 30
    assert fold(text, 20) == (
        "short\n  problem: one two\n    three four\nkey    adam: 1,\n       momentum: 2,\n       rmsprop: 3\n" + "x" * 30
    )
