"""The features benchmark runs, and both contenders compute the same."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.speed import features
from benchmarks.speed.random_data import write_random_dataset


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("features") / "nws"
    write_random_dataset(root, 2)
    return root


@pytest.mark.slow
def test_report_on_a_given_dataset(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    features.main(["--data", str(root), "--snapshots", "20", "--rounds", "1", "--json"])
    results = json.loads(capsys.readouterr().out)
    assert [(r["kind"], r["items"], r["features"]) for r in results] == [
        ("layers", 20, 480),
        ("vectors", 20, 16),
        ("windows", 20, 16),
    ]
    assert all(r["ratio"] > 0 and r["largest_difference"] < 1e-6 for r in results)


@pytest.mark.parametrize("kind", features.KINDS)
def test_both_compute_the_same(root: Path, kind: str) -> None:
    view = features.make_view(root, kind, 20)
    found, expected = features.batched_features(view, kind), features.loop_features(view, kind)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)
