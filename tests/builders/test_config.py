"""Build options: every message, what the command line makes of them, and what identifies a build."""

from __future__ import annotations

import argparse
import json
import os
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from builders.build import _with_recorded
from builders.cli import add_commands, config_of
from builders.compute.compute_path import path_of
from builders.config import PRESETS, BuildConfig
from builders.images.prepare import ImageOptions
from nws_data.cli import main
from nws_data.convert.subset import subset
from nws_data.errors import BuildError, NWSError
from nws_data.randomness import GENERATOR
from nws_data.space.hyperparameters import SAMPLING
from nws_data.space.image_sets import ImageSet

DIGITS = ImageOptions(sources=("digits",))
OPTIONS = {"out": Path("nws"), "trainings": {"fixed": 3}, "images": DIGITS}


def parse(*arguments: str) -> BuildConfig:
    """What ``nws build`` makes of its arguments."""
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers())
    return config_of(parser.parse_args(["build", *arguments]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trainings": {"fixed": 0}}, "--trainings must be in [1, 500,000], got 0"),
        ({"trainings": {"fixed": 3, "random": -1}}, "--trainings must be in [1, 500,000], got -1"),
        ({"trainings": {"both": 3}}, "population: got 'both'; choose one of fixed, random"),
        ({"trainings": {}}, "nothing to build: give --population and --trainings, or a --preset"),
        ({"epoch_cap": 18}, "--epoch-cap must be at least 19: 20 snapshots need as many evaluations; got 18"),
        (
            {"precision": "float16"},
            "--precision on cpu: got 'float16' (did you mean bfloat16?); choose one of float32, bfloat16",
        ),
        ({"workers": 0}, "--workers must be at least 1, got 0"),
        ({"seed": -1}, "--seed must be in [0, 2^63), got -1"),
        ({"seed": 2**63}, f"--seed must be in [0, 2^63), got {2**63}"),
    ],
)
def test_every_value_that_is_refused(changes, message):
    with pytest.raises(NWSError) as caught:
        BuildConfig(**OPTIONS | changes)
    assert str(caught.value) == message


def test_the_bounds_are_allowed():
    config = BuildConfig(**OPTIONS, epoch_cap=19, workers=1, seed=2**63 - 1)
    assert (config.epoch_cap, config.seed, config.precision, config.batch_norm) == (19, 2**63 - 1, "float32", True)
    assert BuildConfig(**OPTIONS).workers == len(os.sched_getaffinity(0))
    assert BuildConfig(**OPTIONS).epoch_cap == 1000


def test_the_identity_is_all_that_decides_a_training():
    sets = (ImageSet(name="digits", threshold=0.5, source="s", n_train=10, n_test=5, digest="abc"),)
    config = BuildConfig(**OPTIONS, seed=3, epoch_cap=19)
    assert config.identity(sets) == {
        "build_seed": 3,
        "image_sets": [["digits", "abc"]],  # their order decides what is drawn
        "sampling": SAMPLING,
        "epoch_cap": 19,
        "precision": "float32",
        "batch_norm": True,
        "compute_path": path_of("native", "float32"),
        "generator": GENERATOR,
    }
    assert json.loads(json.dumps(config.identity(sets))) == config.identity(sets)
    # Neither how many nor where nor by how many processes.
    same = BuildConfig(out=Path("b"), trainings={"random": 9}, images=DIGITS, seed=3, epoch_cap=19, workers=5)
    assert same.identity(sets) == config.identity(sets)


def test_options_of_the_command_line():
    config = parse(
        *("--population", "random", "--trainings", "200", "--images", "mnist", "own=file.npz", "--seed", "4"),
        *("--epoch-cap", "40", "--precision", "bfloat16", "--no-batch-norm", "--image-root", "r", "--download"),
        *("--train-images", "500", "--test-images", "100", "--out", "o", "--workers", "3"),
    )
    assert config == BuildConfig(
        out=Path("o"),
        trainings={"random": 200},
        images=ImageOptions(sources=("mnist", "own=file.npz"), root=Path("r"), download=True, n_train=500, n_test=100),
        seed=4,
        epoch_cap=40,
        precision="bfloat16",
        batch_norm=False,
        workers=3,
    )


def test_defaults_of_the_command_line_are_those_of_the_config():
    assert parse("--population", "fixed", "--trainings", "3", "--images", "digits") == BuildConfig(**OPTIONS)


