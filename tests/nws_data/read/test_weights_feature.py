"""The feature inside ``datasets``: every way a row is read gives the staged values, and Arrow never holds them."""

import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch.utils.data import DataLoader

from nws_data.errors import FormatError, SelectionError
from tests.conftest import write


@pytest.fixture(scope="module")
def hf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The datasets library with its cache in a temporary folder, off line."""
    home = tmp_path_factory.mktemp("hf")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HOME", str(home))
        patch.setenv("HF_HUB_OFFLINE", "1")
        import datasets

        for name in ("HF_CACHE_HOME", "HF_DATASETS_CACHE", "HF_MODULES_CACHE", "DOWNLOADED_DATASETS_PATH"):
            patch.setattr(datasets.config, name, type(getattr(datasets.config, name))(home / name.lower()))
        patch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
        yield datasets


@pytest.fixture(scope="module")
def plain(hf: ModuleType, tiny_dataset: Any) -> Any:
    """The fixed population's train split as anybody loads it, without this package."""
    return hf.load_dataset(str(tiny_dataset.root), "fixed", split="train")


@pytest.fixture
def ds(plain: Any, tiny_dataset: Any) -> Any:
    from nws_data.read.weights_feature import Weights

    return plain.cast_column("weights", Weights(root=tiny_dataset.root))


def assert_staged(row: dict[str, Any], tiny: Any) -> None:
    expected = tiny.record(row["training"]).weights[int(row["snapshot"])]
    np.testing.assert_array_equal(np.asarray(row["weights"]), expected)


def test_rows_slices_and_columns(ds: Any, plain: Any, tiny_dataset: Any) -> None:
    assert set(plain[0]["weights"]) == {"shard", "key", "row", "offset", "nbytes"}
    for i in (0, 19, -1):
        assert_staged(ds[i], tiny_dataset)
    value = ds[0]["weights"]
    assert isinstance(value, np.ndarray) and value.dtype == np.float32 and value.shape == (92868,)
    value[:] = 0  # the caller's own
    assert_staged(ds[0], tiny_dataset)
    batch = ds[3:5]
    np.testing.assert_array_equal(batch["weights"][1], ds[4]["weights"])
    np.testing.assert_array_equal(ds["weights"][4], ds[4]["weights"])
    assert [r["snapshot"] for r in ds.select(range(2))] == [0, 1]


def test_torch_and_numpy_formats(ds: Any, tiny_dataset: Any) -> None:
    for formatted in (ds.with_format("torch"), ds.with_format("torch", columns=["weights", "training", "snapshot"])):
        row = formatted[7]
        assert isinstance(row["weights"], torch.Tensor) and row["weights"].dtype == torch.float32
        assert_staged(row, tiny_dataset)
        assert formatted[:3]["weights"].shape == (3, 92868)
    assert ds.with_format("numpy")[7]["weights"].dtype == np.float32
    ds.set_format("torch")
    assert_staged(ds[7], tiny_dataset)
    ds.reset_format()
    assert isinstance(ds[7]["weights"], np.ndarray)


def test_select_filter_shuffle_and_pickle(ds: Any, tiny_dataset: Any) -> None:
    assert_staged(ds.select([25, 3])[0], tiny_dataset)
    last = ds.filter(lambda snapshot: snapshot == 19, input_columns="snapshot")
    assert len(last) == len(ds) // 20
    assert_staged(last[1], tiny_dataset)
    assert_staged(ds.shuffle(seed=0)[5], tiny_dataset)
    assert_staged(pickle.loads(pickle.dumps(ds))[5], tiny_dataset)


def test_map_without_touching_keeps_positions(ds: Any, tiny_dataset: Any) -> None:
    mapped = ds.map(lambda row: {"late": row["snapshot"] > 9})
    assert mapped.features["weights"] == ds.features["weights"]
    assert_staged(mapped[15], tiny_dataset)
    assert mapped.data.nbytes < 1e6


