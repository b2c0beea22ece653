"""Shards against the safetensors library (the oracle) and against a golden file kept in the tests."""

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from nws_data.errors import FormatError
from nws_data.format.shards import (
    N_SNAPSHOTS,
    divide_into_shards,
    encode_shard_header,
    read_header,
    read_header_of,
    shard_key,
    shard_path,
    write_shard,
)

GOLDEN = Path(__file__).parent / "golden" / "fixed-train-v1.safetensors"
GOLDEN_SHA256 = "c6781855f56f83ce55e2819f5de92181d6f68c4df090001e4978145cceb6e39a"
LENGTHS = {"t000000": 3, "t000007": 1, "t000123": 12}


def tensors(lengths: dict[str, int] = LENGTHS) -> dict[str, np.ndarray]:
    """Numbers that anyone can compute again: row + column / 8, exact in float32."""
    return {key: (np.arange(N_SNAPSHOTS)[:, None] + np.arange(n)[None] / 8).astype(np.float32) for key, n in lengths.items()}


def library_bytes(values: dict[str, np.ndarray], text: str | None = None) -> bytes:
    text = text or json.dumps({"format_version": 1, "population": "fixed", "split": "train"}, sort_keys=True)
    return save(values, metadata={"nws": text})


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    path = tmp_path / "shard.safetensors"
    write_shard(path, "fixed", "train", LENGTHS, iter(tensors().values()))
    return path


@pytest.mark.parametrize("n_members", [1, 2, 3, 10, 64])
def test_bytes_are_those_of_the_library(tmp_path: Path, n_members: int) -> None:
    lengths = {shard_key(7 * i): 1 + i % 5 for i in range(n_members)}
    path = tmp_path / "shard"
    written = write_shard(path, "fixed", "train", lengths, iter(tensors(lengths).values()))
    assert path.read_bytes() == library_bytes(tensors(lengths))
    assert written.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert written.nbytes == path.stat().st_size
    assert written.positions == read_header(path).positions


def test_golden_shard_of_format_version_1(shard: Path) -> None:
    assert hashlib.sha256(GOLDEN.read_bytes()).hexdigest() == GOLDEN_SHA256
    assert shard.read_bytes() == GOLDEN.read_bytes()
    assert GOLDEN.read_bytes()[8:75] == b'{"__metadata__":{"nws":"{\\"format_version\\": 1, \\"population\\": \\"f'
    header = read_header(GOLDEN)
    assert (header.population, header.split, list(header.positions)) == ("fixed", "train", list(LENGTHS))
    for key, tensor in load_file(GOLDEN).items():
        np.testing.assert_array_equal(tensor, tensors()[key])


def test_positions_lead_to_every_row(shard: Path) -> None:
    content = shard.read_bytes()
    for key, position in read_header(shard).positions.items():
        assert (position.n_weights, position.nbytes) == (LENGTHS[key], 80 * LENGTHS[key])
        for row in range(N_SNAPSHOTS):
            start = position.row_offset(row)
            found = np.frombuffer(content[start : start + position.row_nbytes], dtype="<f4")
            np.testing.assert_array_equal(found, tensors()[key][row])


def test_header_can_be_read_from_any_stream(tmp_path: Path, shard: Path) -> None:
    content = shard.read_bytes()
    assert read_header_of(io.BytesIO(content), "remote") == read_header(shard)
    with pytest.raises(FormatError, match="remote: not a complete"):
        read_header_of(io.BytesIO(content[:20]), "remote")


def test_a_header_longer_than_the_first_read(tmp_path: Path) -> None:
    lengths = {shard_key(i): 1 for i in range(1000)}
    write_shard(tmp_path / "shard", "fixed", "train", lengths, iter(tensors(lengths).values()))
    header = read_header(tmp_path / "shard")
    assert header.header_nbytes > 65_536
    assert list(header.positions) == list(lengths)


