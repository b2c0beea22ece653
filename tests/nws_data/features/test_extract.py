"""Features of views: against the definitions on the staged weights, cached and uncached, killed and extended."""

import itertools
import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

import nws_data.read.dataset as nws
from nws_data.check.verify import verify
from nws_data.errors import SelectionError
from nws_data.features.cache import BlockCache, default_folder
from nws_data.features.extract import feature_names, statistics_features
from nws_data.features.statistics import STATISTICS
from nws_data.hashing import sha256_of
from nws_data.read.views import FixedWindows, GlobalVectors, LayerTensors, RandomWindows, WeightView
from nws_data.space.architecture import KINDS, Architecture
from tests.conftest import TinyDataset, make_record, stage, write
from tests.nws_data.features.test_statistics import oracle
from tests.nws_data.format.forging import seal


@pytest.fixture
def root(tiny_dataset: TinyDataset, tmp_path: Path) -> Path:
    """A copy of the tiny dataset that may get a cache; the shards are hard links."""
    shutil.copytree(tiny_dataset.root, tmp_path / "nws", copy_function=os.link)
    return tmp_path / "nws"


@pytest.fixture
def fixed(root: Path) -> nws.NWSDataset:
    return nws.open(root, "fixed")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache of this test alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return default_folder()


def blocks() -> dict[str, int]:
    """Modification times of the blocks by name."""
    return {path.name: path.stat().st_mtime_ns for path in default_folder().rglob("*.block")}


def uncached(view: WeightView, pieces: Any = "vector") -> np.ndarray:
    return statistics_features(view, pieces, cache=False)


def test_vectors(fixed: nws.NWSDataset) -> None:
    view = GlobalVectors(fixed.select(last=2))
    found = statistics_features(view)
    assert found.shape == (16, 16) and found.dtype == np.float64
    expected = oracle(np.stack([view.data.vector(row).numpy() for row in range(3)]))
    np.testing.assert_allclose(found[:3], expected, rtol=1e-6, atol=1e-9)
    assert feature_names(view) == STATISTICS


def test_layers(fixed: nws.NWSDataset) -> None:
    view = GlobalVectors(fixed.select(last=1))
    found, names = statistics_features(view, "layers"), feature_names(view, "layers")
    assert found.shape == (8, 480) and len(names) == len(set(names)) == 480
    assert names[:3] == ("conv1.kernel.mean", "conv1.kernel.variance", "conv1.kernel.skewness")
    assert names[-1] == "fc2.variance.gradient_p99"
    vector = view.data.vector(5).numpy()
    layers = Architecture.of(view.data.hyperparameters(5)).layers[:-1]
    expected = [oracle(vector[None, layer[kind].slice])[0] for layer in layers for kind in KINDS]
    np.testing.assert_allclose(found[5], np.concatenate(expected), rtol=1e-6, atol=1e-9)


