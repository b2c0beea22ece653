"""What somebody sees in a terminal of 80 columns: results, and nothing of the bars that were there meanwhile."""

from __future__ import annotations

import fcntl
import itertools
import os
import pty
import re
import select
import struct
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from builders.run.messages import Finished, Progress
from builders.run.progress import BuildProgress
from nws_data.cli import main
from tests.conftest import TinyDataset
from tests.processes import Process

COLUMNS = 80
_PIECES = re.compile(r"\x1b\[(\d*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)|(.)", re.DOTALL)


class Screen:
    """A terminal that knows what bars use: return, newline, cursor up. Anything else that commands one is an error."""

    def __init__(self) -> None:
        self.lines: list[str] = [""]
        self._row = self._column = 0

    def write(self, text: str) -> None:
        for count, command, control, written, other in _PIECES.findall(text):
            if other or (command and command != "A"):
                raise AssertionError(f"raw control sequence: {other or command!r}")
            if command:
                self._row = max(0, self._row - int(count or 1))
            elif control == "\r":
                self._column = 0
            elif control:
                self._row += 1
                self.lines += [""] * (self._row + 1 - len(self.lines))
            else:
                line = self.lines[self._row].ljust(self._column)
                self.lines[self._row] = line[: self._column] + written + line[self._column + len(written) :]
                self._column += len(written)
                assert self._column <= COLUMNS, f"wider than the terminal: {self.lines[self._row]!r}"

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.lines).rstrip("\n")


def in_terminal(target: Callable[..., int | None], *arguments: object, status: int = 0) -> tuple[str, str]:
    """Run a function in a terminal of 80 columns; return what its screen shows in the end, and all that was written."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    process = Process(target, *arguments, environment=environment, output=Path(os.ttyname(theirs)))
    written = b""
    while ours in select.select([ours, process.sentinel], [], [])[0]:
        written += os.read(ours, 65536)
    os.close(ours)
    os.close(theirs)
    text = written.decode()
    assert process.wait(60) == status, text
    screen = Screen()
    screen.write(text)
    return screen.text, text


def nws(*arguments: str | Path, status: int = 0) -> tuple[str, str]:
    return in_terminal(main, [str(word) for word in arguments], status=status)


@pytest.fixture
def root(tiny_dataset: TinyDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small dataset under a short name, in the working folder."""
    (tmp_path / "nws").symlink_to(tiny_dataset.root)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    monkeypatch.chdir(tmp_path)
    return Path("nws")


def test_the_screen_of_this_test() -> None:
    screen = Screen()
    screen.write("one\r\n 10%\n\r 50%\r    \r\x1b[A    \rtwo\r\nthree\r")
    assert screen.text == "one\ntwo\nthree"
    for text in ("x" * 81, "\x1b[8m", "\x1b]0;title"):
        with pytest.raises(AssertionError):
            Screen().write(text)


def test_verify(root: Path) -> None:
    shown, written = nws("verify", root)
    assert shown == "nws: sound (32 trainings, 100.6 MB, every byte checked)"
    assert re.search(r"%  ?█* *▏?.*B/.*, fixed/t", written)  # the bar has room, and says what is read


def test_info(root: Path) -> None:
    shown, _ = nws("info", root)
    assert shown.startswith("32 trainings, 640 snapshots, 100.6 MB of weights\n")
    assert "\ninitialization  constant: 8, glorot_normal: 3, glorot_uniform: 2, random_normal: 11\n" not in shown
    assert "\ninitialization  constant: 8," in shown and "\n                random_normal: 11\n" in shown


def test_tasks(root: Path) -> None:
    shown, _ = nws("tasks", root)
    lines = shown.splitlines()
    assert lines[1].split() == ["regress-local/test_accuracy", "10", "4", "9"]
    assert "  50  train needs 5 a class" in lines and len(lines) < 24


@pytest.mark.slow
def test_plan(root: Path) -> None:
    images = ("--images", "mnist", "fashion_mnist")
    shown, _ = nws("plan", "--population", "random", "--trainings", "150", *images, "--no-calibrate", "--out", "new")
    assert re.search(r"^random +150 +0 +1\.[23]\de\+16 +1\.5 +12$", shown, re.MULTILINE)
    assert re.search(r"\ntime of \d+ workers?: not calibrated", shown)


@pytest.mark.slow
def test_bench_run(root: Path) -> None:
    task = "regress-local/test_accuracy"
    methods = ("majority", "ridge-16", "dmc")
    options = ("--seeds", "1", "--option", "epochs=2", "snapshots_per_epoch=1", "--out", "r")
    shown, written = nws("bench", "run", "--task", task, "--method", *methods, *options)
    assert "features" in written and " fits " in written
    assert "dmc " in written and " steps, " in written and "steps" not in shown
    lines = [re.sub(r": .* R².*", "", line) for line in shown.splitlines() if not line.startswith("  ")]
    assert lines == [*(f"{task}, {method}" for method in methods), "3 of 3 runs are in r. Next: nws bench board r"]


@pytest.mark.slow
def test_refused_results_stand_one_below_the_other(root: Path) -> None:
    for name in ("a\nb", "c"):
        Path("results", f"{name}.json").parent.mkdir(exist_ok=True)
        Path("results", f"{name}.json").write_text("{}")
    shown, _ = nws("bench", "board", "results", status=2)
    first, *rest = (line for line in shown.splitlines() if not line.startswith("    "))
    assert first == "nws: results: 2 result files refused, no board written"
    assert [line.split(":")[0] for line in rest] == [r"  a\nb.json", "  c.json"]


def test_an_error_that_holds_what_a_file_says(root: Path, tmp_path: Path) -> None:
    shown, _ = nws("info", "no\x1b[2J\u202efolder", status=2)
    assert r"no\x1b[2J\u202efolder" in shown


def _build() -> None:
    seconds = itertools.count(0, 20)
    time.monotonic = lambda: float(next(seconds))
    with BuildProgress("random", {f"random-{i:06}": 1e11 for i in range(11_000)}, 1_234, 1000) as progress:
        for i in range(9):
            progress.report(Progress(2_469_134, 2.8e12))
            progress.report(Finished(f"random-{i:06}", 60))
        progress.report("a worker died")
        progress._bar.refresh()
    print("done")


@pytest.mark.slow
def test_build_shows_the_time_left(root: Path) -> None:
    shown, written = in_terminal(_build)
    assert shown == "random: a worker died\ndone"
    assert re.search(r"random █.* 1243/12234 in 00:0\d, \d d \d+ h left, 123,457 images x models/s\r", written)
