"""No training stands on two sides; its id decides which; balance, thresholds and held-out values."""

from __future__ import annotations

import numpy as np
import pytest

import nws_data
from nws_data.convert.subset import subset
from nws_data.errors import TaskError, TaskNotAvailableError
from nws_data.space.identity import fold_split_of, id_hash, split_of
from nws_data.tasks.report import task_states
from nws_data.tasks.selection import _balanced, select_sides
from nws_data.tasks.table import parse_task

NAMES = [
    "global/augmentation/threshold=0",
    "local/augmentation",
    "local/optimizer",
    "vote/augmentation",
    "local/depth_fc@300",
    "regress/learning_rate",
    "regress-local/progress",
    "ood-local/augmentation/held=adam/threshold=0",
    *(f"local/augmentation/fold={fold}" for fold in range(5)),
]


def sides_of(task: nws_data.NWSDataset | object) -> dict[str, set[str]]:
    views = {"train": task.train, "validation": task.validation, "test": task.test}
    return {side: set(view.data["training"].tolist()) if view else set() for side, view in views.items()}


@pytest.mark.parametrize("name", NAMES)
def test_no_training_stands_on_two_sides(task_dataset, name):
    task = nws_data.load_task(name, task_dataset.root)
    sides = sides_of(task)
    assert sides["train"] and sides["test"]
    assert not sides["train"] & sides["test"] and not sides["validation"] & (sides["train"] | sides["test"])
    for side, trainings in sides.items():
        assert {fold_split_of(t, task.spec.fold) if task.spec.fold is not None else split_of(t) for t in trainings} <= {side}
        assert len(trainings) == sum(task.counts[side].values())


@pytest.mark.parametrize("name", ["local/optimizer", "local/augmentation/fold=2", "regress-local/progress"])
def test_nothing_but_the_id_decides_the_side(task_dataset, name):
    """Shuffled rows, and other trainings missing: each training that still takes part is on the side it was."""
    spec = parse_task(name)
    data = nws_data.open(task_dataset.root, spec.family.population)
    whole = select_sides(data, spec)
    home = {t: side for side, rows in whole.rows.items() for t in data["training"][rows].tolist()}
    order = np.random.default_rng(0).permutation(len(data))
    shuffled = data.take(order)
    again = select_sides(shuffled, spec)
    for side, rows in again.rows.items():
        assert set(shuffled["training"][rows].tolist()) == {t for t, s in home.items() if s == side}
    fewer = data.select(training=lambda ids: np.array([int(i[-6:]) % 9 != 0 for i in ids]))
    for side, rows in select_sides(fewer, spec).rows.items():
        found = set(fewer["training"][rows].tolist())
        assert found and all(home.get(t, side) == side for t in found)


def test_folds_test_every_training_once():
    ids = [f"random-{i:06d}" for i in range(200)]
    sides = np.array([[fold_split_of(t, fold) for fold in range(5)] for t in ids])
    assert ((sides == "test").sum(axis=1) == 1).all()
    assert ((sides == "test").sum(axis=0) == 40).all() and ((sides == "train").sum(axis=0) == 140).all()
    assert ((sides == "validation").sum(axis=0) == 20).all()
    assert [fold_split_of("fixed-000000", fold) for fold in range(5)] == PINNED


PINNED = ["train", "train", "train", "test", "train"]


@pytest.mark.parametrize("name", ["local/augmentation", "local/optimizer", "local/augmentation/fold=0"])
def test_selection_by_hand(task_dataset, name):
    """Above the threshold, finite, and of each class those of the smallest id hash: written out plainly."""
    task = nws_data.load_task(name, task_dataset.root)
    rows = nws_data.open(task_dataset.root, task.spec.family.population).select(last=1)
    passing = [
        i for i in range(len(rows)) if int(rows["training"][i][-6:]) % 4 != 3 and rows["training"][i] != "fixed-000017"
    ]
    for side, found in sides_of(task).items():
        members: dict[object, list[str]] = {value: [] for value in task.classes}
        for i in passing:
            training = rows["training"][i]
            home = split_of(training) if task.spec.fold is None else fold_split_of(training, task.spec.fold)
            if home == side:
                members[rows[task.target][i].item()].append(training)
        n = min(len(ids) for ids in members.values())
        assert found == {t for ids in members.values() for t in sorted(ids, key=id_hash)[:n]}
        assert task.counts[side] == {str(value): n for value in task.classes}