def test_windows(root: Path) -> None:
    view = FixedWindows(nws.open(root, "random").select(last=2, finite=True), 700, "fc")
    found = statistics_features(view)
    assert found.shape == (len(view), 16)
    items = [0, 1, 9, 10, len(view) - 1]
    expected = oracle(view.__getitems__(items).weights.numpy())
    np.testing.assert_allclose(found[items], expected, rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(found, uncached(view))


def test_what_is_not_cached(root: Path, cache: Path) -> None:
    data = nws.open(root, "random").select(last=1, finite=True)
    windows = RandomWindows(data, 500, windows_per_vector=3)
    first = statistics_features(windows)
    windows.set_epoch(1)
    assert not np.array_equal(statistics_features(windows), first)
    windows.set_epoch(0)
    np.testing.assert_array_equal(statistics_features(windows), first)
    padded = GlobalVectors(data, length="max")
    expected = oracle(padded.__getitems__([3]).weights.numpy())
    np.testing.assert_allclose(statistics_features(padded)[3:4], expected, rtol=1e-6, atol=1e-9)
    kernels = LayerTensors(data, "conv1", "kernel")
    expected = oracle(kernels.__getitems__([3]).weights.numpy().reshape(1, -1))
    np.testing.assert_allclose(statistics_features(kernels)[3:4], expected, rtol=1e-6, atol=1e-9)
    halves = FixedWindows(data, 500, transform=lambda weights: weights / 2)
    expected = oracle(FixedWindows(data, 500)[3][0].numpy()[None] / 2)
    np.testing.assert_allclose(statistics_features(halves)[3:4], expected, rtol=1e-6, atol=1e-9)
    assert not cache.exists()


class ReversedVectors(GlobalVectors):
    def _weights(self, items: np.ndarray, rows: np.ndarray) -> Tensor:
        return super()._weights(items, rows).flip(1)


class ReversedWindows(FixedWindows):
    def _weights(self, items: np.ndarray, rows: np.ndarray) -> Tensor:
        return super()._weights(items, rows).flip(1)


@pytest.mark.parametrize("pieces", ["vector", "layers"])
def test_a_view_that_changes_the_weights_gets_features_of_its_own(root: Path, pieces: Any) -> None:
    if pieces == "layers":
        views = (kind(nws.open(root, "fixed").select(last=1)) for kind in (GlobalVectors, ReversedVectors))
    else:
        data = nws.open(root, "random").select(last=1, finite=True)
        views = (kind(data, 700) for kind in (FixedWindows, ReversedWindows))
    plain, changed = views
    expected = uncached(changed, pieces)
    found = statistics_features(plain, pieces)
    before = blocks()
    assert before and not np.array_equal(found, expected)
    np.testing.assert_array_equal(statistics_features(changed, pieces), expected)
    assert blocks() == before  # nor does the subclass put its features into the cache
    np.testing.assert_array_equal(statistics_features(plain, pieces), found)


@pytest.mark.parametrize("pieces", ["vector", "layers"])
def test_the_same_bits_in_any_order_and_state(fixed: nws.NWSDataset, pieces: Any) -> None:
    data = fixed.select(snapshot=[3, 18, 19])
    whole = uncached(GlobalVectors(data), pieces)
    rows = np.random.default_rng(0).permutation(len(data))
    some = rows[:7]
    for chosen in (some, rows, rows[::-1], np.array([4, 4, 0])):  # the cache fills up meanwhile
        view = GlobalVectors(data.take(chosen))
        np.testing.assert_array_equal(statistics_features(view, pieces), whole[chosen])
        np.testing.assert_array_equal(uncached(view, pieces), whole[chosen])


def test_blocks_are_used_and_shared(fixed: nws.NWSDataset, cache: Path) -> None:
    few = fixed.select(snapshot=19, training=["fixed-000000", "fixed-000003"])
    statistics_features(GlobalVectors(few))
    n_few = len(blocks())
    everything = GlobalVectors(fixed.select(snapshot=19), target="optimizer")
    found = statistics_features(everything)
    n_shards = len(np.unique(fixed.shard_index))
    assert n_few <= 2 and len(blocks()) == n_shards
    before = blocks()
    statistics_features(GlobalVectors(few))
    statistics_features(everything)
    assert blocks() == before
    for path in cache.rglob("*.block"):  # numbers of our own, to see that they are read
        block = BlockCache(cache).read("vector", path.stem)
        BlockCache(cache).write("vector", path.stem, {training: features + 1 for training, features in block.items()})
    np.testing.assert_array_equal(statistics_features(everything), found + 1)


def test_a_folder_of_ones_own(fixed: nws.NWSDataset, tmp_path: Path, cache: Path) -> None:
    view = GlobalVectors(fixed.select(last=1))
    found = statistics_features(view, cache=tmp_path / "elsewhere")
    np.testing.assert_array_equal(found, uncached(view))
    assert not cache.exists() and list((tmp_path / "elsewhere").rglob("*.block"))


def test_a_damaged_block_is_computed_again(fixed: nws.NWSDataset, cache: Path) -> None:
    view = GlobalVectors(fixed.select(last=2))
    found = statistics_features(view)
    paths = sorted(cache.rglob("*.block"))
    raw = paths[0].read_bytes()
    BlockCache(cache).write("vector", paths[0].stem, {"fixed-000000": np.zeros((1, 3))})
    wrong_shape = paths[0].read_bytes()
    for content in (raw[:-8], raw[:-1] + bytes([raw[-1] ^ 1]), wrong_shape, b""):
        paths[0].write_bytes(content)
        np.testing.assert_array_equal(statistics_features(view), found)
        assert paths[0].read_bytes() == raw


def test_no_place_to_write(fixed: nws.NWSDataset, cache: Path) -> None:
    cache.parent.parent.mkdir()
    cache.parent.write_text("a file in the way")
    view = GlobalVectors(fixed.select(last=2))
    with pytest.warns(UserWarning, match="computed but not kept") as caught:
        found = statistics_features(view)
    assert len(caught) == 1
    np.testing.assert_array_equal(found, uncached(view))


def extract_until(root: Path, n_blocks: int) -> None:
    """Extract, and kill this process when so many blocks stand and the next is about to."""
    renamed = itertools.count()

    def strike(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "os.rename" and str(arguments[1]).endswith(".block") and next(renamed) == n_blocks:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(strike)
    statistics_features(GlobalVectors(nws.open(root, "fixed").select(last=5)), "layers")


@pytest.fixture
def fork() -> Iterator[Any]:
    yield multiprocessing.get_context("fork")


@pytest.mark.parametrize("n_blocks", [0, 1, 2, 9, 17])
def test_killed_before_any_block(fixed: nws.NWSDataset, fork: Any, n_blocks: int) -> None:
    root, view = fixed.root, GlobalVectors(fixed.select(last=5))
    process = fork.Process(target=extract_until, args=(root, n_blocks))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    before = blocks()
    found = statistics_features(view, "layers")
    np.testing.assert_array_equal(found, uncached(view, "layers"))
    after = blocks()
    assert {name: after[name] for name in before} == before  # finished blocks were not done again
    assert n_blocks == len(before) < len(after) == 5 * len(np.unique(fixed.shard_index))


def test_an_extended_dataset_keeps_its_blocks(tiny_dataset: TinyDataset, tmp_path: Path) -> None:
    root, sizes = tmp_path / "nws", (10_000_000,)
    staged = stage(tmp_path / "staged", "fixed", range(6))
    write(root, "fixed", staged[:4], sizes)
    statistics_features(GlobalVectors(nws.open(root, "fixed").select(last=1)))
    before = blocks()
    write(root, "fixed", staged, sizes)
    view = GlobalVectors(nws.open(root, "fixed").select(last=1))
    np.testing.assert_array_equal(statistics_features(view), uncached(view))
    after = blocks()
    assert {name: after[name] for name in before} == before and len(after) > len(before)
    assert verify(root).problems == ()


def test_a_changed_shard_never_meets_old_blocks(tmp_path: Path) -> None:
    views = []
    for name, sign in (("a", 1), ("b", -1)):
        record = make_record("fixed", 0)
        record = replace(record, weights=sign * record.weights)
        path = tmp_path / name / f"{record.training}.safetensors"
        record.save(path)
        write(tmp_path / name / "nws", "fixed", [path])
        views.append(GlobalVectors(nws.open(tmp_path / name / "nws", "fixed")))
    statistics_features(views[0])
    found = statistics_features(views[1])
    np.testing.assert_array_equal(found, uncached(views[1]))
    assert len(blocks()) == 40
    old = statistics_features(views[0])
    # A stranger's shard that is recorded under the SHA-256 of another one has features of its own.
    shards = [view.data.root / view.data.store.shards[0].path for view in views]
    seal(views[1].data.root, {views[1].data.store.shards[0].path: sha256_of(shards[0].read_bytes())})
    posed = GlobalVectors(nws.open(views[1].data.root, "fixed"))
    assert posed.data.manifest.file_sha256[posed.data.store.shards[0].path] == sha256_of(shards[0].read_bytes())
    np.testing.assert_array_equal(statistics_features(posed), found)
    np.testing.assert_array_equal(statistics_features(views[0]), old)


def test_a_folder_in_the_dataset_is_not_believed(fixed: nws.NWSDataset, cache: Path) -> None:
    view = GlobalVectors(fixed.select(last=1))
    found = statistics_features(view)
    for path in cache.rglob("*.block"):
        block = BlockCache(cache).read("vector", path.stem)
        theirs = {training: features + 1 for training, features in block.items()}
        BlockCache(fixed.root / ".features").write("vector", path.stem, theirs)
        path.unlink()
    np.testing.assert_array_equal(statistics_features(view), found)
    assert verify(fixed.root).ok


def test_no_home(fixed: nws.NWSDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    view = GlobalVectors(fixed.select(last=1))
    monkeypatch.setenv("XDG_CACHE_HOME", "~no-such-user/cache")
    with pytest.warns(UserWarning, match="features are computed but not kept"):
        np.testing.assert_array_equal(statistics_features(view), uncached(view))


def test_values_that_are_not_finite_are_refused_by_id(root: Path) -> None:
    data = nws.open(root, "random")
    bad = data.select(training="random-000006")
    message = "1 trainings .* the first is random-000006: leave them out by data.select\\(finite=True\\)"
    for selection in (bad.select(last=1), data.select(last=2, split="train")):
        with pytest.raises(SelectionError, match=message):
            statistics_features(FixedWindows(selection, 1000))
    # What is asked for is finite: other snapshots, and other trainings of the same shard.
    early = FixedWindows(data.select(snapshot=[0, 1]), 1000)
    np.testing.assert_array_equal(statistics_features(early), uncached(early))
    others = FixedWindows(data.select(last=1, finite=True), 1000)
    np.testing.assert_array_equal(statistics_features(others), uncached(others))


def test_layers_of_what_has_none(root: Path) -> None:
    fixed, random = nws.open(root, "fixed").select(last=1), nws.open(root, "random").select(last=1, finite=True)
    turned = GlobalVectors(fixed, transform=lambda weights: weights.flip(1))
    for view in (GlobalVectors(random, length="max"), GlobalVectors(fixed, length=100), FixedWindows(fixed, 100), turned):
        with pytest.raises(SelectionError, match="of one architecture: give GlobalVectors"):
            statistics_features(view, "layers")
    with pytest.raises(SelectionError, match=r"features are of a view, such as GlobalVectors\(data\), got NWSDataset"):
        statistics_features(fixed)  # type: ignore[arg-type]
    with pytest.raises(SelectionError, match=r"pieces: got 'layer' \(did you mean layers\?\); choose one of vector, layers"):
        feature_names(GlobalVectors(fixed), "layer")  # type: ignore[arg-type]


def test_layers_of_one_small_architecture(root: Path) -> None:
    data = nws.open(root, "random").select(last=1, finite=True, depth_fc=4)
    view = GlobalVectors(data)
    found = statistics_features(view, "layers")
    assert found.shape == (len(data), len(feature_names(view, "layers"))) == (len(data), 6 * 6 * 16)
    np.testing.assert_array_equal(found, uncached(view, "layers"))


def test_layers_of_two_architectures_of_one_length(tmp_path: Path) -> None:
    """Without batch norm a piece less; two architectures are refused even if their vectors were equally long."""
    record = make_record("random", 0)
    bare = replace(record.hyperparameters, batch_norm=False)
    record = replace(record, hyperparameters=bare, weights=record.weights[:, : Architecture.of(bare).n_weights].copy())
    record.save(tmp_path / "0.safetensors")
    write(tmp_path / "nws", "random", [tmp_path / "0.safetensors"])
    data = nws.open(tmp_path / "nws").select(last=1)
    names = feature_names(GlobalVectors(data), "layers")
    assert len(names) == (len(Architecture.of(bare).layers) - 1) * 2 * 16
    assert statistics_features(GlobalVectors(data), "layers").shape == (1, len(names))
    two = data.take(np.array([0, 0]))
    two._columns["filter_size"] = np.array([3, 5])
    with pytest.raises(SelectionError, match="of one architecture: give GlobalVectors"):
        statistics_features(GlobalVectors(two), "layers")


def test_progress_is_shown_on_terminals_only(fixed: nws.NWSDataset, capfd: pytest.CaptureFixture[str]) -> None:
    statistics_features(GlobalVectors(fixed.select(last=1)), progress=True)
    assert capfd.readouterr() == ("", "")
