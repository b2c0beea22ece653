"""The benchmark of the import runs, on a release that the import takes."""

import json

import pytest

from benchmarks.speed import importing


@pytest.mark.slow
def test_report(capsys: pytest.CaptureFixture[str]) -> None:
    importing.main(["--trainings", "2", "--rounds", "1", "--json"])
    rows = json.loads(capsys.readouterr().out)
    assert rows[0]["cache"] == "warm" and all(row["ratio"] > 0 for row in rows)
    assert rows[0]["gigabytes"] == pytest.approx(2 * 20 * 92_868 * 8 / 1e9, rel=1e-3)