def test_presets_and_what_overrides_them():
    assert parse("--preset", "quickstart") == BuildConfig(out=Path("nws"), **PRESETS["quickstart"])
    paper = parse("--preset", "paper", "--download")
    assert paper.trainings == {"fixed": 3000, "random": 13_000} and paper.epoch_cap == 1000
    assert paper.images == ImageOptions(sources=("mnist", "cifar10", "svhn", "stl10", "fashion_mnist"), download=True)
    changed = parse("--preset", "quickstart", "--population", "fixed", "--trainings", "2", "--epoch-cap", "30")
    assert (changed.trainings, changed.epoch_cap, changed.images.n_train) == ({"fixed": 2}, 30, 440)
    assert parse("--preset", "paper", "--images", "digits").images == DIGITS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to build: give --population and --trainings, or a --preset"),
        (["--images", "digits"], "nothing to build: give --population and --trainings, or a --preset"),
        (["--population", "fixed"], "--population and --trainings belong together"),
        (["--trainings", "5"], "--population and --trainings belong together"),
        (["--preset", "paper", "--trainings", "5"], "--population and --trainings belong together"),
        (["--population", "fixed", "--trainings", "5"], "no image source; give --images"),
        (
            ["--population", "fixed", "--trainings", "0", "--images", "digits"],
            "--trainings must be in [1, 500,000], got 0",
        ),
        (["--preset", "quickstart", "--epoch-cap", "5"], "--epoch-cap must be at least 19"),
        (["--preset", "quickstart", "--workers", "0"], "--workers must be at least 1, got 0"),
    ],
)
def test_bad_options_end_with_status_2_and_one_line(arguments, message, capsys, tmp_path):
    with pytest.raises(BuildError, match=re.escape(message)):
        parse(*arguments)
    assert main(["build", "--out", str(tmp_path / "nws"), *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"nws: {message}") and err.count("\n") == 1
    assert not (tmp_path / "nws").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--images", "imagenet"], "imagenet"),
        (["--images", "digits", "digits"], "--images names a set twice: digits, digits"),
        (["--images", "digits", "--train-images", "15"], "positive multiple of 10, got 15"),
        (["--images", "digits", "--train-images", "20"], "has too few images"),
        (["--images", "mnist"], "--download"),
    ],
)
def test_bad_images_end_with_status_2(arguments, message, capsys, tmp_path):
    command = ["build", "--population", "fixed", "--trainings", "1", "--image-root", str(tmp_path / "none")]
    assert main([*command, "--out", str(tmp_path / "nws"), *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("nws: ") and message in err and err.count("\n") == 1
    assert not (tmp_path / "nws" / "manifest.json").exists()


@pytest.mark.parametrize("arguments", [["--population", "both"], ["--trainings", "many"], ["--preset", "huge"], ["--what"]])
def test_what_argparse_refuses_ends_with_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["build", *arguments])
    assert caught.value.code == 2
    assert "usage: nws" in capsys.readouterr().err


def test_somebody_elses_folder_is_refused(capsys, tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    options = ["--population", "fixed", "--trainings", "1", "--images", "digits"]
    assert main(["build", *options, "--out", str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_subset_is_not_taken_for_the_first_trainings_of_its_plan(tiny_dataset, tmp_path):
    config = BuildConfig(**OPTIONS | {"trainings": {"fixed": 9, "random": 30}})
    assert [config.n_stored(tiny_dataset.manifest, name) for name in ("fixed", "random")] == [8, 24]
    assert config.n_stored(None, "fixed") == 0
    activation = tiny_dataset.record("fixed-000000").hyperparameters.activation
    part = subset(tiny_dataset.root, tmp_path / "part", [f"activation!={activation}"], populations=["fixed"])
    with pytest.raises(BuildError, match=r"holds other trainings of fixed than the first [1-7] of a plan"):
        config.n_stored(part, "fixed")


def test_the_same_images_of_another_file_extend_a_dataset():
    old = ImageSet(name="cells", threshold=0.5, source="file cells.npz", n_train=10, n_test=5, digest="abc")
    renamed, other = replace(old, source="file cells-v1.npz"), replace(old, source="file b.npz", digest="d")
    stored = SimpleNamespace(image_sets=(old,))
    assert _with_recorded(stored, (renamed,)) == (old,) and _with_recorded(stored, (other,)) == (other,)
