"""Folders that hold some shards: verify, info, and what they say."""

from pathlib import Path

import pytest

from nws_data.check.verify import verify
from nws_data.cli import main
from nws_data.errors import FormatError, SelectionError
from nws_data.format.describe import describe
from nws_data.format.manifest import Manifest
from nws_data.format.partial import PULLED, Presence, Pulled, how_to_get, presence, restricted
from tests.conftest import TinyDataset
from tests.fuzz.mutants import copy, write

TIER = "40MB"


@pytest.fixture
def root(tiny_dataset: TinyDataset, tmp_path: Path) -> Path:
    """A copy without the shards outside the tier; the others are links."""
    root = copy(tiny_dataset.root, tmp_path / "nws")
    kept = {shard.path for shard in restricted(tiny_dataset.manifest, TIER).shards}
    for shard in tiny_dataset.manifest.shards:
        if shard.path not in kept:
            (root / shard.path).unlink()
    assert 0 < len(kept) < len(tiny_dataset.manifest.shards)
    return root


def pulled(root: Path, manifest: Manifest, tier: str = TIER) -> Pulled:
    shards = tuple(shard.path for shard in restricted(manifest, tier).shards)
    Pulled(repository="owner/nws", commit="0" * 40, shards=shards).save(root)
    found = Pulled.load(root)
    assert found is not None and found.shards == shards
    return found


def test_verify_of_a_tier(root: Path, tiny_dataset: TinyDataset) -> None:
    tier = restricted(tiny_dataset.manifest, TIER)
    report = verify(root, tier="40mb")
    assert report.problems == ()
    assert (report.tier, report.n_trainings) == (TIER, sum(s.n_trainings for s in tier.shards))
    assert report.n_bytes == sum(shard.nbytes for shard in tier.shards)
    assert report.n_shards_left == len(tiny_dataset.manifest.shards) - len(tier.shards)
    assert verify(root).n_damaged == report.n_shards_left  # without a tier they are missing
    with pytest.raises(SelectionError, match="give 1GB"):
        verify(root, tier="small")


def test_verify_of_a_tier_looks_at_no_other_shard(tiny_dataset: TinyDataset, tmp_path: Path) -> None:
    root = copy(tiny_dataset.root, tmp_path / "nws")
    inside = {shard.path for shard in restricted(tiny_dataset.manifest, TIER).shards}
    outside = next(shard.path for shard in tiny_dataset.manifest.shards if shard.path not in inside)
    write(root / outside, b"damaged")
    assert verify(root, tier=TIER).ok and not verify(root).ok
    path = root / min(inside)
    write(path, path.read_bytes()[:-1] + b"\0")
    assert "altered" in "".join(verify(root, tier=TIER).problems)


def test_verify_of_a_pulled_folder(root: Path, tiny_dataset: TinyDataset, capsys: pytest.CaptureFixture[str]) -> None:
    shards = pulled(root, tiny_dataset.manifest).shards
    assert main(["verify", str(root)]) == 0
    out = capsys.readouterr().out
    assert "sound (" in out and out.endswith(
        f"Partial: {len(tiny_dataset.manifest.shards) - len(shards)} shards were not pulled.\n"
    )
    (root / shards[0]).unlink()  # was pulled, so it is missed
    assert [p for p in verify(root).problems if "missing" in p] == list(verify(root).problems)
    extra = next(shard.path for shard in tiny_dataset.manifest.shards if shard.path not in shards)
    write(root / extra, b"not what it should be")  # was not pulled, but what is there is checked
    assert extra in "".join(verify(root).problems)


@pytest.mark.parametrize("text", ["{}", "", "null", "[" * 100_000])
def test_a_damaged_mark_of_a_pull(root: Path, text: str) -> None:
    (root / PULLED).write_text(text)
    assert "is damaged" in verify(root).problems[0]
    with pytest.raises(FormatError, match="remove it and pull again"):
        Pulled.load(root)


def test_info_of_a_tier(root: Path, tiny_dataset: TinyDataset, capsys: pytest.CaptureFixture[str]) -> None:
    tier = restricted(tiny_dataset.manifest, TIER)
    info, whole = describe(root, tier=TIER), describe(tiny_dataset.root)
    assert info.n_trainings == sum(shard.n_trainings for shard in tier.shards)
    assert info.n_bytes == sum(shard.nbytes for shard in tier.shards)
    for name, population in info.populations.items():
        assert population.digest == whole.populations[name].digest
        assert sum(population.hyperparameters["optimizer"].values()) == tier.populations[name].n_trainings
        for split, found in population.splits.items():
            assert found.n_trainings == tier.populations[name].splits[split].n_trainings
    assert main(["info", str(root), "--tier", TIER]) == 0
    assert capsys.readouterr().out.startswith(f"tier {TIER}: {info.n_trainings} trainings")
    assert main(["info", str(root), "--tier", "1MB"]) == 2
    assert "the smallest tier is" in capsys.readouterr().err


def test_info_says_what_is_here(root: Path, tiny_dataset: TinyDataset, capsys: pytest.CaptureFixture[str]) -> None:
    entry = restricted(tiny_dataset.manifest, TIER).populations["random"]
    shards = [shard for split in entry.splits.values() for shard in split.shards]
    n_bytes, n = sum(shard.nbytes for shard in shards), sum(shard.n_trainings for shard in shards)
    found = presence(root, {s: e.shards for s, e in tiny_dataset.manifest.populations["random"].splits.items()})
    assert found == Presence(n_shards=len(shards), n_trainings=n, n_bytes=n_bytes, tiers=())
    assert main(["info", str(root)]) == 0
    line = f"here: {n} trainings in {len(shards)} shards, {n_bytes / 1e6:,.1f} MB; no named tier is complete"
    assert line in capsys.readouterr().out
    whole = describe(tiny_dataset.root)
    assert whole.populations["random"].here.tiers == ("1GB", "10GB", "full")
    assert main(["info", str(tiny_dataset.root)]) == 0
    assert "here:" not in capsys.readouterr().out


def test_how_to_get_more(root: Path, tiny_dataset: TinyDataset, tmp_path: Path) -> None:
    assert "nws verify" in how_to_get(root, "fixed")
    pulled(root, tiny_dataset.manifest)
    assert how_to_get(root, "fixed", "10GB") == (
        f"`nws pull owner/nws --population fixed --tier 10GB --out {root}` fetches what is missing"
    )
    snapshot = tmp_path / ("0" * 40)
    root.rename(snapshot)
    assert how_to_get(snapshot, "fixed") == "nws_data.open('owner/nws', 'fixed', tier='full') fetches what is missing"