def test_map_that_names_what_it_reads_keeps_positions(ds: Any, tiny_dataset: Any) -> None:
    means = ds.select(range(4)).map(lambda weights: {"mean": float(weights.mean())}, input_columns="weights")
    assert means[2]["mean"] == pytest.approx(float(tiny_dataset.record(ds[2]["training"]).weights[2].mean()))
    assert means.data.nbytes < 1e5
    assert_staged(means[2], tiny_dataset)


def test_values_given_back_as_weights_are_refused(ds: Any) -> None:
    for features in (ds.features, None):
        with pytest.raises(SelectionError, match=r"not values, got list.*: return values under another"):
            ds.select(range(2)).map(lambda row: {"weights": row["weights"] * 2}, features=features)


def test_save_to_disk_and_load_from_disk(ds: Any, hf: ModuleType, tiny_dataset: Any, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=rf"holds positions of weights in {tiny_dataset.root}, not their values: keep"):
        ds.select(range(20, 40)).save_to_disk(str(tmp_path / "saved"))
    again = hf.load_from_disk(str(tmp_path / "saved"))
    assert again.features["weights"] == ds.features["weights"]
    assert_staged(again[4], tiny_dataset)
    assert sum(f.stat().st_size for f in (tmp_path / "saved").iterdir()) < 1e5


def test_the_values_themselves_are_saved_as_the_warning_says(ds: Any, hf: ModuleType, tmp_path: Path) -> None:
    values = ds.select([3, 25]).map(lambda weights: {"values": weights}, input_columns="weights", remove_columns="weights")
    values.to_parquet(tmp_path / "values.parquet")
    saved = hf.Dataset.from_parquet(str(tmp_path / "values.parquet")).with_format("numpy")
    np.testing.assert_array_equal(saved["values"][:], np.stack([ds[3]["weights"], ds[25]["weights"]]))


@pytest.mark.slow
def test_load_from_disk_after_importing_both_packages(ds: Any, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="holds positions"):
        ds.select(range(2)).save_to_disk(str(tmp_path / "saved"))
    code = f"import datasets, nws_data\nprint(datasets.load_from_disk({str(tmp_path / 'saved')!r})[1]['weights'].sum())"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert found.split()[-1] == str(ds[1]["weights"].sum())


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_loader_workers(ds: Any, tiny_dataset: Any, method: str) -> None:
    chosen = ds.select([30, 2, 11]).with_format("torch", columns=["weights", "training", "snapshot"])
    loader = DataLoader(chosen, batch_size=3, num_workers=1, multiprocessing_context=method)
    (batch,) = loader
    for i in range(3):
        assert_staged({name: batch[name][i] for name in batch}, tiny_dataset)


def test_streaming(hf: ModuleType, tiny_dataset: Any) -> None:
    from nws_data.read.weights_feature import Weights

    stream = hf.load_dataset(str(tiny_dataset.root), "fixed", split="train", streaming=True)
    stream = stream.cast_column("weights", Weights(root=tiny_dataset.root))
    for row in stream.take(3):
        assert_staged(row, tiny_dataset)
    row = next(iter(stream.with_format("torch").filter(lambda row: row["snapshot"] == 19)))
    assert isinstance(row["weights"], torch.Tensor)
    assert_staged(row, tiny_dataset)
    mapped = stream.map(lambda row: {"late": row["snapshot"] > 9})
    assert_staged(next(iter(mapped)), tiny_dataset)
    for changed in (stream.remove_columns(["epoch"]), stream.rename_column("epoch", "e"), stream.select_columns(list(row))):
        assert_staged(next(iter(changed)), tiny_dataset)


@pytest.fixture
def memory_root(tiny_dataset: Any) -> Iterator[str]:
    """The shards at a remote address, in fsspec's memory file system."""
    import fsspec

    files = fsspec.filesystem("memory")
    for path in (tiny_dataset.root / "weights").rglob("*.safetensors"):
        files.pipe(f"/nws/{path.relative_to(tiny_dataset.root)}", path.read_bytes())
    yield "memory://nws"
    files.rm("/nws", recursive=True)


