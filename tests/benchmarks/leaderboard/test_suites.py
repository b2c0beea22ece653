"""Suites, ranks with their intervals, cost, and the table of single trainings."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.stats import rankdata

from benchmarks.leaderboard.board.charts import draw_pareto
from benchmarks.leaderboard.board.ranking import rank_methods
from benchmarks.leaderboard.board.standings import BUDGETS, arrange, cost_of
from benchmarks.leaderboard.board.tables import scores_table
from benchmarks.leaderboard.board.write import read_results, table_bytes, write_board
from benchmarks.leaderboard.files.formats import NONE
from benchmarks.leaderboard.files.results import Result, ResultError
from benchmarks.leaderboard.runs.plans import choose_tasks
from benchmarks.leaderboard.suites import SUITES, suite_tasks
from nws_data.hashing import sha256_of
from nws_data.tasks.metrics import resampled_trainings
from nws_data.tasks.scores import ClassificationScore
from nws_data.tasks.table import official_names, parse_task
from tests.benchmarks.leaderboard.made_up import class_score, make_result, number_score, task_score

GLOBAL = SUITES[0]


def rows_of(right: dict[str, list[list[int]]]) -> dict[str, list[list[ClassificationScore]]]:
    """Scores of one seed by method and task, from numbers of right ones in ten."""
    return {method: [[class_score(numbers)] for numbers in tasks] for method, tasks in right.items()}


def suite_results(n_right: dict[str, int], n_tasks: int = len(GLOBAL.tasks), fit_s: float = 1.0) -> list[Result]:
    """Results of methods on the first tasks of the suite: so many of 24 are right; ``fit_s`` times ten for each next."""
    found = []
    for i, (method, n) in enumerate(n_right.items()):
        for task in GLOBAL.tasks[:n_tasks]:
            result = make_result([task_score(task, [int(k < n) for k in range(24)])], task, method, options={})
            found.append(replace(result, runs=(replace(result.runs[0], fit_s=fit_s * 10**i),)))
    return found


def test_the_tasks_of_suites_are_official_and_of_one_population() -> None:
    names = set(official_names(["cifar10"]))
    for suite in SUITES:
        assert set(suite.tasks) <= names and len(set(suite.tasks)) == len(suite.tasks)
        assert len({parse_task(task).family.population for task in suite.tasks}) == 1
    assert list(suite_tasks(["NWS(global, v1)", "vote/*"])) == [*GLOBAL.tasks, "vote/*"]


def test_a_run_takes_a_suite(dataset: Path) -> None:
    chosen, missing = choose_tasks(["NWS(local, v1)"], dataset, folds=False)
    assert {"local/dataset", "local/augmentation"} <= set(chosen) and len(chosen) + len(missing) == len(SUITES[1].tasks)


def test_a_version_never_changes() -> None:
    assert {suite.label: (len(suite.tasks), sha256_of(repr(suite.tasks).encode())[:12]) for suite in SUITES} == {
        "NWS(global, v1)": (5, "341652cfbd18"),
        "NWS(local, v1)": (10, "a2d499c010e4"),
        "NWS(ood, v1)": (13, "49831dd13863"),
    }


def test_ranks_by_hand() -> None:
    rows = rows_of({"a": [[9] * 4, [9] * 4], "b": [[8] * 4, [10] * 4], "c": [[8] * 4, [5] * 4]})
    found = rank_methods(rows)
    assert {name: rank.place for name, rank in found.items()} == {"a": 1, "b": 2, "c": 3}
    assert {name: rank.mean.estimate for name, rank in found.items()} == {"a": 1.5, "b": 1.75, "c": 2.75}
    assert {name: rank.win_rate.estimate for name, rank in found.items()} == {"a": 0.75, "b": 0.625, "c": 0.125}


def test_intervals_are_those_of_resampled_trainings() -> None:
    generator = np.random.default_rng(0)
    right = generator.binomial(1, [[[0.6]], [[0.5]], [[0.7]]], (3, 2, 40))  # method, task, training
    of_task = [np.arange(40), np.arange(20, 60)]  # trainings of two tasks, half of them shared
    ids = [f"fixed-{i:06d}" for i in range(60)]

    def score(method: int, task: int) -> ClassificationScore:
        n_right = right[method, task]
        n = int(n_right.sum())
        own = [ids[i] for i in of_task[task]]
        return ClassificationScore.from_counts(["a", "b"], [[n, 40 - n], [0, 0]], own, [1] * 40, n_right.tolist())

    found = rank_methods({name: [[score(i, task)] for task in range(2)] for i, name in enumerate("abc")})
    means = []
    for drawn in resampled_trainings(60):
        chosen = [drawn[np.isin(drawn, own)] - own[0] for own in of_task]
        ranks = [rankdata(-right[:, task, of].mean(axis=1).round(9)) for task, of in enumerate(chosen)]
        means.append(np.mean(ranks, axis=0))
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    for i, rank in enumerate(found.values()):
        assert rank.mean[1:] == pytest.approx((min(low[i], rank.mean[0]), max(high[i], rank.mean[0])))


def test_who_is_never_worse_never_falls_behind_and_equals_share_a_place() -> None:
    found = rank_methods(rows_of({"a": [[9, 9, 9, 9]], "b": [[9, 9, 9, 5]], "same": [[9, 9, 9, 9]]}))
    assert {name: rank.place for name, rank in found.items()} == {"a": 1, "same": 1, "b": 3}
    assert rank_methods(rows_of({"alone": [[9] * 4]})) == {}
    assert found["a"] == found["same"] and found["a"].mean.low == found["a"].mean.estimate == 1.5


def test_a_sample_without_any_training_of_a_task_ties_all() -> None:
    few = ClassificationScore.from_counts(["a", "b"], [[1, 0], [0, 1]], ["fixed-000007"], [2], [2])
    none = ClassificationScore.from_counts(["a", "b"], [[0, 1], [1, 0]], ["fixed-000007"], [2], [0])
    both = class_score([5] * 4)
    found = rank_methods({"good": [[few], [both]], "bad": [[none], [both]]})
    assert found["good"].mean == (1.25, 1.25, 1.5)  # a third of the samples lack it


def test_numbers_are_ranked_by_r2() -> None:
    found = rank_methods({name: [[number_score(error)]] for name, error in (("bad", 0.9), ("good", 0.5))})
    assert {name: rank.place for name, rank in found.items()} == {"good": 1, "bad": 2}


def test_only_complete_rows_have_a_rank_and_others_say_how_many_they_have() -> None:
    complete = suite_results({"svm-linear-16": 12, "boosting-480": 20, "majority": 24})
    section = arrange([*complete, *suite_results({"nfn": 24}, n_tasks=4)])[0]
    assert section.methods == ("boosting-480", "svm-linear-16", "nfn", "majority")
    assert {name: rank.place for name, rank in section.ranks.items()} == {"boosting-480": 1, "svm-linear-16": 2}
    table = scores_table(section, {result.path for result in complete})
    cells = [[(cell.text, cell.small, cell.mark) for cell in row[:4]] for row in (*table.rows, *table.apart[:2])]
    scored = "from predictions"
    assert [row[:3] for row in cells] == [
        [("boosting-480", scored, ""), ("1", "1.0 [1.0, 1.0]", "best"), ("100", "[100, 100]", "")],
        [("svm-linear-16", scored, ""), ("2", "2.0 [2.0, 2.0]", ""), ("0", "[0, 0]", "")],
        [("nfn", "", ""), (NONE, "4 of 5 tasks", ""), (NONE, "", "")],
        [("chance", "", ""), (NONE, "", ""), (NONE, "", "")],
        [("majority", scored, ""), (NONE, "", ""), (NONE, "", "")],
    ]
    assert [row[3][:2] for row in cells[:2]] == [("10", "1 min"), ("1.0", "1 min")]


def test_results_over_other_data_are_not_ranked(tmp_path: Path) -> None:
    results = suite_results({"svm-linear-16": 12, "boosting-480": 20})
    other = make_result([class_score([9] * 4)], method="boosting-16", data_digest="d" * 64)
    for result in (*results, other):
        result.save(tmp_path)
    with pytest.raises(
        ResultError, match=r"10 have data digest a{12} and 1 have d{12}, the first global.aug.*move the others"
    ):
        write_board(tmp_path, tmp_path)
    assert not list(tmp_path.glob("board.*")) and len(read_results(tmp_path)) == 11
    random = make_result([class_score([9] * 4, "random")], "local/augmentation", data_digest="e" * 64)
    assert len(arrange([*results, random])) == 2  # another population has other data


def test_cost_is_of_one_fit_and_gives_the_budget_class() -> None:
    def cost(*fit_s: float, folds: int = 0) -> tuple[float, str]:
        result = make_result([class_score([9] * 4, folds=folds)] * len(fit_s), folds=folds)
        result = replace(result, runs=tuple(replace(r, fit_s=s) for r, s in zip(result.runs, fit_s, strict=True)))
        found = cost_of([result])
        return found.fit_s, found.budget

    assert cost(40.0, 60.0) == (50.0, "1 min") and cost(300.0, folds=5) == (60.0, "1 min")
    assert [cost(seconds)[1] for seconds in (60.1, 3600.0, 86_400.0, 86_401.0)] == ["1 h", "1 h", "1 day", "over a day"]
    assert list(BUDGETS.values()) == sorted(BUDGETS.values())
    results = [make_result([class_score([9] * 4)]), make_result([class_score([9] * 4)], "global/dataset")]
    gpu = replace(results[1], hardware=results[1].hardware | {"gpu": "H200", "cores": 1})
    assert cost_of([*results, gpu]).hardware == ("test, 2 cores", "test, 1 core, H200")


def test_the_line_joins_what_nothing_beats_in_less_time() -> None:
    section = arrange(suite_results({"svm-linear-16": 12, "boosting-480": 20, "nfn": 6}))[0]
    drawn = draw_pareto(section)
    assert [(point["place"], point["y"]) for point in drawn["points"]] == [(2, 141.0), (1, 16.0), (3, 266.0)]  # 50, 100, 0 %
    first, second, third = (point["x"] for point in drawn["points"])  # of 1, 10 and 100 s
    assert drawn["line"].startswith(f"M{first} 141.0H{second}V16.0H") and second - first == pytest.approx(third - second)
    assert [text for text, _ in drawn["decades"]] == ["1", "10", "100"]


def test_the_table_of_trainings_has_every_count(tmp_path: Path) -> None:
    scores = [class_score([10, 10, 9, 9]), class_score([8] * 4)]
    results = [make_result([number_score(0.5)], "regress/test_accuracy", "ridge-16", options={}), make_result(scores)]
    table = pq.read_table(io.BytesIO(table_bytes(results)))
    rows = table.to_pylist()
    assert len(rows) == 2 * 40 + 8 and table_bytes(results[::-1]) == table_bytes(results)
    of_classes = [row for row in rows if row["n_right"] is not None]
    assert [row["n_right"] for row in of_classes if row["seed"] == 0] == list(scores[0].n_right)
    assert {row["training"] for row in of_classes} == set(scores[0].trainings)
    assert {(row["task"], row["method"], row["options"], row["folds"], row["n_items"]) for row in of_classes} == {
        ("global/augmentation", "svm-linear-16", '{"penalty": 1.0}', 0, 1)
    }
    numbers = [row for row in rows if row["n_right"] is None]
    assert [row["sum_error2"] for row in numbers] == [0.25] * 8 and numbers[2]["sum_target"] == 3.0
