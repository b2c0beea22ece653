"""Accuracy over epochs: numbers by hand from made-up results, budgets that name no epochs, and what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.findings.epochs import draw, measure, tell
from benchmarks.findings.results import labels_of
from benchmarks.findings.source import MissingDataError, Source
from benchmarks.leaderboard.runs.plans import recorded_options
from nws_data.plot.style import theme
from tests.benchmarks.leaderboard.made_up import class_score, make_result
from tests.conftest import TinyDataset

TASK = "local/augmentation/threshold=0"
RIGHT = {None: 9, 30: 8, 7: 5}


def source_of(data: TinyDataset, out: Path, right: dict[int | None, int], task: str = TASK) -> Source:
    digest = data.manifest.population_digest("random")
    for epochs, n in right.items():
        for statistics in (False, True):
            given = {"epochs": epochs, "batch_statistics": statistics}
            scores = [class_score((n, n - statistics), "random"), class_score((n, n), "random")]
            options = recorded_options("dmc-asinh-short", given)
            make_result(scores, task, "dmc-asinh-short", data_digest=digest, options=options, official=False).save(out)
    for method, n in (("svm-rbf-16", 6), ("boosting-16", 7), ("majority", 10)):
        score = class_score((n, n), "random")
        make_result([score], task, method, data_digest=digest, options={}, official=False).save(out)
    return Source(data.root, out)


def test_accuracies_by_hand(tiny_dataset: TinyDataset, tmp_path: Path) -> None:
    source = source_of(tiny_dataset, tmp_path, RIGHT)
    tables = measure(source)
    rows = tables["accuracies"].set_index(["method", "epochs"])
    plain, own = "dmc-asinh-short", "dmc-asinh-short (batch_statistics=True)"
    assert rows.loc[plain, "accuracy"].to_dict() == pytest.approx({7: 0.5, 30: 0.8, 60: 0.9})  # 60 is the budget's
    assert rows.loc[own, "accuracy"].to_dict() == pytest.approx({7: 0.475, 30: 0.775, 60: 0.875})
    assert rows["seeds"].eq(2).all() and tables["others"]["method"].tolist() == ["boosting-16"]
    assert f"{TASK}, {plain}: 50 % [" in tell(tables) and "] at 60 epochs." in tell(tables)
    with theme():
        assert set(draw(tables)) == {"curves"}
    labels = labels_of([r for r in source.result_files if r.method == plain])
    assert sorted(labels)[0] == plain and f"{plain} (batch_statistics=True, epochs=7)" in labels


def test_budgets_of_whole_vectors(tiny_dataset: TinyDataset, tmp_path: Path) -> None:
    digest = tiny_dataset.manifest.population_digest("fixed")
    for epochs in (3, 6, None):
        options = recorded_options("dmc-asinh-short", {"epochs": epochs})
        result = make_result([class_score([9] * 4)], method="dmc-asinh-short", data_digest=digest, options=options)
        result.save(tmp_path)
    source = Source(tiny_dataset.root, tmp_path, populations=("fixed",))
    assert measure(source)["accuracies"]["epochs"].tolist() == [3, 6, 24]


def test_what_is_missing_names_the_command(tiny_dataset: TinyDataset, tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"--method dmc-asinh-short --option epochs=6"):
        measure(source_of(tiny_dataset, tmp_path, {7: 5, 30: 8}))
