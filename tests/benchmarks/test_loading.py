"""The loading benchmark runs, and its readers read what they claim to."""

import json

import numpy as np
import pytest

from benchmarks.made_up import write_random_dataset
from benchmarks.speed import loading
from benchmarks.speed.loading import Pieces, memcpy
from nws_data.read.dataset import NWSDataset


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> NWSDataset:
    return write_random_dataset(tmp_path_factory.mktemp("loading") / "nws", 2)


def test_report(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "WINDOWS_PER_VECTOR", 2)
    loading.main(["--trainings", "2", "--rounds", "1", "--json"])
    rows = json.loads(capsys.readouterr().out)
    names = [row["reader"] for row in rows]
    assert set(loading.BARS) <= set(names) and len(names) == 7
    assert all(result["ratio"] > 0 and result["per_second"] > 0 for result in rows)
    assert [row["ratio"] for row in rows if row["reader"] == "memcpy"] == [1, 1]


def test_reference_copies_the_same_pieces(data: NWSDataset) -> None:
    pieces = Pieces(data, np.arange(40), np.arange(40), 100)
    run = memcpy(pieces)
    run()
    buffer = run.__defaults__[1][0]  # type: ignore[attr-defined]
    for i, (row, start) in enumerate(zip(pieces.rows.tolist(), pieces.starts.tolist(), strict=True)):
        np.testing.assert_array_equal(buffer[i], data.vector(row)[start : start + 100])