def test_remote_root(plain: Any, memory_root: str, tiny_dataset: Any) -> None:
    from nws_data.read.weights_feature import Weights

    for root in (memory_root, f"file://{tiny_dataset.root}"):
        ds = plain.cast_column("weights", Weights(root=root))
        for i in (0, 39, 21):
            assert_staged(ds[i], tiny_dataset)
        ds[0]["weights"][:] = 1
        assert_staged(ds[0], tiny_dataset)


def test_remote_reads_are_exact_ranges(plain: Any, memory_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A vector costs its own bytes, and each shard's header is read once."""
    from fsspec.implementations.memory import MemoryFile

    from nws_data.read.shard_readers import ShardReader

    sizes: list[int] = []
    read, readinto = MemoryFile.read, MemoryFile.readinto
    monkeypatch.setattr(MemoryFile, "read", lambda self, n=-1: sizes.append(n) or read(self, n))
    monkeypatch.setattr(MemoryFile, "readinto", lambda self, into: sizes.append(len(into)) or readinto(self, into))
    reader = ShardReader(memory_root)
    for i in (0, 5):
        reader.read(plain[i]["weights"])
    assert sizes == [65536, 4 * 92868, 4 * 92868]


def test_damaged_and_missing_shards(plain: Any, memory_root: str, tiny_dataset: Any, tmp_path: Path) -> None:
    import fsspec

    from nws_data.read.shard_readers import ShardReader

    position = plain[0]["weights"]
    with pytest.raises(FormatError, match="the shard is missing; fetch what `nws verify"):
        ShardReader(str(tmp_path)).read(position)
    circle = tmp_path / "circle" / position["shard"]
    circle.parent.mkdir(parents=True)
    circle.symlink_to(circle)
    with pytest.raises(FormatError, match="the shard is missing; fetch what `nws verify"):
        ShardReader(str(tmp_path / "circle")).read(position)
    with pytest.raises(FormatError, match="the shard is missing; check the root"):
        ShardReader("memory://elsewhere").read(position)
    raw = (tiny_dataset.root / position["shard"]).read_bytes()
    fsspec.filesystem("memory").pipe(f"/nws/{position['shard']}", raw[:-8])
    with pytest.raises(FormatError, match="truncated"):
        ShardReader(memory_root).read(position)
    for root in (str(tiny_dataset.root), f"file://{tiny_dataset.root}"):
        with pytest.raises(FormatError, match="holds no t999999: metadata and shards are of different builds"):
            ShardReader(root).read(position | {"key": "t999999"})
        with pytest.raises(SelectionError, match=r"row must be in \[0, 19\], got 20"):
            ShardReader(root).read(position | {"row": 20})
        for name in ("offset", "nbytes"):
            with pytest.raises(FormatError, match=r"in another place than the metadata say: .* different builds"):
                ShardReader(root).read(position | {name: position[name] + 4})
    with pytest.raises(FormatError, match="not a complete safetensors file"):
        (tmp_path / "weights/fixed").mkdir(parents=True)
        shutil.copy(tiny_dataset.root / "README.md", tmp_path / "weights/fixed/test-00009.safetensors")
        ShardReader(f"file://{tmp_path}").read(position | {"shard": "weights/fixed/test-00009.safetensors"})


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="looks at descriptors as Linux shows them")
def test_shards_of_a_folder_hold_no_descriptor(tiny_dataset: Any) -> None:
    """A full dataset has more shards than a process may open files."""
    from nws_data.read.shard_readers import ShardReader

    reader, places = ShardReader(str(tiny_dataset.root)), {}
    for path in tiny_dataset.manifest.sha256:
        if "weights" in pq.read_schema(tiny_dataset.root / path).names:
            rows = pq.read_table(tiny_dataset.root / path, columns=["training", "snapshot", "weights"]).to_pylist()
            places |= {row["weights"]["shard"]: row for row in rows}
    for row in places.values():
        assert_staged(row | {"weights": reader.read(row["weights"])}, tiny_dataset)
    opened = {os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()}
    assert len(places) > 5 and not opened & {str(tiny_dataset.root.resolve() / shard) for shard in places}