def test_truncated_file_is_refused_with_sizes(shard: Path) -> None:
    content = shard.read_bytes()
    for n_bytes in (0, 7, 100, len(content) - 1):
        shard.write_bytes(content[:n_bytes])
        with pytest.raises(FormatError, match=rf"{shard}: (not a complete safetensors file|truncated)"):
            read_header(shard)
    shard.write_bytes(content + b"x")
    with pytest.raises(FormatError, match=f"too long: {len(content) + 1} bytes, its header says {len(content)}"):
        read_header(shard)


def test_unknown_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "shard"
    text = json.dumps({"format_version": 3, "population": "fixed", "split": "train"}, sort_keys=True)
    path.write_bytes(library_bytes(tensors(), text))
    with pytest.raises(FormatError, match="format version 3, this nws_data reads version 1, 2;"):
        read_header(path)


def foreign_files() -> dict[str, tuple[bytes, str]]:
    good = tensors()
    changed = encode_shard_header("fixed", "train", LENGTHS).replace(
        b'"data_offsets":[240,320]', b'"data_offsets":[248,328]'
    )
    body = b"".join(value.tobytes() for value in good.values())
    reverse = dict(reversed(LENGTHS.items()))
    return {
        "not safetensors": (b"PAR1" * 100, "not a complete safetensors file"),
        "header is no JSON": ((8).to_bytes(8, "little") + b"[[[[[[[[", "does not parse"),
        "header is a list": ((8).to_bytes(8, "little") + b"[]      ", "does not parse"),
        "no metadata": (save(good), "not an NWS shard"),
        "metadata of another kind": (library_bytes(good, "[]"), "does not parse"),
        "float64": (library_bytes({k: v.astype(np.float64) for k, v in good.items()}), "not written as"),
        "19 rows": (library_bytes({k: v[:19].copy() for k, v in good.items()}), "not written as"),
        "other names": (library_bytes({"weights": good["t000000"]}), "look like t000123"),
        "gap": (changed + body, "not written as"),
        "keys descend": (encode_shard_header("fixed", "train", reverse) + body, "must ascend"),
        "other spacing": (
            library_bytes(good, '{"format_version":1,"population":"fixed","split":"train"}'),
            "not written as",
        ),
    }


@pytest.mark.parametrize("name", foreign_files())
def test_foreign_file_is_refused(tmp_path: Path, name: str) -> None:
    content, message = foreign_files()[name]
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(FormatError, match=rf"{tmp_path}/file: .*{message}"):
        read_header(tmp_path / "file")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="nowhere: not there"):
        read_header(tmp_path / "nowhere")


def test_writer_refuses_wrong_tensors_and_leaves_nothing(tmp_path: Path) -> None:
    wrong = tensors()
    wrong["t000007"] = wrong["t000007"].astype(np.float64)
    with pytest.raises(FormatError, match="t000007: expected float32"):
        write_shard(tmp_path / "shard", "fixed", "train", LENGTHS, wrong.values())
    with pytest.raises(FormatError, match="keys must ascend"):
        write_shard(tmp_path / "shard", "fixed", "train", {"t000002": 1, "t000001": 1}, [])
    assert list(tmp_path.iterdir()) == []


def test_shards_close_when_they_reach_their_size() -> None:
    assert divide_into_shards([4, 4, 4, 4, 4, 4, 4], 0, (8, 10)) == [2, 3, 2]
    assert divide_into_shards([4, 4, 4, 4], 1, (8, 10)) == [3, 1]
    assert divide_into_shards([], 0) == []
    assert divide_into_shards([30_000_000] * 5, 0) == [3, 2]
    assert divide_into_shards([30_000_000] * 40, 0) == [3, 3, 5, 9, 18, 2]


def test_names() -> None:
    assert shard_key(123) == "t000123"
    assert shard_path("random", "test", 12) == "weights/random/test-00012.safetensors"
    with pytest.raises(FormatError, match="plan index"):
        shard_key(1_000_000)
