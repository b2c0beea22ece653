"""``nws info`` and ``nws verify`` as a person runs them, and what holds for all commands."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from nws_data.cli import main
from tests.conftest import TinyDataset
from tests.fuzz.mutants import copy
from tests.processes import python

SHARD = "weights/fixed/test-00000.safetensors"


@pytest.fixture
def root(tiny_dataset: TinyDataset, tmp_path: Path) -> Path:
    """A copy to damage; its shards are links."""
    return copy(tiny_dataset.root, tmp_path / "nws")


def test_verify_of_a_sound_dataset(tiny_dataset: TinyDataset, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--quick", str(tiny_dataset.root)]) == 0
    assert "sound (32 trainings, 100.6 MB, headers and metadata checked)" in capsys.readouterr().out


def test_nohup_holds(root: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert main(["info", str(root)]) == 0
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_verify_names_the_one_damaged_file(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / SHARD).unlink()
    assert main(["verify", "--quick", str(root)]) == 1
    assert capsys.readouterr().out == (
        f"{root}: 1 problem\n  {SHARD}: missing; fetch it again or rebuild the dataset\n"
        "If they were pulled, remove them and run nws pull again; if built, build into a new folder; the others are good.\n"
    )


def test_verify_promises_nothing_that_it_did_not_find(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "nws.py").write_text("")
    assert main(["verify", "--quick", str(root)]) == 1
    assert capsys.readouterr().out == f"{root}: 1 problem\n  nws.py: does not belong to the dataset; move it away\n"
    (root / SHARD).unlink()
    assert main(["verify", "--quick", str(root)]) == 1
    out = capsys.readouterr().out
    assert out.startswith(f"{root}: 2 problems\n")
    assert out.endswith("\nIf they were pulled, remove them and run nws pull again; if built, build into a new folder.\n")


def test_verify_as_json(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / SHARD).unlink()
    assert main(["verify", "--quick", "--json", str(root)]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["n_damaged"], len(found["problems"])) == (False, 1, 1)


def test_a_tilde_is_the_users_home(
    tiny_dataset: TinyDataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tiny_dataset.root.parent))
    monkeypatch.chdir(tmp_path)
    assert main(["info", "~/nws"]) == 0
    assert main(["build", "--preset", "quickstart", "--out=~/nws"]) == 2  # the tests' images are others
    assert "population fixed was built with other options" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert main(["info", "~nobody-of-this-name/nws"]) == 2
    assert "~nobody-of-this-name/nws: no home folder of that user" in capsys.readouterr().err


NWS = [sys.executable, "-m", "nws_data"]


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_hindrance(tiny_dataset: TinyDataset, closed: str) -> None:
    for folder, status in (("nws", 0), ("none", 1)):
        command = ["sh", "-c", f'"$@" {closed}', "sh", *NWS, "verify", str(tiny_dataset.root.with_name(folder))]
        done = subprocess.run(command, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (status, b"")
        assert done.stdout.count(b"\n") == (0 if ">&-" in closed.replace("2>&-", "") else 1 + status)


def test_any_name_of_a_file_can_be_shown(tmp_path: Path) -> None:
    done = subprocess.run([*NWS, "verify", os.fsencode(tmp_path / "n") + b"\xff"], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (1, b"") and b"/n\\udcff: 1 problem" in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="only root can become a user whom nobody knows")
def test_a_user_without_a_home() -> None:
    """As in a container that runs under a number: no HOME, no entry among the users."""
    code = (
        "import io, os, sys, builders.build, builders.cli, glob; from contextlib import *; from nws_data.cli import main\n"
        "os.setuid(12345); del os.environ['HOME']; os.environ.pop('XDG_CACHE_HOME', None)\n"
        "with suppress(SystemExit), redirect_stdout(io.StringIO()) as text: main(['build', '--help'])\n"
        "assert text.getvalue().startswith('usage: nws build')\n"
        "sys.exit(main(['build', '--population', 'fixed', '--trainings', '1', '--images', 'mnist', '--out', 'nws']))"
    )
    with tempfile.TemporaryDirectory() as folder:  # tmp_path lies in a folder that this user may not enter
        Path(folder).chmod(0o777)
        process = python(code, folder=Path(folder))
        status = process.wait(300)
    assert (status, process.printed()) == (
        2,
        "nws: ~/.cache: no home folder of that user is known here; set HOME, or give the whole path\n",
    )


def test_a_file_name_commands_no_terminal(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "a\x1b[2J\u202e\nnws: sound").write_text("")
    assert main(["verify", "--quick", str(root)]) == 1
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 2 and r"a\x1b[2J\u202e\nnws: sound" in out[1]


def test_a_message_does_not_quote_megabytes_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"format": "x" * 1_000_000}))
    for command, status in (("info", 2), ("verify", 1)):
        assert main([command, str(tmp_path)]) == status
        output = capsys.readouterr()
        assert "format must be 'nws', got 'xxx" in output.out + output.err and len(output.out + output.err) < 5_000
