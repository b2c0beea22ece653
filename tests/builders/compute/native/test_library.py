"""Kernels are compiled once and kept; where there is no compiler the plain backend takes over and says why."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from builders.compute.backend import default_backend
from builders.compute.compute_path import path_of
from nws_data.errors import BuildError
from tests.processes import Process


def _report() -> None:
    name = default_backend("cpu")
    print(name, path_of(name, "float32"))
    try:
        print(path_of("native", "float32"))
    except BuildError as error:
        print("BuildError", error)


@pytest.fixture
def report(tmp_path: Path) -> Callable[..., list[str]]:
    """Return a function that returns what a process, with its own cache and environment, says of the backends."""

    def ask(cache: Path = tmp_path, **environment: str) -> list[str]:
        values = {key: value for key, value in os.environ.items() if key != "CC"}
        values |= {"XDG_CACHE_HOME": str(cache), "TMPDIR": str(tmp_path)}
        process = Process(_report, environment=values | environment)
        assert process.wait(300) == 0, process.printed()
        lines = process.printed().splitlines()
        assert len(lines) == 2, lines
        return lines

    return ask


def fast_compiler(folder: Path) -> str:
    """The machine's compiler without the time that optimising takes, as a command with an option."""
    program = folder / "fast-cc"
    program.write_text('#!/bin/sh\nexec cc $(echo "$@" | sed s/-O3/-O0/)\n')
    program.chmod(0o755)
    return f"{program} -g0"


@pytest.mark.slow
def test_compiled_once(report, tmp_path):
    compiler = fast_compiler(tmp_path)
    first = report(CC=compiler)
    assert first[0].startswith("native cpu-native-1/")
    (compiled,) = (tmp_path / "nws").glob("kernels-*.so")
    made = compiled.stat().st_mtime_ns
    assert report(CC=compiler) == first
    assert compiled.stat().st_mtime_ns == made


@pytest.mark.parametrize("program", ["/no/such/compiler", "false"])
def test_without_a_compiler(report, program):
    first, second = report(CC=program)
    assert first.startswith("plain cpu-plain-1/")
    assert second.startswith("BuildError --backend native needs a C compiler") and "--backend plain" in second


@pytest.mark.slow
def test_a_cache_that_cannot_be_written_is_no_obstacle(report, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    assert report(file, CC=fast_compiler(tmp_path))[0].startswith("native ")


def fake_compiler(tmp_path: Path, lines: str) -> str:
    """A program that answers ``--version`` and else runs ``lines`` of shell, in which $out is the file to write."""
    program = tmp_path / "fake-cc"
    find = 'while [ $# -gt 0 ]; do [ "$1" = -o ] && out=$2; shift; done'
    program.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo fake && exit 0\n{find}\n{lines}\n')
    program.chmod(0o755)
    return str(program)


def test_a_compiler_that_writes_garbage_or_nothing_is_none(report, tmp_path):
    for lines in ('echo garbage > "$out"', ': > "$out"', "exit 0", 'cc -shared -x c /dev/null -o "$out"'):
        first, second = report(CC=fake_compiler(tmp_path, lines))
        assert first.startswith("plain ") and second.startswith("BuildError "), lines
    assert not list((tmp_path / "nws").glob(".*")), "the compiler's files stayed"


@pytest.mark.slow
def test_a_compiler_that_is_no_program_is_none(report, tmp_path):
    text = tmp_path / "cc"
    text.write_bytes(b"\0no program")
    text.chmod(0o755)
    assert report(CC=str(text))[0].startswith("plain ")
    assert report(CC="cc 'without an end")[0].startswith("plain ")


@pytest.mark.slow
def test_another_users_folder_of_compiled_kernels_is_not_trusted(report, tmp_path):
    shared = tmp_path / f"nws-{os.getuid()}"
    shared.mkdir()
    shared.chmod(0o777)
    environment = {"XDG_CACHE_HOME": "/dev/null", "TMPDIR": str(tmp_path), "CC": fast_compiler(tmp_path)}
    assert report(**environment)[0].startswith("plain ")
    shared.chmod(0o700)
    assert report(**environment)[0].startswith("native ")
    assert list(shared.glob("kernels-*.so"))
