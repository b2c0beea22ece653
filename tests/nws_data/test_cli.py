"""``nws info`` and ``nws verify`` as a person runs them."""

import json
import shutil
from pathlib import Path

import pytest

from nws_data.cli import main
from tests.conftest import TinyDataset

SHARD = "weights/fixed/test-00000.safetensors"


@pytest.fixture
def root(tiny_dataset: TinyDataset, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(tiny_dataset.root, tmp_path / "nws"))


def test_verify_of_a_sound_dataset(tiny_dataset: TinyDataset, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--quick", str(tiny_dataset.root)]) == 0
    assert "sound (32 trainings, 100.6 MB, headers and metadata checked)" in capsys.readouterr().out


def test_verify_names_the_one_damaged_file(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / SHARD).unlink()
    assert main(["verify", "--quick", str(root)]) == 1
    assert capsys.readouterr().out == (
        f"{root}: 1 problem\n  {SHARD}: missing; fetch it again or rebuild the dataset\n"
        "Fetch or build the damaged files again; the others are good.\n"
    )


def test_verify_promises_nothing_that_it_did_not_find(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "nws.py").write_text("")
    assert main(["verify", "--quick", str(root)]) == 1
    assert capsys.readouterr().out == f"{root}: 1 problem\n  nws.py: does not belong to the dataset; move it away\n"
    (root / SHARD).unlink()
    assert main(["verify", "--quick", str(root)]) == 1
    out = capsys.readouterr().out
    assert out.startswith(f"{root}: 2 problems\n") and out.endswith("\nFetch or build the damaged files again.\n")


def test_verify_as_json(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / SHARD).unlink()
    assert main(["verify", "--quick", "--json", str(root)]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["n_damaged"], len(found["problems"])) == (False, 1, 1)


def test_a_file_name_commands_no_terminal(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "a\x1b[2J\u202e\nnws: sound").write_text("")
    assert main(["verify", "--quick", str(root)]) == 1
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 2 and r"a\x1b[2J\u202e\nnws: sound" in out[1]
