"""Reading against the safetensors library, and every way a shard can be wrong."""

import os
import pickle
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

from nws_data.errors import FormatError, NWSError
from nws_data.format.shards import read_header, shard_key, write_shard
from nws_data.read.store import Shard, WeightStore, map_values
from tests.processes import Process

A, B = "weights/random/train-00000.safetensors", "weights/random/train-00001.safetensors"
LENGTHS = {0: 300, 1: 500, 4: 407}


@pytest.fixture
def tensors() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {shard_key(i): rng.standard_normal((20, n)).astype(np.float32) for i, n in LENGTHS.items()}


@pytest.fixture
def store(tmp_path: Path, tensors: dict[str, np.ndarray]) -> WeightStore:
    """Two shards: all tensors, and the first negated."""
    shards = []
    for name, content in ((A, tensors), (B, {shard_key(0): -tensors[shard_key(0)]})):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_shard(path, "random", "train", {k: t.shape[1] for k, t in content.items()}, content.values())
        shards.append(Shard(name, {k: p.offset for k, p in read_header(path).positions.items()}))
    return WeightStore(tmp_path, shards)


def value_offset(store: WeightStore, shard: int, key: str, row: int, n: int) -> int:
    return store.shards[shard].offsets[key] // 4 + row * n


def test_every_value_is_that_of_the_safetensors_library(store: WeightStore) -> None:
    for i, shard in enumerate(store.shards):
        with safe_open(store.root / shard.path, "np") as file:
            for key in file.keys():  # noqa: SIM118
                expected = file.get_tensor(key)
                starts = np.array([value_offset(store, i, key, row, expected.shape[1]) for row in range(20)])
                found = store.gather(np.full(20, i), starts, expected.shape[1])
                np.testing.assert_array_equal(found.numpy(), expected)


def test_windows_from_several_shards_in_any_order(store: WeightStore, tensors: dict[str, np.ndarray]) -> None:
    starts = [value_offset(store, 1, "t000000", 19, 300) + 200, value_offset(store, 0, "t000004", 3, 407) + 7]
    found = store.gather(np.array([1, 0]), np.array(starts), 100)
    np.testing.assert_array_equal(found[0], -tensors["t000000"][19, 200:])
    np.testing.assert_array_equal(found[1], tensors["t000004"][3, 7:107])


def test_shorter_pieces_are_filled_with_zeros(store: WeightStore, tensors: dict[str, np.ndarray]) -> None:
    starts = np.array([value_offset(store, 0, "t000001", 2, 500), value_offset(store, 0, "t000000", 5, 300)])
    store.gather(np.zeros(2, int), starts, 450).fill_(7)  # memory that is used again must not shine through
    found = store.gather_padded(np.zeros(2, int), starts, np.array([450, 300]), 450)
    np.testing.assert_array_equal(found[0], tensors["t000001"][2, :450])
    np.testing.assert_array_equal(found[1], np.pad(tensors["t000000"][5], (0, 150)))


def test_output_is_writable_and_its_own(store: WeightStore) -> None:
    starts = np.array([value_offset(store, 0, "t000000", 0, 300)])
    first = store.gather(np.array([0]), starts, 300)
    kept = first.clone()
    first += 1
    np.testing.assert_array_equal(store.gather(np.array([0]), starts, 300), kept)


def test_an_empty_batch_is_empty(store: WeightStore) -> None:
    assert store.gather(np.array([], int), np.array([], int), 10).shape == (0, 10)


def test_pickles_as_paths(store: WeightStore) -> None:
    starts = np.array([value_offset(store, 0, "t000001", 9, 500)])
    expected = store.gather(np.array([0]), starts, 500)
    blob = pickle.dumps(store)
    assert len(blob) < 2000
    assert torch.equal(pickle.loads(blob).gather(np.array([0]), starts, 500), expected)


def test_cold_reads_with_advice_give_the_same(store: WeightStore, tensors: dict[str, np.ndarray]) -> None:
    starts = np.array([value_offset(store, 0, "t000004", row, 407) for row in (19, 0)])
    store._cold = True
    np.testing.assert_array_equal(store.gather(np.zeros(2, int), starts, 407), tensors["t000004"][[19, 0]])


def test_a_folder_whose_name_is_not_utf8(store: WeightStore) -> None:
    folder = store.root / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    (store.root / "weights").rename(folder / "weights")
    other = WeightStore(folder, store.shards)
    assert len(other.values(0)) and not other.values(0).flags.writeable


def test_missing_shard(store: WeightStore) -> None:
    (store.root / B).unlink()
    with pytest.raises(FormatError, match="the shard is missing; fetch"):
        store.gather(np.array([1]), np.array([0]), 1)


def test_truncated_shard_is_refused_before_it_is_mapped(store: WeightStore) -> None:
    path = store.root / A
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(FormatError, match="truncated"):
        store.gather(np.array([0]), np.array([0]), 1)


def test_foreign_safetensors_file(store: WeightStore) -> None:
    save_file({"t000000": np.zeros((20, 3), np.float32)}, store.root / A)
    with pytest.raises(FormatError, match="not an NWS shard"):
        store.gather(np.array([0]), np.array([0]), 1)


def test_shard_of_another_build(store: WeightStore) -> None:
    shutil.copy(store.root / B, store.root / A)
    with pytest.raises(FormatError, match="different builds"):
        store.gather(np.array([0]), np.array([0]), 1)


@pytest.mark.parametrize("cold", [False, True])
def test_position_behind_the_end_of_the_file(store: WeightStore, cold: bool) -> None:
    end = (store.root / B).stat().st_size // 4
    store._cold = cold
    with pytest.raises(FormatError, match="the metadata name bytes up to"):
        store.gather(np.array([1]), np.array([end - 5]), 10)


@pytest.mark.parametrize("path", ["../secret.safetensors", "/etc/shard.safetensors", "weights/../../x"])
def test_shard_outside_the_folder(path: str) -> None:
    with pytest.raises(FormatError, match="no shard has the path"):
        Shard(path, {})


def test_more_shards_than_descriptors(tensors: dict[str, np.ndarray], tmp_path: Path) -> None:
    """A shard holds no descriptor once it is mapped, nor does a cold batch, which advises the system of its pieces."""
    offsets, names = {}, [f"weights/random/test-{i:05d}.safetensors" for i in range(72)]
    (tmp_path / names[0]).parent.mkdir(parents=True)
    for name in names:
        write_shard(tmp_path / name, "random", "test", {k: t.shape[1] for k, t in tensors.items()}, tensors.values())
        offsets[name] = {k: p.offset for k, p in read_header(tmp_path / name).positions.items()}
    store = WeightStore(tmp_path, [Shard(name, offsets[name]) for name in names])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 9, hard))
    try:
        for store._cold in (False, True):
            found = store.gather(np.arange(72), np.full(72, offsets[names[0]]["t000001"] // 4), 500)
            np.testing.assert_array_equal(found, np.stack([tensors["t000001"][0]] * 72))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_shard_that_cannot_be_mapped_is_named(tmp_path: Path) -> None:
    path = tmp_path / "shard"
    path.touch()
    os.truncate(path, 2**36)  # without a block on disk
    process = Process(_map_with_little_room, path)
    assert process.wait(60) == 0, process.printed()
    assert process.printed().startswith(f"{path}: cannot be mapped into memory (") and "supports mmap" in process.printed()


def _map_with_little_room(path: Path) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (2**35, 2**35))
    try:
        map_values(path)
    except NWSError as error:
        print(error)
