"""Opening a tier, and folders in which shards are missing."""

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

import nws_data
from nws_data.errors import FormatError, SelectionError, ShardsAbsentError
from nws_data.format.partial import Pulled, restricted
from tests.conftest import TinyDataset
from tests.fuzz.mutants import copy

TIER = "40MB"


def tier_ids(tiny_dataset: TinyDataset, population: str) -> set[str]:
    """The trainings of a tier, from the rows of all shards by their file names alone."""
    paths = {shard.path for shard in restricted(tiny_dataset.manifest, TIER).shards}
    table = nws_data.open(tiny_dataset.root, population)
    shards = np.array([shard.path for shard in table.store.shards])[table.shard_index]
    return set(table["training"][np.isin(shards, list(paths))].tolist())


@pytest.mark.parametrize("population", ["fixed", "random"])
def test_a_tier_is_the_rows_of_its_shards(tiny_dataset: TinyDataset, population: str) -> None:
    tier, whole = nws_data.open(tiny_dataset.root, population, tier=TIER), nws_data.open(tiny_dataset.root, population)
    assert set(tier["training"].tolist()) == tier_ids(tiny_dataset, population)
    assert 0 < len(tier) < len(whole) and set(tier["split"]) == set(whole["split"])
    kept = np.flatnonzero(np.isin(whole["training"], tier["training"]))
    for name in whole.columns:  # last_epoch and the like too: they are of the whole training
        np.testing.assert_array_equal(tier[name], whole[name][kept])
    assert tier.vector(-1).numpy().tobytes() == whole.take(kept).vector(-1).numpy().tobytes()
    test = nws_data.open(tiny_dataset.root, population, "test", tier="40mb")
    np.testing.assert_array_equal(test["training"], tier.select(split="test")["training"])
    assert len(nws_data.open(tiny_dataset.root, population, tier="full")) == len(whole)


def test_what_is_no_tier(tiny_dataset: TinyDataset) -> None:
    with pytest.raises(SelectionError, match="give 1GB, 10GB, full"):
        nws_data.open(tiny_dataset.root, tier="huge")
    with pytest.raises(SelectionError, match="of fixed: the smallest tier is"):
        nws_data.open(tiny_dataset.root, tier="1MB")


@pytest.fixture
def partial(tiny_dataset: TinyDataset, tmp_path: Path) -> Path:
    root = copy(tiny_dataset.root, tmp_path / "nws")
    kept = tuple(shard.path for shard in restricted(tiny_dataset.manifest, TIER).shards)
    for shard in tiny_dataset.manifest.shards:
        if shard.path not in kept:
            (root / shard.path).unlink()
    Pulled(repository="owner/nws", commit="0" * 40, shards=kept).save(root)
    return root


def test_a_partial_folder_opens_with_what_is_here(partial: Path, tiny_dataset: TinyDataset) -> None:
    with pytest.warns(UserWarning, match="trainings are left out; `nws pull owner/nws --population random") as caught:
        data = nws_data.open(partial, "random")
    assert [Path(w.filename).name for w in caught] == [Path(__file__).name]  # the line that opened it
    assert set(data["training"].tolist()) == tier_ids(tiny_dataset, "random")
    assert nws_data.RandomWindows(data, length=500, target="optimizer")[len(data) - 1][0].shape == (500,)
    for row in range(len(data)):
        data.vector(row)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(nws_data.open(partial, "random", tier=TIER)) == len(data)  # complete: nothing to say


def test_a_named_tier_is_complete_or_refused(partial: Path) -> None:
    with pytest.raises(
        ShardsAbsentError, match=r"tier full, are not here; `nws pull owner/nws --population fixed --tier full --out"
    ):
        nws_data.open(partial, tier="full")
    shutil.rmtree(partial / "weights" / "fixed")
    with pytest.raises(ShardsAbsentError, match=r"(\d+) of \1 shards of fixed are not here; `nws pull"):
        nws_data.open(partial)


def test_a_task_of_a_tier(partial: Path, tiny_dataset: TinyDataset) -> None:
    """It is another task: named so, unofficial, and the same wherever the tier is."""
    name = "regress-local/test_accuracy"
    whole = nws_data.load_task(name, tiny_dataset.root)
    tier = nws_data.load_task(f"{name}/tier=40mb", tiny_dataset.root)
    assert tier.name == f"{name}/tier=40MB" and not tier.official and whole.official
    assert tier.data_digest == whole.data_digest
    rows = nws_data.open(tiny_dataset.root, "random", tier=TIER).select(snapshot=19, finite=True)
    for side, counts in tier.counts.items():
        assert counts == {"all": (rows["split"] == side).sum()}
    assert sum(tier.counts["train"].values()) < sum(whole.counts["train"].values())
    assert nws_data.load_task(f"{name}/tier=full", tiny_dataset.root).name == name
    there = nws_data.load_task(name, partial)  # all rows: never silently fewer
    assert there.counts == whole.counts
    with pytest.raises(FormatError, match="the shard is missing; `nws pull owner/nws --population random"):
        there.train.__getitems__(list(range(len(there.train))))
