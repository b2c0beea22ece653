import json
from dataclasses import replace

import numpy as np
import pytest

from nws_data.errors import FormatError
from nws_data.format.describe import Spread, describe, format_info, plan_text, range_text
from tests.conftest import IMAGE_SETS, PLANS, TinyDataset


def test_figures_against_the_staged_trainings(tiny_dataset: TinyDataset) -> None:
    info = describe(tiny_dataset.root)
    assert (info.n_trainings, info.n_snapshots) == (32, 640)
    files = (tiny_dataset.root / "weights").rglob("*.safetensors")
    assert info.n_bytes == sum(path.stat().st_size for path in files)
    for population, paths in tiny_dataset.staged.items():
        records = [tiny_dataset.record(path.stem) for path in paths]
        found = info.populations[population]
        assert found.n_trainings == len(records)
        assert (
            found.n_non_finite
            == sum(not np.isfinite(record.weights).all() for record in records)
            == (population == "random")
        )
        for image_set in IMAGE_SETS:
            final = [r.test_accuracy[-1] for r in records if r.hyperparameters.dataset == image_set.name]
            row = found.image_sets[image_set.name]
            assert (row.n_trainings, row.n_passing) == (len(final), sum(a > image_set.threshold for a in final))
            assert row.final_test_accuracy is not None
            assert row.final_test_accuracy.median == np.median(final)
        optimizers = [record.hyperparameters.optimizer for record in records]
        assert found.hyperparameters["optimizer"] == {name: optimizers.count(name) for name in sorted(set(optimizers))}
        assert sum(found.stop_reasons.values()) == len(records)
        splits = [record.split for record in records]
        assert {name: s.n_trainings for name, s in found.splits.items()} == {s: splits.count(s) for s in set(splits)}


def test_everything_fits_into_json(tiny_dataset: TinyDataset) -> None:
    info = describe(tiny_dataset.root)
    size = f"{info.n_bytes / 1e6:,.1f} MB"
    assert repr(info) == f"DatasetInfo(8 fixed, 24 random trainings, {size}, data {info.data_digest[:12]})"
    assert json.loads(json.dumps(info.to_dict()))["populations"]["fixed"]["n_trainings"] == 8


def test_image_set_that_the_manifest_does_not_name(tiny_dataset: TinyDataset) -> None:
    manifest = replace(tiny_dataset.manifest, image_sets=IMAGE_SETS[:1])
    with pytest.raises(FormatError, match="no image set digits"):
        describe(tiny_dataset.root, manifest)


def test_text_for_people(tiny_dataset: TinyDataset) -> None:
    text = format_info(describe(tiny_dataset.root))
    assert text.startswith("32 trainings, 640 snapshots, 100.6 MB of weights\n")
    assert "random: 24 trainings, 1 non-finite" in text
    assert "train               4         80" in text
    assert max(map(len, text.splitlines())) <= 100
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines.count("plan: build seed 5, epoch cap 40") == 2
    for line in ("n_weights 92,868", "width_fc 128: 8", "depth_fc 3: 10, 4: 7, 5: 7", "batch_norm True: 24"):
        assert line in lines


def test_the_plan(tiny_dataset: TinyDataset) -> None:
    assert describe(tiny_dataset.root).populations["fixed"].plan == PLANS["fixed"]
    plan = {"compute_path": "cpu", "build_seed": 7, "batch_norm": False, "precision": "bfloat16", "epoch_cap": 40, "x": 1}
    assert plan_text(plan) == "build seed 7, epoch cap 40, precision bfloat16, batch norm off, path cpu"
    assert plan_text({"build_seed": None, "batch_norm": True}) == "build seed none (imported trainings), batch norm on"


@pytest.mark.parametrize(
    ("low", "median", "high", "text"),
    [
        (92868, 92868, 92868, "92,868"),
        (21260, 50000.5, 1234567, "21,260 to 1,234,567, median 50,000.5"),
        (19, 21.5, 26, "19 to 26, median 21.5"),
        (0.0002, 0.00123456, 0.005, "0.0002 to 0.005, median 0.001235"),
    ],
)
def test_ranges(low: float, median: float, high: float, text: str) -> None:
    assert range_text(Spread(low=low, median=median, high=high)) == text


def test_a_folder_given_as_text(tiny_dataset: TinyDataset) -> None:
    assert describe(str(tiny_dataset.root)) == describe(tiny_dataset.root)
