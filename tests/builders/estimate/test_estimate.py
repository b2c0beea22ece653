"""Estimates of whole builds: what a build then writes, what is there already, what would be refused."""

from __future__ import annotations

import json
import shutil

import pytest

from builders.estimate.command import format_estimate, span_text
from builders.estimate.estimate import estimate
from builders.images.prepare import prepare_images
from builders.run.workspace import open_workspace
from nws_data.cli import main
from nws_data.errors import BuildError
from nws_data.format.manifest import Manifest
from tests.builders import builds
from tests.builders.builds import SEED, config


@pytest.fixture
def built(tmp_path_factory):
    """A copy of a dataset of three trainings, its estimate before, and the report of its build."""
    root, copy = builds.built(fixed=3), tmp_path_factory.mktemp("plan") / "nws"
    expected = estimate(config(copy, fixed=3), seconds=None)
    (report,) = json.loads((root.parent / "reports.json").read_text())
    return shutil.copytree(root, copy), expected.populations["fixed"], report


def test_a_build_is_what_was_planned(built):
    root, expected, report = built
    shards = Manifest.load(root).shards
    assert (expected.nbytes, expected.n_shards) == (sum((root / s.path).stat().st_size for s in shards), len(shards))
    assert (expected.n_trainings, expected.n_there, expected.work.n_trainings) == (3, 0, 3)
    assert report["n_images"] == pytest.approx(expected.work.train_images, rel=0.2)  # 120 images: the rarest class is luck


def test_what_is_there_is_not_counted_again(built):
    root, *_ = built
    (same,) = estimate(config(root, fixed=3), seconds=20.0).populations.values()  # nothing to calibrate for either
    assert (same.n_there, same.work.n_trainings, same.nbytes) == (3, 0, built[1].nbytes)
    (more,) = estimate(config(root, fixed=5), seconds=None).populations.values()
    assert (more.n_there, more.work.n_trainings) == (3, 2)
    both = estimate(config(root, trainings={"random": 2}), seconds=None)
    assert both.disk_bytes == both.populations["random"].nbytes + same.nbytes
    (root / ".build" / "trainings").mkdir(parents=True)
    (root / ".build" / "trainings" / "fixed-000004.safetensors").touch()
    (waiting,) = estimate(config(root, fixed=5), seconds=None).populations.values()
    assert (waiting.n_there, waiting.work.n_trainings, waiting.nbytes) == (4, 1, more.nbytes)


def test_what_a_build_refuses_is_refused(built, tmp_path):
    root, *_ = built
    with pytest.raises(BuildError, match="holds 3 trainings of fixed already, more than the 2 asked for"):
        estimate(config(root, fixed=2), seconds=None)
    with pytest.raises(BuildError, match="begun with other options: epoch_cap was 19, now 40"):
        estimate(config(root, fixed=4, epoch_cap=40), seconds=None)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").touch()
    with pytest.raises(BuildError):
        estimate(config(tmp_path / "other"), seconds=None)
    assert not (tmp_path / "new").exists()


def test_what_is_begun_goes_on_as_it_began(tmp_path):
    out = tmp_path / "nws"
    plain = config(out, fixed=3, backend="plain")
    with open_workspace(out) as workspace:
        sets = prepare_images(workspace.images, plain.images)
        workspace.claim_plan("fixed", plain.identity(sets))
        (workspace.staging / "fixed-000001.safetensors").touch()
        (begun,) = estimate(config(out, fixed=3), seconds=None).populations.values()  # no --backend: that of what is there
        assert (begun.n_there, begun.work.n_trainings) == (1, 2)
        with pytest.raises(BuildError, match=r"begun with other options: epoch_cap was 19, now 40. Give those, or another"):
            estimate(config(out, fixed=3, epoch_cap=40), seconds=None)
        with pytest.raises(BuildError, match="compute_path was 'cpu-plain"):
            estimate(config(out, fixed=3, backend="native"), seconds=None)


def test_nothing_to_do_is_said(built):
    root, *_ = built
    assert "all trainings are there" in format_estimate(estimate(config(root, fixed=3), seconds=None), config(root, fixed=3))


OPTIONS = ["--population", "fixed", "--trainings", "4", "--images", "mnist", "svhn", "--no-calibrate"]


def test_the_command(tmp_path, capsys):
    assert main(["plan", *OPTIONS, "--out", str(tmp_path / "nws")]) == 0
    printed = capsys.readouterr().out
    for text in (
        "population",
        "fixed",
        "50 epochs a training on average assumed",
        "GB of shards",
        "0.3 GB each",
        "not calibrated",
    ):
        assert text in printed
    assert main(["plan", *OPTIONS, "--out", str(tmp_path / "nws"), "--epochs", "80", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["epochs"] == 80 and found["wall_s"] is None
    assert found["populations"]["fixed"]["nbytes"] > 4 * 20 * 4 * 92_868
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("there", ["a dataset with another plan", "a larger one", "something else"])
def test_the_command_estimates_a_new_folder_where_the_build_would_not_go_into_this_one(built, tmp_path, capsys, there):
    options = ["plan", "--images", "digits", "--population", "fixed", "--no-calibrate", "--json"]
    same = ["--train-images", "120", "--test-images", "50", "--epoch-cap", "19", "--seed", str(SEED)]
    options += ["--trainings", "2", *same] if there == "a larger one" else ["--trainings", "4"]
    out = tmp_path if there == "something else" else built[0]
    (tmp_path / "thesis.txt").touch()
    assert main([*options, "--out", str(tmp_path / "new")]) == 0
    expected = capsys.readouterr()
    assert expected.err == "" and json.loads(expected.out)["populations"]["fixed"]["n_there"] == 0
    assert main([*options, "--out", str(out)]) == 0
    found = capsys.readouterr()
    assert found.out == expected.out
    assert found.err.startswith("nws build would refuse this, so a new folder is estimated: ")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.slow
def test_the_command_calibrates(tmp_path, capsys):
    options = ["--population", "fixed", "--trainings", "4", "--images", "digits", "--epoch-cap", "40"]
    assert main(["plan", *options, "--calibrate", "1", "--workers", "1", "--out", str(tmp_path / "nws"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["wall_s"] > 0 and found["speed"]["n_shapes"] >= 1


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--epochs", "5"], "--epochs must be in [19, 1000], the cap; got 5"),
        (["--calibrate", "0"], "--calibrate must be a positive number of seconds, got 0"),
        (["--train-images", "15"], "positive multiple of 10"),
        (["--train-images", "100"], "too few images (100, a tenth of them for validation)"),
    ],
)
def test_bad_options(tmp_path, capsys, more, message):
    assert main(["plan", *OPTIONS, "--out", str(tmp_path / "nws"), *more]) == 2
    assert message in capsys.readouterr().err


def test_times_for_people():
    assert span_text(50, 61) == "50 to 61 s"
    assert span_text(600, 660) == "10 to 11 min"
    assert span_text(3600, 7300) == "1.0 to 2.0 h"
    assert span_text(3600 * 100.1, 3600 * 100.2) == "100 h"
