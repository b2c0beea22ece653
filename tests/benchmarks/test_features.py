"""The features benchmark runs, and both contenders compute the same."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.made_up import write_random_dataset
from benchmarks.speed import features


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("features") / "nws"
    write_random_dataset(root, 2)
    return root


@pytest.mark.slow
def test_report(capsys: pytest.CaptureFixture[str]) -> None:
    features.main(["--snapshots", "20", "--rounds", "1", "--kinds", "windows", "--json"])
    (result,) = json.loads(capsys.readouterr().out)
    assert (result["kind"], result["items"], result["features"]) == ("windows", 20, 16)
    assert result["ratio"] > 0 and result["largest_difference"] < 1e-6


@pytest.mark.parametrize(("kind", "n_features"), [("layers", 480), ("vectors", 16), ("windows", 16)])
def test_both_compute_the_same(root: Path, kind: str, n_features: int) -> None:
    view = features.make_view(root, kind, 20)
    found, expected = features.batched_features(view, kind), features.loop_features(view, kind)
    assert found.shape == (20, n_features)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)
