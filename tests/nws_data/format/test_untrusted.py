"""What strangers write: bounded, checked, and never believed to be small because it is small on disk."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nws_data.arguments import check_text
from nws_data.errors import FormatError
from nws_data.format.parquet_sizes import parquet_sizes
from nws_data.format.partial import PULLED, Pulled
from nws_data.format.shards import check_shard_path, read_header
from nws_data.format.untrusted import parse_json, read_file, read_parquet
from tests.conftest import TinyDataset

ANY = range(10**9)


def parquet(table: pa.Table, **options: Any) -> bytes:
    stream = io.BytesIO()
    pq.write_table(table, stream, **{"compression": "zstd"} | options)
    return stream.getvalue()


def test_a_long_text_in_every_row_is_refused() -> None:
    raw = parquet(pa.table({"x": pa.array(["y" * 1000] * 200_000)}))
    assert len(raw) < 30_000
    with pytest.raises(ValueError, match="stand for 200,000,000 bytes of text"):
        read_parquet(raw, ANY)


def test_only_regular_files_of_bounded_size_are_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert read_file(tmp_path / "a", 5) == b"12345"
    with pytest.raises(FormatError, match="larger than the 4 bytes"):
        read_file(tmp_path / "a", 4)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name in ("fifo", "zero", "."):
        with pytest.raises(FormatError, match="not a regular file"):
            read_file(tmp_path / name)
    with pytest.raises(OSError):
        read_file(tmp_path / "none")


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "1" * 4000, "[NaN]", "[1e999]", "[Infinity]", '{"a": ' + "0." + "1" * 99 + "}", "", "{"]
)
def test_json_that_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_json(text)
    assert parse_json('{"a": [1, 2.5e-3, null]}') == {"a": [1, 0.0025, None]}


@pytest.mark.parametrize("text", ["\x1b[8m", "a\nb", "\u202egnp", "\ud800", "\0", "x" * 1001, 3, None])
def test_texts_that_are_refused(text: object) -> None:
    with pytest.raises(ValueError, match="a name must be a text of at most 1,000 printable characters"):
        check_text(text, "a name")
    assert check_text("Zürich, 数字", "a name")


@pytest.mark.parametrize(
    "options", [{}, {"use_dictionary": False}, {"data_page_version": "2.0"}, {"row_group_size": 7}, {"data_page_size": 64}]
)
def test_sizes_are_those_of_the_library(options: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    columns = {"id": [f"random-{i:06d}" for i in range(50)], "x": rng.random(50), "n": rng.integers(0, 9, 50)}
    lists = [list(map(float, rng.random(n))) for n in rng.integers(0, 5, 50)]
    table = pa.table(columns | {"curve": lists, "where": [{"shard": "s", "row": i} for i in range(50)]})
    raw = parquet(table, **options)
    sizes, metadata = parquet_sizes(raw), pq.read_metadata(pa.BufferReader(raw))
    chunks = [metadata.row_group(g).column(c) for g in range(metadata.num_row_groups) for c in range(metadata.num_columns)]
    assert sizes.n_rows == metadata.num_rows == 50
    assert sizes.texts == (0, 4)  # id and where.shard
    dictionaries = (
        0 if options.get("use_dictionary") is False else sum(len(set(table[n].to_pylist())) for n in ("id", "x", "n"))
    )
    assert sizes.n_values >= sum(chunk.num_values for chunk in chunks) + (dictionaries if not options else 0)
    assert 0 < sizes.n_bytes <= sum(chunk.total_uncompressed_size for chunk in chunks)
    assert read_parquet(raw, range(50, 51))["x"].to_pylist() == table["x"].to_pylist()
    assert read_parquet(raw, ANY, ["n"]).column_names == ["n"]


def bombs() -> dict[str, bytes]:
    many, long = pa.array([7]), "x" * 70_000_000
    return {
        "rows": parquet(pa.table({"a": pa.array(np.full(12_000_000, 7))})),
        "list": parquet(pa.table({"a": pa.ListArray.from_arrays([0, 12_000_000], pa.array(np.full(12_000_000, 7.0)))})),
        "text": parquet(pa.table({"a": [long]})),
        "texts": parquet(pa.table({"a": ["y" * 100_000] * 1000})),
        "nested": parquet(pa.table({"a": [{"b": "y" * 5000}] * 1000, "c": many.take([0] * 1000)})),
    }


@pytest.mark.slow
def test_small_files_that_stand_for_much(tmp_path: Path) -> None:
    for name, raw in bombs().items():
        assert len(raw) < 200_000, name
        with pytest.raises(ValueError, match=r"that stand for|printable characters"):
            read_parquet(raw, ANY)
    with pytest.raises(ValueError, match="12,000,000 rows, expected 20"):
        read_parquet(bombs()["rows"], range(20, 21))


def test_damaged_parquet_is_an_error_and_no_crash() -> None:
    """Each byte of the footer, and others, in turn; asked for its column chunks, the library aborts on some of these."""
    raw = parquet(pa.table({"a": ["x", "y"], "b": [[1.0], [2.0, 3.0]]}))
    refused = 0
    for at in range(len(raw)):
        for change in (1, 128):
            damaged = bytearray(raw)
            damaged[at] ^= change
            try:
                read_parquet(bytes(damaged), ANY)
            except (ValueError, OSError, OverflowError, LookupError, pa.ArrowException):
                refused += 1
    assert refused > len(raw) / 2
    for cut in (b"", raw[:11], raw[:-1], b"PARE" + raw[4:], raw[:-8] + (10**9).to_bytes(4, "little") + b"PAR1"):
        with pytest.raises(ValueError, match="not a complete Parquet file"):
            parquet_sizes(cut)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [10**18] * 1000, "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [20, 2_000_000], "data_offsets": [0, 160_000_000]},
        {"dtype": "x" * 100_000, "shape": [20, 1], "data_offsets": [0, 80]},
        {"dtype": "F32", "shape": [20, 1], "data_offsets": [0, int("9" * 400)]},
    ],
)
def test_headers_of_shards_that_claim_much(tmp_path: Path, entry: dict[str, Any]) -> None:
    text = json.dumps({"__metadata__": {"nws": "{}"}, "t000000": entry}).encode()
    with (tmp_path / "s").open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        stream.truncate(8 + len(text) + min(entry["data_offsets"][1], 10**9))
    with pytest.raises(FormatError) as caught:
        read_header(tmp_path / "s")
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "weights/../x", "weights/fixed/train-00000.safetensors\n", "weights/fixed/train-0.x", "", None]
)
def test_paths_of_shards(path: Any) -> None:
    check_shard_path("weights/random/validation-00012.safetensors")
    with pytest.raises(FormatError, match="no shard has the path"):
        check_shard_path(path)


@pytest.mark.parametrize(
    "change",
    [
        {"repository": "o/n; curl x|sh #\x1b[8m"},
        {"repository": "o/n\n"},
        {"commit": "main"},
        {"shards": ["/etc/passwd"]},
        {"shards": 3},
        {"repository": None},
    ],
)
def test_the_mark_of_a_pull(tmp_path: Path, change: dict[str, Any]) -> None:
    good = {"repository": "o/n", "commit": "0" * 40, "shards": ["weights/fixed/train-00000.safetensors"]}
    (tmp_path / PULLED).write_text(json.dumps(good))
    assert Pulled.load(tmp_path) == Pulled(repository="o/n", commit="0" * 40, shards=tuple(good["shards"]))
    (tmp_path / PULLED).write_text(json.dumps(good | change))
    with pytest.raises(FormatError, match="is damaged"):
        Pulled.load(tmp_path)


def test_a_table_is_read_once_and_whole(tiny_dataset: TinyDataset) -> None:
    for path in tiny_dataset.manifest.sha256:
        raw = (tiny_dataset.root / path).read_bytes()
        assert parquet_sizes(raw).n_rows == tiny_dataset.manifest.n_rows(path)
