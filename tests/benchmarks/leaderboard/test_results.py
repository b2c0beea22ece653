"""Result files: round trip, numbers against hand-worked ones, and every kind of tampering refused with its reason."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.leaderboard.board.write import read_results
from benchmarks.leaderboard.files.json_text import digest, readable
from benchmarks.leaderboard.files.results import FIELDS, Result, ResultError
from nws_data.tasks.scores import ClassificationScore, pool
from tests.benchmarks.leaderboard.made_up import class_score, ids_to_test, make_result, number_score


def test_a_result_comes_back_as_it_was(tmp_path: Path) -> None:
    for result in (make_result([class_score([9, 8, 7, 6])]), make_result([number_score(0.5)], task="regress/test_accuracy")):
        path = result.save(tmp_path)
        assert Result.load(path) == result
        assert path == tmp_path / result.path
        assert list(json.loads(path.read_text())) == list(FIELDS)
        assert max(map(len, path.read_text().splitlines())) < 200
        assert list(tmp_path.rglob(".*")) == []


def test_summary_by_hand() -> None:
    summary = make_result([class_score([10, 10, 10, 10]), class_score([10, 10, 0, 0])]).summary
    assert summary["chance"] == 0.5
    assert summary["accuracy"]["mean"] == 0.75  # (1 + 0.5) / 2
    assert summary["accuracy"]["std"] == pytest.approx(0.125**0.5)  # deviations of 0.25, n - 1 = 1
    assert summary["accuracy"]["low"] < 0.75 < summary["accuracy"]["high"]
    numbers = make_result([number_score(0.5), number_score(1.0)], task="regress/test_accuracy").summary
    assert numbers["r2"]["mean"] == pytest.approx((1 - 8 * 0.25 / 10 + 1 - 8 / 10) / 2)  # the targets' squares sum to 10
    assert numbers["mae"]["mean"] == pytest.approx(0.75) and numbers["chance"] is None
    assert make_result([class_score([5, 5, 5, 5])]).summary["accuracy"]["std"] is None


def test_the_command_names_every_option() -> None:
    result = make_result([class_score([9, 8, 7, 6])] * 2, options={"penalty": 1.0, "kind": "a b"}, folds=5)
    assert result.command == (
        "nws bench run --task global/augmentation --method svm-linear-16 --seeds 2 --folds "
        "--option penalty=1.0 'kind=a b' --data nws"
    )


def test_more_seeds_take_the_place_of_fewer_and_anything_else_a_place_of_its_own() -> None:
    score = class_score([9, 8, 7, 6])
    one = make_result([score])
    assert make_result([score] * 3).path == one.path
    others = [
        make_result([score], folds=5),
        make_result([score], options={"penalty": 2.0}),
        make_result([score], method="majority"),
        make_result([score], task="global/optimizer"),
        make_result([score], data_digest="c" * 64),
    ]
    assert len({one.path, *(other.path for other in others)}) == 6


def edit(*place: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        inner: Any = content
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = value

    return change


def remove(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda content: content.pop(key)


SCORE = ("runs", 0, "score")
TAMPERED = [
    (edit("format", value="other"), "not a result file"),
    (edit("format_version", value=2), "format version 2, this nws reads version 1"),
    (edit("extra", value=1), "unknown or missing fields: extra"),
    (remove("hardware"), "unknown or missing fields: hardware"),
    (edit("task", value="global/nothing"), "target of global: got 'nothing'"),
    (edit("task", value="local/augmentation@5000"), "the canonical name is 'local/augmentation'"),
    (edit("kind", value="regression"), "kind is 'regression', but global/augmentation is a classification task"),
    (edit("official", value=False), "official is False"),
    (edit("folds", value=3), "folds must be 0, or 5"),
    (edit("data_digest", value="abc"), "data_digest must be a SHA-256 in hex, got 'abc'"),
    (edit("n_parameters", value=3), "n_parameters is 3, but 17 follows"),
    (edit("seeds", value=[0, 2]), re.escape("seeds[1] is 2, but 1 follows")),
    (edit("command", value="rm"), "command is 'rm'"),
    (edit("summary", "accuracy", "mean", value=0.99), "summary.accuracy.mean is 0.99, but 0.75 follows"),
    (edit("summary", "accuracy", "std", value=0.1), "summary.accuracy.std is 0.1"),
    (edit("summary", "accuracy", "low", value=0.7), "summary.accuracy.low is 0.7"),
    (edit("summary", "chance", value=0.1), "summary.chance is 0.1"),
    (edit(*SCORE, "accuracy", value=0.9), "accuracy is 0.9, but the counts of the trainings give 0.75"),
    (edit(*SCORE, "n_right", value=[1] * 40), "the confusion matrix counts 40 items, 30 of them right"),
    (edit(*SCORE, "n_right", value=[2] + [1] * 28 + [0] * 11), "counts of a score must be in"),
    (edit(*SCORE, "confusion", value=[[20, 0], [10, 10]]), "per_class"),
    (edit(*SCORE, "classes", value=["False", "z"]), "unknown field runs"),
    (edit("test", "chance", value=0.4), "chance is 0.4"),
    (edit("test", "trainings", value=["a", "b", "c"]), "one count for each of its 3 trainings"),
    (edit("test", "n_items", value=[2] + [1] * 39), "confusion matrix counts 40"),
    (edit("runs", 1, "seed", value=0), "seeds must be 0 to 1 in order"),
    (edit("runs", 1, "seed", value=7), "seeds must be 0 to 1 in order"),
    (edit("runs", 0, "n_parameters", value=2**53), "n_parameters must be a whole number in"),
    (edit("runs", 0, "fit_s", value=1e300), "fit_s must be a number of seconds in"),
    (edit("runs", 0, "fit_s", value=10**400), "fit_s must be a number of seconds in"),
    (edit("hardware", "memory_bytes", value=10**400), "memory_bytes must be a whole number in"),
    (edit("finished_at", value="2026-02-30T00:00:00Z"), "finished_at must be a time"),
    (edit("finished_at", value="2026-01-01T24:00:00Z"), "finished_at must be a time"),
    (edit("method", value="a\u202eb"), "texts may not hold control characters"),
    *((edit("method", value=name), "method must be a name of") for name in ("", "@everyone", "https://x.com", "a" * 101)),
    (edit("options", value={"a": "1\n2"}), "texts may not hold control characters"),
    (edit("options", value={"a\x1b": 1}), "texts may not hold control characters"),
    (edit("versions", "torch", value="\u2028"), "texts may not hold control characters"),
    (edit(*SCORE, "n_right", value=[10**30] + [1] * 39), "not a readable score"),
    (edit("summary", "accuracy", "mean", value=10**400), "not a readable result"),
    (edit("test", "classes", value=[]), "ecord|not a readable|confusion|classes"),
    (edit("test", "n_items", value=[0] * 40), "."),
    (
        edit("runs", 0, "fit_s", value="fast"),
        re.escape("runs[0].fit_s must be a number of seconds in [0, 2^53), got 'fast'"),
    ),
    (edit("runs", 0, "predictions_sha256", value=["x"]), "must be a list of SHA-256"),
    (edit("runs", value=[]), "runs must be a list of objects"),
    (edit("hardware", "host", value="me"), "unknown field hardware.host"),
    (edit("commit", "dirty", value="no"), "commit.dirty must be true or false"),
    (edit("finished_at", value="yesterday"), "finished_at must be a time"),
    (edit("options", value={"a": [1]}), "options must be an object of plain values"),
]


@pytest.mark.parametrize(("change", "reason"), TAMPERED)
def test_tampering_is_refused_even_under_a_new_checksum(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], reason: str
) -> None:
    path = make_result([class_score([9, 8, 7, 6])] * 2).save(tmp_path)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(readable(content | {"sha256": digest(content)}))
    with pytest.raises(ResultError, match=reason):
        Result.load(path)
    with pytest.raises(ResultError, match=f"1 result file refused, no board written\n  {re.escape(path.parent.name)}/"):
        read_results(tmp_path)


@pytest.mark.parametrize("name", [name for name in FIELDS if name not in ("format", "format_version")])
def test_a_change_without_a_new_checksum_is_refused(tmp_path: Path, name: str) -> None:
    path = make_result([class_score([9, 8, 7, 6])]).save(tmp_path)
    content = json.loads(path.read_text())
    path.write_text(readable(content | {name: "changed"}))
    with pytest.raises(ResultError, match=r"checksum: the content gives .*changed after it was written"):
        Result.load(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"format": NaN}', "\x00"])
def test_files_that_are_no_results(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ResultError, match=r"a\.json: not (readable|a result)"):
        read_results(tmp_path)


def test_a_run_that_is_there_twice_and_tests_that_differ_are_refused(tmp_path: Path) -> None:
    first = make_result([class_score([9, 8, 7, 6])])
    path = first.save(tmp_path)
    (tmp_path / "copy.json").write_bytes(path.read_bytes())
    with pytest.raises(ResultError, match=r"the same run as copy\.json; remove one of the two"):
        read_results(tmp_path)
    (tmp_path / "copy.json").unlink()
    make_result([class_score([9, 8, 7, 6], start=100)], method="majority").save(tmp_path)
    with pytest.raises(ResultError, match="tested on something else than others on this task"):
        read_results(tmp_path)


def test_a_folder_without_results(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="no result files"):
        read_results(tmp_path)


def test_pooled_folds_by_hand() -> None:
    """Two folds of 10 items a training: 30 of 40 and 20 of 40 right are 50 of 80."""
    one, other = class_score([9, 8, 7, 6]), class_score([5, 5, 5, 5], start=1000)
    pooled = pool([one, other])
    assert pooled.accuracy == 50 / 80 and pooled.chance == 0.5
    assert pooled.confusion == ((27, 13), (17, 23))
    assert pooled.n_right == one.n_right + other.n_right
    result = make_result([pooled], folds=5)
    assert not result.official and result.summary["accuracy"]["mean"] == 0.625


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"options": {"penalty": float("nan")}}, "cannot be written as a result"),
        ({"options": {"penalty": object()}}, "cannot be written as a result"),
        ({"options": {"note": "a\nb"}}, "control characters"),
        ({"official": False}, "official is False"),
        ({"finished_at": "now"}, "finished_at must be a time"),
    ],
)
def test_what_could_not_be_read_again_is_not_written(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ResultError, match=reason):
        make_result([class_score([9, 8, 7, 6])], **changes).save(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_deeply_nested_json_is_no_result(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(
        '{"format": "nws-result", "format_version": 1, "task": ' + "[" * 5000 + "]" * 5000 + "}"
    )
    with pytest.raises(ResultError, match=r"a\.json: "):
        read_results(tmp_path)


def test_the_command_leaves_out_the_digest_of_a_source() -> None:
    result = make_result([class_score([9, 8, 7, 6])], method="mine.py:Mine", options={"depth": 3, "source": "0123456789ab"})
    assert "--option depth=3 --data" in result.command and "source" not in result.command
    assert "source=a" in make_result([class_score([9, 8, 7, 6])], options={"source": "a"}).command


def score(*, classes: Any = ("False", "True"), names: Any = None, n_items: int = 1, start: int = 0) -> ClassificationScore:
    """A perfect score: six trainings a class, their ids, and so many items each."""
    names = ids_to_test("fixed", 6 * len(classes), start) if names is None else names
    n = len(names) // len(classes) * n_items
    confusion = [[n * (i == j) for j in range(len(classes))] for i in range(len(classes))]
    return ClassificationScore.from_counts(classes, confusion, sorted(names), [n_items] * len(names), [n_items] * len(names))


OPTIMIZERS = ("adam", "rmsprop", "momentum")
IMPOSSIBLE = [
    ("global/augmentation", score(names=[f"fixed-{i:06d}" for i in range(10)]), {}, "belongs to train in global/augm"),
    ("global/augmentation", score(names=[f"fixed-x{i}" for i in range(10)]), {}, "not a training id: 'fixed-x0'"),
    ("global/augmentation", score(names=ids_to_test("random", 12)), {}, "random-0.* is tested on the population fixed"),
    ("global/augmentation", score(names=ids_to_test("fixed", 2)), {}, "2 test trainings: .* needs at least 5 a class"),
    ("global/augmentation", score(n_items=10), {}, "test.n_items: global/augmentation has 1 a training, got 10"),
    ("global/augmentation", score(classes=("no", "yes")), {}, r"classes of global/augmentation are False, True, got \["),
    ("global/optimizer", score(classes=OPTIMIZERS[::-1]), {}, "classes of global/optimizer are adam, rmsprop, momentum"),
    ("global/optimizer", score(), {}, "classes of global/optimizer are adam"),
    ("global/dataset", score(classes=("a",)), {}, "classes of global/dataset must be two image sets or more, each once"),
    ("global/dataset", score(classes=("a", "a")), {}, "two image sets or more, each once"),
    ("global/augmentation/fold=1", score(), {"official": False}, "belongs to .* in global/augmentation/fold=1, by its id"),
    (
        "global/augmentation",
        score(names=ids_to_test("fixed", 10)),
        {"folds": 5},
        "[13] test trainings of fold .* equally",
    ),
    (
        "local/augmentation",
        class_score([5, 5, 5, 5]),
        {},
        "fixed-0.*: local/augmentation is tested on the population random",
    ),
]


@pytest.mark.parametrize(("task", "score", "changes", "reason"), IMPOSSIBLE)
def test_what_no_dataset_can_have_given_is_refused(
    tmp_path: Path, task: str, score: Any, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ResultError, match=reason):
        make_result([score], task=task, **changes).save(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_classes_are_balanced_on_every_test_side(tmp_path: Path) -> None:
    uneven = ClassificationScore.from_counts(
        ("False", "True"), [[9, 0], [0, 1]], ids_to_test("fixed", 10), [1] * 10, [1] * 10
    )
    with pytest.raises(ResultError, match=r"confusion: global/augmentation has 5 items a class, got \[1, 9\]"):
        make_result([uneven]).save(tmp_path)


def test_what_a_dataset_can_have_given_is_taken(tmp_path: Path) -> None:
    for task, found, changes in (
        ("global/optimizer", score(classes=OPTIMIZERS), {}),
        ("global/dataset", score(classes=("cells", "photos")), {}),
        ("local/augmentation", class_score([5, 5, 5, 5], "random"), {}),
        ("global/augmentation", class_score([5, 5, 5, 5], folds=5), {"folds": 5}),
        ("regress/test_accuracy", number_score(0.5), {}),
    ):
        assert Result.load(make_result([found], task=task, **changes).save(tmp_path)).task == task