def test_a_shard_that_is_replaced_while_it_is_opened(tiny_dataset: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """The header of one build and the values of another would be silently wrong weights."""
    from nws_data.read import shard_readers

    root = Path(shutil.copytree(tiny_dataset.root, tmp_path / "nws"))
    rows = pq.read_table(root / "metadata" / "fixed").to_pylist()
    row = max(
        (row for row in rows if row["weights"]["shard"].endswith("train-00000.safetensors")),
        key=lambda r: r["weights"]["offset"],
    )
    shard, read = root / row["weights"]["shard"], shard_readers.read_header_of

    def replaced(file: Any, name: str) -> Any:
        (tmp_path / "new").write_bytes(shard.read_bytes()[:-4000] + bytes(4000))
        os.replace(tmp_path / "new", shard)
        return read(file, name)

    reader = shard_readers.ShardReader(str(root))
    with monkeypatch.context() as patch:
        patch.setattr(shard_readers, "read_header_of", replaced)
        assert_staged(row | {"weights": reader.read(row["weights"])}, tiny_dataset)
    assert not reader.read(row["weights"])[-1000:].any()


def test_no_root_is_left(plain: Any, tiny_dataset: Any, tmp_path: Path) -> None:
    """A row that names another dataset's shard, as a stranger's table may, is refused before anything is opened."""
    from nws_data.read.shard_readers import ShardReader

    position = plain[0]["weights"]
    root = tmp_path / "weights"
    root.mkdir()
    for shard in (str(tiny_dataset.root / position["shard"]), f"../../{tiny_dataset.root.name}/{position['shard']}"):
        for address in (str(root), f"file://{root}"):
            with pytest.raises(FormatError, match="no shard has the path"):
                ShardReader(address).read(position | {"shard": shard})


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_rebuilt_folder_gives_its_own_weights(
    hf: ModuleType, tiny_dataset: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    from nws_data.read.weights_feature import Weights

    monkeypatch.chdir(tmp_path)
    feature = Weights(root=f"{scheme}{tmp_path}/nws" if scheme else "nws")
    for records in (tiny_dataset.staged["fixed"][:2], tiny_dataset.staged["fixed"][2:4]):
        shutil.rmtree(tmp_path / "nws", ignore_errors=True)
        write(tmp_path / "nws", "fixed", records)
        rows = hf.load_dataset(str(tmp_path / "nws"), "fixed")
        row = next(iter(rows.values())).cast_column("weights", feature)[3]
        assert_staged(row, tiny_dataset)


def test_a_relative_root_is_that_of_the_cast(
    plain: Any, tiny_dataset: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nws_data.read.weights_feature import Weights

    monkeypatch.chdir(tiny_dataset.root.parent)
    ds = plain.cast_column("weights", Weights(root="nws"))
    monkeypatch.chdir(tmp_path)
    assert_staged(ds[0], tiny_dataset)
    monkeypatch.setenv("HOME", str(tiny_dataset.root.parent))
    assert_staged(plain.cast_column("weights", Weights(root="~/nws"))[0], tiny_dataset)


def test_without_decoding_and_wrong_columns(plain: Any, tiny_dataset: Any) -> None:
    from nws_data.read.weights_feature import Weights

    raw = plain.cast_column("weights", Weights(root=tiny_dataset.root, decode=False))
    assert raw[3]["weights"] == plain[3]["weights"]
    with pytest.raises(SelectionError, match="the struct lacks shard, key"):
        Weights(root="nws").cast_storage(plain.data.column("weights").chunk(0).field("row").value_counts())


def test_a_root_that_is_none() -> None:
    from nws_data.read.weights_feature import Weights

    with pytest.raises(SelectionError, match=r"root must be a folder or an address .*, got None"):
        Weights(root=None)  # type: ignore[arg-type]
