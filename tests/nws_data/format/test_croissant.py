"""croissant.json, read by the library of the format's authors."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from nws_data.format.croissant import RAI_SECTIONS, card_sections
from nws_data.hashing import file_sha256
from tests.conftest import TinyDataset

# Of the library itself: rdflib and pandas.
pytestmark = pytest.mark.filterwarnings("ignore:ConjunctiveGraph:DeprecationWarning", "ignore:The inplace keyword")


@pytest.fixture(scope="module")
def loaded(tiny_dataset: TinyDataset) -> Iterator[Any]:
    records: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("absl").addHandler(handler)
    import mlcroissant  # takes half a second, of which only one worker is to know

    dataset = mlcroissant.Dataset(jsonld=str(tiny_dataset.root / "croissant.json"))
    logging.getLogger("absl").removeHandler(handler)
    assert records == []  # no error, no recommendation that is not followed
    yield dataset


def test_it_is_valid_and_says_what_the_files_are(loaded: Any, tiny_dataset: TinyDataset) -> None:
    assert not loaded.metadata.ctx.issues.errors and not loaded.metadata.ctx.issues.warnings
    files = {file.id: file for file in loaded.metadata.distribution}
    manifest = tiny_dataset.manifest
    assert set(files) == set(manifest.file_sha256) - {manifest.provenance}
    for path, file in files.items():
        assert file.sha256 == file_sha256(tiny_dataset.root / path) and file.content_url == path
        assert file.content_size == f"{(tiny_dataset.root / path).stat().st_size} B"
    assert loaded.metadata.description.startswith("32 small convolutional image classifiers")
    assert str(loaded.metadata.date_published.date()) == "2026-01-01"


def test_all_responsible_ai_fields_are_sections_of_the_card(loaded: Any, tiny_dataset: TinyDataset) -> None:
    values = json.loads((tiny_dataset.root / "croissant.json").read_text())
    card = " ".join((tiny_dataset.root / "README.md").read_text().split())
    for field in RAI_SECTIONS:
        assert len(values[field]) > 80 and values[field] in card
    assert loaded.metadata.data_limitations == [values["rai:dataLimitations"]]


@pytest.mark.parametrize("config", ["fixed", "random", "trainings"])
def test_records_are_the_rows_of_the_tables(loaded: Any, tiny_dataset: TinyDataset, config: str) -> None:
    for split in ("train", "test"):
        name = f"{config}/{split}"
        paths = [path for path in tiny_dataset.manifest.sha256 if path.startswith(f"metadata/{name}-")]
        rows = pq.read_table(tiny_dataset.root / paths[0]).to_pylist()
        for record, row in zip(loaded.records(name), rows[:25], strict=False):
            assert plain(record, f"{name}/") == row


def plain(value: Any, prefix: str) -> Any:
    """Return a record as pyarrow gives a row."""
    if isinstance(value, dict):
        return {key.removeprefix(prefix): plain(item, f"{key}/") for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item, prefix) for item in value]
    return value.decode() if isinstance(value, bytes) else value


def test_sections_of_a_card() -> None:
    assert card_sections("---\nx: 1\n---\n# A b\none\ntwo\n\n## C\n\n```\ny\n```\n") == {"A b": "one two", "C": "``` y ```"}


def test_a_card_without_sections_leaves_the_fields_out(tiny_dataset: TinyDataset) -> None:
    from nws_data.format.croissant import croissant_json

    values = json.loads(croissant_json(tiny_dataset.root, tiny_dataset.manifest, "# Other\n", ""))
    assert "datePublished" not in values
    assert not set(RAI_SECTIONS) & set(values) and Path(values["distribution"][0]["contentUrl"]).parts[0] == "metadata"
