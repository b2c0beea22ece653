"""Starting workers: what they know of this process, and Ctrl-C meanwhile."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from builders.engine.processes import start_process


def tell(connection, *arguments):
    connection.send((os.environ.get("NWS_TEST_VARIABLE"), os.getcwd(), "torch" in sys.modules, arguments))


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
        process, connection = start_process(tell, 1, "two", duplex=False, device=device)
        preloaded = device == "cpu" and sys.platform == "linux"
        assert connection.recv() == (value, str(tmp_path / value), preloaded, (1, "two"))
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


def test_a_folder_for_temporary_files_whose_path_is_too_long_for_a_socket(tmp_path):
    long = tmp_path / ("a" * 120)
    long.mkdir()
    code = (
        "from tests.builders.engine.test_processes import start_process, tell\n"
        "if __name__ == '__main__':\n"
        "    process, connection = start_process(tell, 5, duplex=False)\n"
        "    print(connection.recv()[3])\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    environment = os.environ | {"TMPDIR": str(long), "PYTHONPATH": str(Path(__file__).parents[3])}
    result = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment, check=False)
    assert (result.returncode, result.stdout) == (0, "(5,)\n"), result.stderr
    assert list(long.iterdir()) == []