def test_snapshots(task_dataset):
    for name, train, test in [
        ("global/augmentation/threshold=0", {16, 17, 18, 19}, {19}),
        ("local/optimizer", {18, 19}, {19}),
    ]:
        task = nws_data.load_task(name, task_dataset.root)
        assert set(task.train.data["snapshot"].tolist()) == train and set(task.test.data["snapshot"].tolist()) == test
        counts = np.unique(task.train.data["training"], return_counts=True)[1]
        assert (counts == len(train)).all()
    task = nws_data.load_task("regress/progress", task_dataset.root)
    assert len(task.train) == 20 * task.counts["train"]["all"] and len(task.test) == 20 * task.counts["test"]["all"]


def test_regression_takes_all_finite_trainings(task_dataset):
    task = nws_data.load_task("regress/test_accuracy", task_dataset.root)
    found = set().union(*sides_of(task).values())
    assert found == {f"fixed-{i:06d}" for i in range(40)} - {"fixed-000017"}


def test_regression_above_a_threshold_that_is_named(task_dataset):
    task = nws_data.load_task("regress/test_accuracy/threshold=0.5", task_dataset.root)
    found = set().union(*sides_of(task).values())
    assert found == {f"fixed-{i:06d}" for i in range(40) if i % 4 != 3} - {"fixed-000017"}


def test_a_listed_image_set_without_trainings_costs_its_task_alone(task_dataset, tmp_path):
    subset(task_dataset.root, tmp_path / "part", ["dataset=mnist"])
    states = {state.name: state for state in task_states(tmp_path / "part", ["ood/*"])}
    assert states["ood/augmentation/held=digits"].reason == "no training on digits"


def test_shares_are_rounded_up_from_their_decimal_value():
    labels, hashes = np.array(["a", "b"] * 100), np.array([f"{i:03d}" for i in range(200)])
    for share, n in ((0.07, 7), (0.55, 55), (0.071, 8), (1.0, 100)):
        assert _balanced(np.ones(200, bool), labels, ("a", "b"), hashes, share).sum() == 2 * n


def test_held_out_values_are_tested_alone(task_dataset):
    task = nws_data.load_task("ood-local/augmentation/held=adam/threshold=0", task_dataset.root)
    assert "adam" not in task.train.data["optimizer"] and set(task.test.data["optimizer"].tolist()) == {"adam"}
    with pytest.raises(TaskError, match="held value: got 'cells'; choose one of mnist, digits"):
        nws_data.load_task("ood/augmentation/held=cells", task_dataset.root)


def test_a_threshold_of_ones_own(task_dataset):
    low = nws_data.load_task("local/augmentation/threshold=0.1", task_dataset.root)
    high = nws_data.load_task("local/augmentation/threshold=0.5", task_dataset.root)
    assert not low.official and sum(low.counts["train"].values()) > sum(high.counts["train"].values())
    with pytest.raises(TaskNotAvailableError, match="train False 0, True 0; test False 0, True 0"):
        nws_data.load_task("local/augmentation/threshold=0.95", task_dataset.root)


def test_what_is_not_available_says_the_counts(task_dataset, tiny_dataset):
    with pytest.raises(
        TaskNotAvailableError, match=r"needs 5 trainings of the rarest class in train and 5 in test; .*: train adam \d+"
    ):
        nws_data.load_task("global/optimizer", tiny_dataset.root)
    with pytest.raises(TaskNotAvailableError, match=r"of the rarest class.*16 90, 32 0, 48 0"):
        select_sides(
            nws_data.open(task_dataset.root, "random").select(finite=True), parse_task("local/width_conv/threshold=0")
        )
    with pytest.raises(TaskNotAvailableError, match="needs 5 trainings in train and 5 in test; finite trainings"):
        nws_data.load_task("regress/test_accuracy", tiny_dataset.root)


def test_a_fold_needs_one_test_training_a_class_since_five_are_scored_together(task_dataset):
    data = nws_data.open(task_dataset.root, "random")
    spec = parse_task("local/augmentation/fold=0/threshold=0")
    ids = np.unique(data["training"]).tolist()
    tested = [t for t in ids if fold_split_of(t, 0) == "test"]
    augmented = [t for t in tested if data["augmentation"][data["training"] == t][0]]
    fewer = data.select(training=sorted(set(ids) - set(augmented[1:])))
    counts = select_sides(fewer, spec).counts
    assert counts["test"] == {"False": 1, "True": 1}
    with pytest.raises(TaskNotAvailableError, match=r"5 trainings of the rarest class in train and 1 in test; .*True 0"):
        select_sides(fewer.select(training=lambda t: t != augmented[0]), spec)


def test_the_classes_of_dataset_are_those_present(task_dataset):
    data = nws_data.open(task_dataset.root, "random")
    only = data.select(dataset="digits")
    with pytest.raises(TaskNotAvailableError, match="dataset has one value in this dataset"):
        select_sides(only, parse_task("local/dataset/threshold=0"))
