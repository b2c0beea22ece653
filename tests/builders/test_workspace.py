"""The hidden folder of a build: one owner, one plan, and only sound trainings in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from builders.workspace import open_workspace
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
        "import sys; from pathlib import Path; from builders.workspace import open_workspace\n"
        "with open_workspace(Path(sys.argv[1])): print('open', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root) as other:
        assert other.stdout is not None and other.stdout.readline() == b"open\n"
        with pytest.raises(BuildError, match="another build runs"), open_workspace(tmp_path):
            pass
        other.kill()  # leaves the lock file behind, but no lock
    with open_workspace(tmp_path):
        assert (tmp_path / ".build" / "lock").exists()


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


def test_named_staged_trainings_are_forgotten(tmp_path):
    with open_workspace(tmp_path) as workspace:
        stage(workspace.staging, "random", range(2))
        (workspace.staging / "fixed-000000.safetensors").write_bytes(b"")
        workspace.remove_staged(["random-000000", "random-000001", "random-000002"])
        assert [path.name for path in workspace.staging.iterdir()] == ["fixed-000000.safetensors"]


def test_a_complete_build_leaves_nothing(tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    with open_workspace(tmp_path) as workspace:
        workspace.claim_plan("fixed", IDENTITY)
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


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


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"fixed": 3}', b"\xff\x00"])
def test_a_damaged_plan_file_is_refused(tmp_path, content):
    with open_workspace(tmp_path) as workspace:
        workspace.claim_plan("fixed", IDENTITY)
        workspace.path_of("fixed-000000").write_bytes(b"staged")
        (workspace.folder / "plans.json").write_bytes(content)
        with pytest.raises(BuildError, match=r"plans\.json is damaged: remove .*\.build and build again"):
            workspace.claim_plan("fixed", IDENTITY)


def test_a_plan_that_trained_nothing_is_replaced(tmp_path):
    with open_workspace(tmp_path) as workspace:
        workspace.claim_plan("fixed", IDENTITY)
        workspace.claim_plan("fixed", IDENTITY | {"build_seed": 7})
        workspace.path_of("fixed-000000").write_bytes(b"staged")
        with pytest.raises(BuildError, match="build_seed was 7, now 0"):
            workspace.claim_plan("fixed", IDENTITY)
