"""Scores by hand, their round trip, and what is refused."""

import json

import numpy as np
import pytest

from nws_data.errors import PredictionError
from nws_data.tasks.scores import ClassificationScore, RegressionScore, pool, score_classes, score_numbers

IDS = np.array(["b", "b", "a", "a", "c"])
TRUTH = np.array([0, 0, 1, 1, 2])
PREDICTED = np.array([0, 1, 1, 1, 0])


@pytest.fixture
def classes() -> ClassificationScore:
    return score_classes(TRUTH, PREDICTED, IDS, ("x", "y", "z"))


@pytest.fixture
def numbers() -> RegressionScore:
    return score_numbers(np.array([1.0, 2, 3, 4, 5]), np.array([1.5, 2, 2, 4, 5]), IDS)


def test_classes_by_hand(classes):
    assert classes.accuracy == 3 / 5 and classes.chance == 2 / 5
    assert classes.confusion == ((1, 1, 0), (0, 2, 0), (1, 0, 0))
    assert classes.per_class == {"x": 0.5, "y": 1.0, "z": 0.0}
    assert (classes.trainings, classes.n_items, classes.n_right) == (("a", "b", "c"), (2, 2, 1), (2, 1, 0))
    assert 0 <= classes.accuracy_low < 0.6 < classes.accuracy_high <= 1


def test_a_class_without_items_has_no_accuracy():
    score = score_classes(np.array([0, 0]), np.array([0, 1]), np.array(["a", "b"]), ("x", "y"))
    assert score.per_class == {"x": 0.5} and score.confusion == ((1, 1), (0, 0))


def test_numbers_by_hand(numbers):
    assert numbers.mae == 1.5 / 5 and numbers.r2 == 1 - 1.25 / 10
    assert numbers.sum_target == (7, 3, 5) and numbers.sum_error2 == (1, 0.25, 0) and numbers.n_items == (2, 2, 1)
    assert numbers.kendall_tau == pytest.approx(0.9486833, abs=1e-6)  # one tie of ten pairs: 9 / sqrt(10 * 9)


def test_scores_fit_on_a_line_or_two(classes, numbers):
    assert repr(classes) == (
        f"ClassificationScore(accuracy=0.6 in [{classes.accuracy_low:.4g}, {classes.accuracy_high:.4g}], chance=0.4, "
        "3 classes, 3 trainings)"
    )
    assert repr(numbers) == (
        f"RegressionScore(r2=0.875 in [{numbers.r2_low:.4g}, {numbers.r2_high:.4g}], mae=0.3 in [{numbers.mae_low:.4g}, "
        f"{numbers.mae_high:.4g}], kendall_tau=0.9487, 3 trainings)"
    )


def test_round_trips(classes, numbers):
    for score in (classes, numbers):
        values = json.loads(json.dumps(score.to_dict()))
        assert type(score).from_dict(values) == score


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"accuracy": 0.8}, "accuracy is 0.8, but the counts of the trainings give 0.6"),
        ({"accuracy_low": 0.5}, "accuracy_low is 0.5"),
        ({"chance": 0.1}, "chance is 0.1"),
        ({"per_class": {"x": 0.5, "y": 1.0, "z": 0.5}}, "per_class is"),
        ({"n_right": [2, 2, 0]}, "counts 5 items, 3 of them right; the trainings 5 and 4"),
        ({"n_right": [3, 0, 0]}, r"in \[0, items of the training\]"),
        ({"n_items": [0, 4, 1]}, "at least one item"),
        ({"n_items": [2, 3]}, "one count for each of its 3 trainings"),
        ({"trainings": ["b", "a", "c"]}, "sorted and differ; look at b"),
        ({"trainings": ["a", "a", "c"]}, "sorted and differ; look at a"),
        ({"confusion": [[1, 1], [0, 2]]}, "not a readable score"),
        ({"accuracy": "0.6"}, "accuracy is '0.6'"),
        ({"n_right": None}, "not a readable score"),
        ({"bonus": 1}, "missing or unknown: bonus"),
    ],
)
def test_altered_scores_are_refused(classes, change, message):
    with pytest.raises(PredictionError, match=message):
        ClassificationScore.from_dict(json.loads(json.dumps(classes.to_dict())) | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"r2": 0.99}, "r2 is 0.99"),
        ({"mae_high": 9.0}, "mae_high is 9.0"),
        ({"sum_error2": [-1.0, 0.25, 0.0]}, "errors not negative"),
        ({"sum_target": [7.0, float("nan"), 5.0]}, "must be finite"),
        ({"kendall_tau": 17.0}, r"kendall_tau must be in \[-1, 1\], got 17"),
        ({"sum_error2": [0.0, 0.0, 0.0]}, "contradict each other"),
        ({"sum_target2": [1.0, 5.0, 25.0]}, "contradict each other"),
        ({"n_items": [10**30, 2, 1]}, "not a readable score"),
        ({"n_items": ["two", 2, 1]}, "not a readable score"),
    ],
)
def test_altered_regression_scores_are_refused(numbers, change, message):
    with pytest.raises(PredictionError, match=message):
        RegressionScore.from_dict(numbers.to_dict() | change)


def test_pooled_folds_are_the_score_of_all_items(classes, numbers):
    whole = (TRUTH, PREDICTED, IDS, ("x", "y", "z"))
    parts = [score_classes(*(column[rows] for column in whole[:3]), whole[3]) for rows in ([0, 1], [2, 3, 4])]
    assert pool(parts) == classes
    truth, predicted = np.array([1.0, 2, 3, 4, 5]), np.array([1.5, 2, 2, 4, 5])
    pooled = pool([score_numbers(truth[rows], predicted[rows], IDS[rows]) for rows in ([0, 1], [2, 3, 4])])
    assert (pooled.r2, pooled.mae, pooled.trainings) == (numbers.r2, numbers.mae, numbers.trainings)
    assert pooled.kendall_tau == 1


def test_pooling_what_does_not_belong_together(classes, numbers):
    other = score_classes(TRUTH, PREDICTED, np.array(["d", "d", "e", "e", "f"]), ("x", "y", "w"))
    for scores in ([classes, other], [classes, numbers], [numbers, classes]):
        with pytest.raises(PredictionError, match="different tasks"):
            pool(scores)
    with pytest.raises(PredictionError, match="sorted and differ; look at a"):
        pool([classes, classes])
