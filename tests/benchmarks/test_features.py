"""The features benchmark runs, and both contenders compute the same."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.speed import features
from benchmarks.speed.loading_data import write_random_dataset
from nws_data.errors import SelectionError
from nws_data.features.extract import statistics_features


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
    assert all(r["ratio"] > 0 and r["largest_difference"] < 1e-6 and r["peak_mb"]["loop"] > 0 for r in results)
    assert "layers" in features.render(results)


@pytest.mark.parametrize("kind", features.KINDS)
def test_both_compute_the_same(root: Path, kind: str) -> None:
    view = features.make_view(root, kind, 20)
    expected = features.loop_features(view, features.item_pieces(view, kind))
    found = statistics_features(view, "layers" if kind == "layers" else "vector", cache=False)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


def test_options_are_checked(tmp_path: Path) -> None:
    with pytest.raises(SelectionError, match="must be at least 1"):
        features.main(["--data", str(tmp_path), "--rounds", "0"])
