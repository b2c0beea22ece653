"""Starting workers: what they know of this process, and Ctrl-C meanwhile."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from builders.run.processes import are_forked, exit_code, start_process

ROOT = Path(__file__).parents[3]


def tell(connection, *arguments):
    connection.send((os.environ.get("NWS_TEST_VARIABLE"), os.getcwd(), "torch" in sys.modules, arguments))


def tell_server(connection):
    connection.send(os.getppid())
    connection.recv()


def killed_by(connection):
    connection.recv()


class Interrupts:
    """Sends Ctrl-C to the process that pickles it."""

    def __reduce__(self):
        os.kill(os.getpid(), signal.SIGINT)
        return int, ()


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_worker_has_this_process_s_variables_and_folder_of_now(device, monkeypatch, tmp_path):
    for value in ("first", "second"):  # the server is as old as the first worker of this process
        (tmp_path / value).mkdir()
        monkeypatch.setenv("NWS_TEST_VARIABLE", value)
        monkeypatch.chdir(tmp_path / value)
        process, connection = start_process(tell, 1, "two", device=device)
        assert connection.recv() == (value, str(tmp_path / value), are_forked(device), (1, "two"))
        process.join()
        assert process.exitcode == 0


def test_ctrl_c_meanwhile_leaves_no_process():
    with pytest.raises(KeyboardInterrupt):
        start_process(tell, Interrupts())
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_worker_can_be_ended_from_outside(number):
    process, connection = start_process(killed_by)
    os.kill(process.pid, number)
    with pytest.raises(EOFError):
        connection.recv()
    process.join()
    assert process.exitcode == -number


@pytest.mark.slow
@pytest.mark.skipif(not are_forked("cpu"), reason="workers have no server here")
def test_the_server_s_death_is_survived():
    first, connection = start_process(tell_server)
    server = connection.recv()
    os.kill(server, signal.SIGKILL)
    connection.send(None)
    with pytest.raises(EOFError):
        connection.recv()
    first.join()
    assert exit_code(first) == -signal.SIGKILL
    second, connection = start_process(tell_server)
    assert connection.recv() != server  # a new one, or none: this process has started the worker itself
    connection.send(None)
    second.join()
    assert exit_code(second) == 0


def run_script(folder: Path, cwd: Path, **variables: str) -> str:
    """Start a worker in a script outside the checkout; return what it prints."""
    script = folder / "script.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from tests.builders.run.test_processes import start_process, tell\n"
        "if __name__ == '__main__':\n"
        "    process, connection = start_process(tell, 5)\n"
        "    print(connection.recv()[2:])\n"
    )
    environment = os.environ | variables
    result = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=cwd, env=environment, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


@pytest.mark.slow
def test_nothing_is_imported_from_the_current_folder(tmp_path):
    (tmp_path / "here").mkdir()
    for name in ("random", "torch"):
        (tmp_path / "here" / f"{name}.py").write_text("raise RuntimeError")
    assert run_script(tmp_path, tmp_path / "here") == f"({are_forked('cpu')}, (5,))\n"


def test_a_folder_for_temporary_files_whose_path_is_too_long_for_a_socket(tmp_path):
    long = tmp_path / ("a" * 120)
    long.mkdir()
    assert run_script(tmp_path, tmp_path, TMPDIR=str(long)) == "(False, (5,))\n"
    assert list(long.iterdir()) == []
