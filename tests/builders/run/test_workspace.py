"""The hidden folder of a build: one owner, one plan, and only sound trainings in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from builders.run.workspace import appears, open_workspace, staging_token
from nws_data.errors import BuildError
from tests.conftest import stage

IDENTITY = {"build_seed": 0, "image_sets": [["digits", "abc"]], "epoch_cap": 19, "precision": "float32"}


def test_a_second_claim_is_refused_until_the_first_ends(tmp_path):
    with (
        open_workspace(tmp_path),
        pytest.raises(BuildError, match=f"another build runs in {tmp_path}; wait for it or choose another --out"),
        open_workspace(tmp_path),
    ):
        pass
    with open_workspace(tmp_path) as workspace:
        assert workspace.folder == tmp_path / ".build" and workspace.staging.is_dir()


def test_another_process_is_refused_too_and_an_ended_one_is_no_hindrance(tmp_path):
    code = (
        "import sys; from pathlib import Path; from builders.run.workspace import open_workspace\n"
        "with open_workspace(Path(sys.argv[1])): print('open', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    root = Path(__file__).parents[3]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root) as other:
        assert other.stdout is not None and other.stdout.readline() == b"open\n"
        with pytest.raises(BuildError, match="another build runs"), open_workspace(tmp_path):
            pass
        other.kill()  # leaves the lock file behind, but no lock
    with open_workspace(tmp_path):
        assert (tmp_path / ".build" / "lock").exists()


def test_the_next_build_ends_the_workers_of_a_dead_one(tmp_path):
    token = tmp_path / ".build" / "trainings" / "token-0"
    token.parent.mkdir(parents=True)
    token.touch()
    with open_workspace(tmp_path) as workspace:
        assert workspace.staging == token.parent and not appears(token, 0)
        with staging_token(workspace.staging) as mine:
            assert appears(token.with_name(mine), 0)
        assert not appears(token.with_name(mine), 0.1)


def test_the_lock_goes_with_an_error(tmp_path):
    with pytest.raises(RuntimeError), open_workspace(tmp_path):
        raise RuntimeError
    with open_workspace(tmp_path):
        pass


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "file").write_text("")
    match = r"cannot be used as output folder: .+; choose another --out"
    with pytest.raises(BuildError, match=match), open_workspace(tmp_path / "file"):
        pass


def test_the_same_plan_goes_on(tmp_path):
    for _ in range(2):
        with open_workspace(tmp_path) as workspace:
            workspace.claim_plan("fixed", IDENTITY)
            workspace.claim_plan("random", IDENTITY | {"epoch_cap": 50})


def test_other_options_are_refused_by_name(tmp_path):
    with open_workspace(tmp_path) as workspace:
        workspace.claim_plan("fixed", IDENTITY)
        workspace.path_of("fixed-000000").write_bytes(b"staged")
    with open_workspace(tmp_path) as workspace:
        with pytest.raises(BuildError) as caught:
            workspace.claim_plan("fixed", IDENTITY | {"build_seed": 7, "precision": "bfloat16"})
        message = str(caught.value)
        assert f"{tmp_path} holds an unfinished build of fixed with other options" in message
        assert "build_seed was 0, now 7; precision was 'float32', now 'bfloat16'." in message
        assert "epoch_cap" not in message
        assert f"remove {tmp_path / '.build'}" in message
        workspace.claim_plan("fixed", IDENTITY)  # the plan on disk is still the first one
        with pytest.raises(BuildError, match="the images of digits are others"):
            workspace.claim_plan("fixed", IDENTITY | {"image_sets": [["digits", "xyz"]]})


def test_damaged_staged_files_are_removed(tmp_path):
    with open_workspace(tmp_path) as workspace:
        sound, cut, garbage = stage(workspace.staging, "random", range(3))
        content = cut.read_bytes()
        cut.write_bytes(content[:-1])
        garbage.write_bytes(b"nothing of the kind")
        unfinished = workspace.staging / ".random-000009.safetensors.tmp-123"
        unfinished.write_bytes(content)
        assert workspace.staged("random") == {"random-000000": sound}
        assert workspace.staged("fixed") == {}
        assert list(workspace.staging.iterdir()) == [sound]
        assert workspace.path_of("random-000000") == sound


def test_a_complete_build_leaves_nothing(tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    with open_workspace(tmp_path) as workspace:
        workspace.claim_plan("fixed", IDENTITY)
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_what_others_put_into_a_folder_of_this_name_stays(tmp_path):
    theirs, linked = tmp_path / ".build" / "debug" / "program", tmp_path / "images"
    for folder in (theirs.parent, linked):
        folder.mkdir(parents=True)
    theirs.write_text("theirs")
    (linked / "mine").write_text("mine")
    (tmp_path / ".build" / "images").symlink_to(linked)
    with open_workspace(tmp_path) as workspace:
        workspace.claim_plan("fixed", IDENTITY)
    assert sorted(path.name for path in (tmp_path / ".build").iterdir()) == ["debug", "images"]
    assert (theirs.read_text(), (linked / "mine").read_text()) == ("theirs", "mine")


def test_a_failure_before_the_first_training_leaves_nothing(tmp_path):
    out = tmp_path / "nws"
    with pytest.raises(BuildError, match="bad images"), open_workspace(out):
        raise BuildError("bad images")
    assert not out.exists()


def test_a_failure_after_the_first_training_keeps_it(tmp_path):
    out = tmp_path / "nws"
    with pytest.raises(KeyboardInterrupt), open_workspace(out) as workspace:
        workspace.path_of("fixed-000000").write_bytes(b"staged")
        raise KeyboardInterrupt
    assert (out / ".build" / "trainings" / "fixed-000000.safetensors").exists()


@pytest.mark.parametrize("content", [b"", b"{", None])
def test_staged_trainings_without_their_plan_are_refused(tmp_path, content):
    with open_workspace(tmp_path) as workspace:
        workspace.claim_plan("random", IDENTITY)
        stage(workspace.staging, "random", [0])
        (workspace.folder / "plans.json").unlink()
        if content is not None:
            (workspace.folder / "plans.json").write_bytes(content)
        with pytest.raises(BuildError, match=rf"plans\.json, .+ is missing or damaged; remove {workspace.folder}"):
            workspace.claim_plan("random", IDENTITY)
        assert list(workspace.staged("random")) == ["random-000000"]
        workspace.claim_plan("fixed", IDENTITY)


def test_a_plan_that_trained_nothing_is_replaced(tmp_path):
    with open_workspace(tmp_path) as workspace:
        workspace.claim_plan("fixed", IDENTITY)
        workspace.claim_plan("fixed", IDENTITY | {"build_seed": 7})
        workspace.path_of("fixed-000000").write_bytes(b"staged")
        with pytest.raises(BuildError, match="build_seed was 7, now 0"):
            workspace.claim_plan("fixed", IDENTITY)


_BUILDS_IN_A_ROW = """
import os, sys, time
from pathlib import Path
from builders.run.workspace import open_workspace
from nws_data.errors import BuildError

out, n = Path(sys.argv[1]), 0
while n < int(sys.argv[2]):
    try:
        with open_workspace(out) as workspace:
            os.close(os.open(out / "busy", os.O_CREAT | os.O_EXCL))  # fails when another build is in here too
            assert workspace.staging.is_dir()
            workspace.images.mkdir()
            (out / "busy").unlink()
            n += 1
    except BuildError as error:
        assert "another build runs" in str(error), error
        time.sleep(0.0002 * (os.getpid() % 5))
"""


@pytest.mark.slow
def test_builds_that_begin_while_another_ends_never_share_the_folder(tmp_path):
    out = tmp_path / "nws"
    command = [sys.executable, "-c", _BUILDS_IN_A_ROW, str(out), "200"]
    root = Path(__file__).parents[3]
    builds = [subprocess.Popen(command, cwd=root, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in builds:
        _, stderr = process.communicate(timeout=120)
        assert process.returncode == 0, stderr
    assert not out.exists()
