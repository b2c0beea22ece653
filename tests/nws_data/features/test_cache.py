"""Blocks are complete and right, or count as absent."""

from pathlib import Path

import numpy as np
import pytest

from nws_data.features.cache import BlockCache, block_key

SHARD = Path(__file__)
KEY = block_key(SHARD, "a" * 64, 19, "vector", {}, 1)
BLOCK = {"fixed-000002": np.arange(6.0).reshape(2, 3), "fixed-000000": np.full((2, 3), np.nan)}


def same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> bool:
    return sorted(found) == sorted(expected) and all(np.array_equal(found[k], expected[k], equal_nan=True) for k in expected)


def test_round_trip(tmp_path: Path) -> None:
    cache = BlockCache(tmp_path / "not" / "yet")
    assert cache.read("vector", KEY) == {}
    cache.write("vector", KEY, BLOCK)
    assert same(cache.read("vector", KEY), BLOCK)
    assert [path.name for path in (tmp_path / "not" / "yet" / "vector").iterdir()] == [f"{KEY}.block"]


def test_every_damage_counts_as_absent(tmp_path: Path) -> None:
    cache = BlockCache(tmp_path)
    cache.write("vector", KEY, BLOCK)
    path = tmp_path / "vector" / f"{KEY}.block"
    raw = path.read_bytes()
    damaged = [raw[:n] for n in range(0, len(raw), 7)] + [raw + b"x", b"", b"x" * 500]
    for place in range(0, len(raw), 5):
        changed = bytearray(raw)
        changed[place] ^= 1
        damaged.append(bytes(changed))
    for content in damaged:
        path.write_bytes(content)
        assert cache.read("vector", KEY) == {}
    path.unlink()
    path.mkdir()
    assert cache.read("vector", KEY) == {}


def test_every_part_of_the_key_counts() -> None:
    window = {"length": 5000, "part": "all", "windows": 10}
    keys = [
        KEY,
        block_key(SHARD, "b" * 64, 19, "vector", {}, 1),
        block_key(SHARD, "a" * 64, 18, "vector", {}, 1),
        block_key(SHARD, "a" * 64, 19, "layers", {}, 1),
        block_key(SHARD, "a" * 64, 19, "vector", {}, 2),
        block_key(SHARD, "a" * 64, 19, "windows", window, 1),
        *(
            block_key(SHARD, "a" * 64, 19, "windows", window | c, 1)
            for c in ({"length": 100}, {"part": "fc"}, {"windows": 9})
        ),
    ]
    assert len(set(keys)) == len(keys)
    assert block_key(SHARD, "a" * 64, 19, "vector", {}, 1) == KEY and len(KEY) == 64


def test_a_folder_that_takes_nothing_warns_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = BlockCache(tmp_path / "file")
    with pytest.warns(UserWarning, match="features are computed but not kept: cannot write") as caught:
        cache.write("vector", KEY, BLOCK)
        cache.write("vector", KEY, BLOCK)
    assert len(caught) == 1
    assert cache.read("vector", KEY) == {}
