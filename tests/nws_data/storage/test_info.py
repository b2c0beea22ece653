import json
from dataclasses import replace

import numpy as np
import pytest

from nws_data.errors import FormatError
from nws_data.storage.info import align, describe, format_info
from tests.conftest import IMAGE_SETS, TinyDataset


def test_figures_against_the_staged_trainings(tiny_dataset: TinyDataset) -> None:
    info = describe(tiny_dataset.root)
    assert (info.n_trainings, info.n_snapshots) == (32, 640)
    files = (tiny_dataset.root / "weights").rglob("*.safetensors")
    assert info.n_bytes == sum(path.stat().st_size for path in files)
    for population, paths in tiny_dataset.staged.items():
        records = [tiny_dataset.record(path.stem) for path in paths]
        found = info.populations[population]
        assert found.n_trainings == len(records)
        assert found.n_non_finite == sum(not record.finite for record in records) == (population == "random")
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


def test_columns_align() -> None:
    rows = [["name", "n"], ["a", "1,000"], ["long one", "5"]]
    assert align(rows) == ["name          n", "a         1,000", "long one      5"]
