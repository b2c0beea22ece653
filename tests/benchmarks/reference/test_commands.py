"""The reference population in miniature: built, run, measured; and the committed pages beside the committed files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import nws_data
from benchmarks.findings.claim_checks import FAILS, HOLDS, OPEN, Finding
from benchmarks.findings.claims import CLAIMS, write_claims
from benchmarks.leaderboard.board import write
from benchmarks.leaderboard.board.write import _check_all, read_results
from benchmarks.leaderboard.files.results import ResultError
from benchmarks.leaderboard.runs.plans import choose_methods
from benchmarks.reference import commands, report
from benchmarks.reference.budgets import BUDGETS, PILOTS, Budget, Runs
from benchmarks.reference.commands import (
    ABLATION,
    DATA,
    LEAKS,
    PREDICTIONS,
    RESULTS,
    build_pilots,
    build_reference,
    check_leaks,
    pilot_folder,
    remove_stale,
    run_reference,
)
from benchmarks.reference.record import measure_pilots, measure_record
from benchmarks.reference.report import gain_text, merged_pilots, pages, replace_figures, replace_results, scores_table
from nws_data.format.manifest import Manifest
from nws_data.tasks.table import parse_task
from tests.baselines.planted import write_planted
from tests.benchmarks.leaderboard.made_up import class_score, make_result

MINI = replace(
    BUDGETS["cpu"],
    trainings={"fixed": 2},
    without_batch_norm={"random": 1},
    sources=("digits",),
    n_train=440,
    n_test=50,
    epoch_cap=19,
    figures=("statistics",),
    leaks=(Runs(tasks=("global/augmentation",), methods=("svm-linear-16",), seeds=2),),
    runs=(
        Runs(
            tasks=("global/augmentation/threshold=0.15", "local/optimizer"),
            methods=("majority", "svm-linear-16"),
            folds=True,
        ),
    ),
)


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are too short here for workers, which take seconds to start."""
    monkeypatch.setattr(commands, "usable_cores", lambda: 1)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a reference population that holds 30 fixed trainings whose weights tell the augmentation."""
    folder = tmp_path_factory.mktemp("reference")
    write_planted(folder, ["fixed"])
    return folder


@pytest.mark.slow
def test_the_build_is_the_plan_and_has_the_part_of_svhn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (1000, 32, 32, 3), np.uint8)
    np.savez(tmp_path / "svhn_subset.npz", images=images, labels=np.arange(1000) % 10)
    build_reference(MINI, tmp_path / "out", tmp_path, download=False)
    manifest = Manifest.load(tmp_path / "out" / DATA)
    assert [item.name for item in manifest.image_sets] == ["digits", "svhn_part"]
    plan = manifest.populations["fixed"].plan
    assert (plan["build_seed"], plan["epoch_cap"], plan["precision"]) == (2020, 19, "float32")
    assert not nws_data.open(tmp_path / "out" / ABLATION, "random")["batch_norm"].any()
    assert "nws reference run" in capsys.readouterr().out


@pytest.mark.slow
def test_a_pilot_is_built_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "svhn_subset.npz", images=np.zeros((1000, 32, 32, 3), np.uint8), labels=np.arange(1000) % 10)
    monkeypatch.setitem(PILOTS, "fixed", ((440, 20),))
    monkeypatch.setattr(commands, "N_PILOT", 2)
    build_pilots(replace(MINI, trainings={"fixed": 7}), tmp_path / "out", tmp_path, download=False)
    manifest = Manifest.load(pilot_folder(tmp_path / "out", "fixed", 440, 20))
    assert manifest.populations["fixed"].plan["epoch_cap"] == 20 and manifest.image_sets[0].n_train == 440
    (found,) = measure_pilots(MINI, tmp_path / "out", "fixed")
    assert (found["n_train"], found["epoch_cap"], found["trainings"]) == (440, 20, 2)
    assert sum(n for _, n in found["passed_by"]["initialization"].values()) == 2 and found["flop"] > 0


def test_a_pilot_takes_the_place_of_that_of_the_same_sizes_alone() -> None:
    def pilot(n_train: int, epoch_cap: int, passed: int) -> dict[str, int]:
        return {"n_train": n_train, "epoch_cap": epoch_cap, "passed": passed}

    old = [pilot(600, 40, 1), pilot(1200, 20, 2)]
    assert merged_pilots(old, []) == old
    assert merged_pilots(old, [pilot(1200, 20, 3), pilot(600, 20, 4)]) == [
        pilot(600, 20, 4),
        pilot(600, 40, 1),
        pilot(1200, 20, 3),
    ]


@pytest.mark.slow
def test_runs_are_those_of_the_plan_and_are_not_run_again(planted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_reference(MINI, planted) == 0
    results = read_results(planted / RESULTS)
    done = {(r.task, r.method) for r in results.values()}
    assert done == {("global/augmentation/threshold=0.15", method) for method in ("majority", "svm-linear-16")}
    assert "no population random in" in capsys.readouterr().out
    kept = [*results, planted / LEAKS]
    before = {path: path.stat().st_mtime_ns for path in kept}
    capsys.readouterr()
    assert run_reference(MINI, planted) == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == before
    standing = {result.path for result in results.values()}
    assert _check_all(results, planted / RESULTS, planted / DATA, planted / PREDICTIONS) == standing
    record = measure_record("cpu", MINI, planted, "fixed")
    frame = nws_data.open(planted / DATA, "fixed").trainings()
    assert (record["trainings"], record["passed"], record["fits"]) == (30, 30, 2)
    assert record["passed_by"]["initialization"] == {
        name: [n, n] for name, n in frame["initialization"].value_counts().sort_index().items()
    }
    assert record["tasks"]["global/augmentation"] == "" and not any(name.startswith("local") for name in record["tasks"])
    assert [leak["method"] for leak in record["leaks"]] == ["svm-linear-16"]
    assert json.loads(json.dumps(record)) == record
    table = scores_table(list(results.values()), ["global/augmentation"])
    assert "| svm-linear-16 | **100** [" in table and "| *chance* | 50 |" in table


@pytest.mark.slow
def test_what_was_made_on_other_data_is_made_again(planted: Path, tmp_path: Path) -> None:
    root = planted / DATA
    digest = Manifest.load(root).population_digest("fixed")
    for made_on in ("d" * 64, digest):
        make_result([class_score([9] * 4)], "global/augmentation", data_digest=made_on).save(tmp_path)
    remove_stale(tmp_path, root)
    assert [result.data_digest for result in read_results(tmp_path).values()] == [digest]
    found = check_leaks(MINI.leaks, root, tmp_path / LEAKS)
    stale = json.loads((tmp_path / LEAKS).read_text())
    stale["made_of"]["data"], stale["checks"] = "d" * 64, []
    (tmp_path / LEAKS).write_text(json.dumps(stale))
    assert len(found) == 1 and check_leaks(MINI.leaks, root, tmp_path / LEAKS) == found
    more = (*MINI.leaks, replace(MINI.leaks[0], methods=("boosting-16",), options=(("rounds", "5"),)))
    assert [leak["method"] for leak in check_leaks(more, root, tmp_path / LEAKS)] == ["svm-linear-16", "boosting-16"]


def test_a_report_of_one_population_leaves_the_other_and_the_entries(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    made = {
        old: {"global/augmentation": "fixed", "local/augmentation": "random"},
        new: {"global/augmentation/threshold=0": "fixed"},
    }
    for folder, tasks in made.items():
        for task, population in tasks.items():
            score = class_score([9] * 4 if population == "fixed" else (8, 7), population)
            make_result([score], task, official=parse_task(task).official).save(folder)
    theirs = make_result([class_score([9] * 4, "fixed")], "global/augmentation", method="theirs")
    theirs.save(old / "entries" / "theirs")
    replace_results(old, new, ["fixed"])
    assert {(result.task, result.method == "theirs") for result in read_results(old).values()} == {
        ("global/augmentation", True),
        ("local/augmentation", False),
        ("global/augmentation/threshold=0", False),
    }
    assert sorted(path.name for path in old.iterdir()) == [
        "entries",
        "global.augmentation.threshold=0",
        "local.augmentation",
    ]


def test_figures_of_one_population_are_replaced_and_the_claims_that_it_tells(tmp_path: Path) -> None:
    for folder, names in (("old", ("embedding", "map")), ("new", ("embedding", "map"))):
        (tmp_path / folder).mkdir()
        for name in names:
            record = {"shows": folder, "pictures": [folder], "tables": ["points"]}
            (tmp_path / folder / f"{name}.json").write_text(json.dumps(record))
            for file in (f"{name}-{folder}.png", f"{name}-points.csv"):
                (tmp_path / folder / file).write_text(folder)
    first, second = CLAIMS[:2]
    write_claims(
        [(first, Finding("old", HOLDS, "9 trainings")), (second, Finding("old", FAILS, "9"))], tmp_path / "old/claims.md"
    )
    write_claims([(first, Finding("missing", OPEN)), (second, Finding("new", OPEN, "99"))], tmp_path / "new/claims.md")
    replace_figures(tmp_path / "old", tmp_path / "new", ["fixed"])
    left = sorted(path.name for path in (tmp_path / "old").iterdir() if path.suffix != ".csv")
    assert left == ["claims.md", "embedding-new.png", "embedding.json", "map-old.png", "map.json"]
    text = (tmp_path / "old/claims.md").read_text()
    assert text.startswith("1 of 2 claims hold on this data, 0 fail, 1 cannot be told.")
    assert f"| {first.text} | {first.paper} | old | holds | 9 trainings |" in text and "| new | open | 99 |" in text


def test_a_plan_of_one_population() -> None:
    plan = BUDGETS["cpu"].of(["fixed"])
    configs = list(plan.configs(Path("out"), Path("ablation"), Path("part"), None, False, 1))
    assert [dict(config.trainings) for config in configs] == [{"fixed": 1000}]
    both = list(BUDGETS["cpu"].of(["random"]).configs(Path("out"), Path("ablation"), Path("part"), None, False, 1))
    assert [(dict(config.trainings), config.batch_norm) for config in both] == [
        ({"random": 600}, True),
        ({"random": 100}, False),
    ]


def test_gains_by_hand() -> None:
    task, right = "local/augmentation/threshold=0.15", {"trees-window": (8, 7), "svm-rbf-16": (3, 5)}
    results = [make_result([class_score(n, "random", folds=5)], task, m, folds=5) for m, n in right.items()]
    each = np.repeat([0.5, 0.2], 5)  # gains of the first five networks and of the others
    half = 1.959964 * each.std(ddof=1) / np.sqrt(10)
    found = gain_text(results, "local/augmentation", "trees-window", "svm-rbf-16")
    assert found == f"+35.0 [{100 * (0.35 - half):.1f}, {100 * (0.35 + half):.1f}] of 10"
    assert gain_text(results, "local/augmentation", "trees-window", "svm-rbf-16", 5) == "+20.0 [20.0, 20.0] of 5"
    assert gain_text(results, "local/augmentation", "trees-window", "svm-rbf-16", 10) == ""
    for batch, n in ((False, (8, 7)), (True, (3, 5))):  # two runs of one method: the label says which
        options = {"epochs": 15, "batch_statistics": batch}
        results.append(make_result([class_score(n, "random", folds=5)], task, "dmc-short", folds=5, options=options))
    assert gain_text(results, "local/augmentation", "trees-window", "dmc-short") == "+0.0 [0.0, 0.0] of 10"
    assert gain_text(results, "local/augmentation", "trees-window", "dmc-short (batch_statistics=True)") == found
    assert "| dmc-short (batch_statistics=True) | 40 [" in scores_table(results, ["local/augmentation"])
    results[1] = make_result([class_score((3, 5), "random", start=3, folds=5)], task, "svm-rbf-16", folds=5)
    with pytest.raises(ResultError, match="tested on different networks; run both again"):
        gain_text(results, "local/augmentation", "trees-window", "svm-rbf-16")


@pytest.mark.slow
def test_the_committed_board_and_pages_are_what_the_committed_files_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both by one reading of the files, which takes longest."""
    folder = report._COMMITTED
    found = read_results(folder)
    for module in (write, report):
        monkeypatch.setattr(module, "read_results", {folder: found}.__getitem__)
    assert len(write.write_board(folder, tmp_path)) == len(list(folder.rglob("*.json")))
    for name in ("board.md", "board.html"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
    written, committed = (pq.read_table(place / "board.parquet") for place in (tmp_path, folder))
    assert written.equals(committed)  # not the bytes: they name pyarrow's version
    for path, text in pages().items():
        assert path.read_text(encoding="utf-8") == text, path.name


@pytest.mark.parametrize("budget", BUDGETS.values(), ids=BUDGETS)
def test_plans_name_tasks_and_methods_that_there_are(budget: Budget) -> None:
    for runs in budget.runs:
        assert [parse_task(task).name for task in runs.tasks] == list(runs.tasks)
        assert choose_methods(runs.methods)
