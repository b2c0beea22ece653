"""Kept classifiers: the same bits after loading, no pickles, no code of a file run."""

import functools
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from baselines.method import MethodError
from baselines.reading import saved
from baselines.reading.saved import check_keepable, load, load_folder, save
from nws_data.errors import FormatError, NWSError
from nws_data.features.statistics import STATISTICS
from nws_data.tasks.task import load_task
from tests.baselines.reading.conftest import fitted

CASES = [
    *((name, "local/augmentation@500") for name in ("svm-linear-16", "svm-rbf-16", "boosting-16", "logistic-16")),
    *((name, "global/augmentation") for name in ("svm-linear-kernels", "svm-rbf-480", "boosting-480", "logistic-480")),
    *((name, "regress-local/learning_rate@500") for name in ("ridge-16", "svm-linear-16", "svm-rbf-16", "boosting-16")),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "task_name"), CASES)
def test_a_loaded_classifier_predicts_the_same_bits(name: str, task_name: str, planted_root: Path, tmp_path: Path) -> None:
    path, task = tmp_path / "a.skops", load_task(task_name, planted_root)
    before = fitted(name, task_name, planted_root)
    save(before, path)
    after = load(path)
    np.testing.assert_array_equal(after.method.predict(task.test), before.method.predict(task.test))
    assert type(after.method) is type(before.method) and after.name == name and after.spec.name == task.name
    assert after.classes == (task.classes or ()) and after.data_digest == task.data_digest
    assert after.method.length == (task.spec.length or 92_868)
    assert after.feature_names == before.feature_names and len(set(after.feature_names)) == len(after.feature_names)
    assert (after.feature_names == STATISTICS) == (task.spec.length is not None)
    if task.kind == "regression":
        assert after.calibration is None is before.calibration
        return
    assert before.calibration is not None and after.calibration is not None
    scores = np.random.default_rng(0).standard_normal((10, task.n_classes))
    np.testing.assert_array_equal(before.calibration.probabilities(scores), after.calibration.probabilities(scores))
    table = np.random.default_rng(0).standard_normal((10, len(after.feature_names)))
    np.testing.assert_array_equal(before.calibration.distance(table), after.calibration.distance(table))
    with zipfile.ZipFile(path) as file:
        assert {Path(entry).suffix for entry in file.namelist()} == {".json", ".npy"}
        assert not any(b"\x80\x04" in file.read(entry)[:2] for entry in file.namelist())


@pytest.fixture(scope="module")
def boosting(planted_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kept") / "a.skops"
    save(fitted("boosting-16", "local/augmentation@500", planted_root), path)
    return path


def changed(path: Path, target: Path, **fields: Any) -> Path:
    content = saved._skops().load(path, trusted=[saved._TREE]) | fields
    target.write_bytes(saved._skops().dumps(content))
    return target


def test_files_that_ask_for_code_are_refused(boosting: Path, tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "b.skops"
    mine = tmp_path / "mine.py"
    mine.write_text(f"import os\nos.mkdir({str(victim)!r})\nclass Mine: pass\n")
    evil = functools.partial(os.mkdir, str(victim))
    for fields in ({"method": f"{mine}:Mine"}, {"estimator": evil}, {"estimator": os.mkdir}, {"options": {"cache": evil}}):
        with pytest.raises(FormatError, match=r"b\.skops"):
            load(changed(boosting, path, **fields))
    path.write_bytes(pickle.dumps(evil))
    with pytest.raises(FormatError, match="not a classifier of nws bench run --keep"):
        load(path)
    assert not victim.exists()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"format_version": 2}, "format 'nws-classifier' 2, read is nws-classifier 1"),
        ({"extra": 1}, "its fields are others"),
        ({"task": 3}, "task is of type int"),
        ({"task": "local/nothing"}, "target of local"),
        ({"method": "logistic-16"}, r"its estimator is \['HistGradientBoostingClassifier'\], not \['Pipeline'"),
        ({"method": "majority"}, "kept in no file"),
        ({"feature_names": ["mean"]}, "takes 16 features, not 1"),
        ({"classes": []}, "classes of local/augmentation"),
        ({"options": {"rounds": "many"}}, "option rounds must be int"),
        ({"calibration": {"temperature": 1.0}}, "KeyError"),
    ],
)
def test_files_that_say_something_else_are_refused(
    boosting: Path, tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(FormatError, match=message):
        load(changed(boosting, tmp_path / "b.skops", **fields))


@pytest.mark.parametrize("field", ["left", "right", "feature_idx"])
def test_a_tree_that_leads_outside_is_refused(boosting: Path, tmp_path: Path, field: str) -> None:
    content = saved._skops().load(boosting, trusted=[saved._TREE])
    nodes = content["estimator"]._predictors[3][0].nodes
    nodes[field][0] = 0 if field == "left" else 2**20  # back to the root: a circle
    with pytest.raises(FormatError, match="a tree of it leads outside"):
        load(changed(boosting, tmp_path / "b.skops", estimator=content["estimator"]))


def test_support_vectors_that_do_not_fit_are_refused(planted_root: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.skops"
    one = fitted("svm-rbf-16", "regress-local/learning_rate@500", planted_root)
    machine = one.method.fitted.regressor_[-1]
    machine._dual_coef_ = machine._dual_coef_[:, :-1]
    save(one, path)
    with pytest.raises(FormatError, match="arrays that do not fit each other"):
        load(path)


def test_a_file_that_is_large_or_unpacks_to_much_is_refused(
    boosting: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved, "MAX_BYTES", 10_000)
    with pytest.raises(FormatError, match="larger than the 10,000 bytes that it may have"):
        load(boosting)
    with zipfile.ZipFile(tmp_path / "a.skops", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("schema.json", bytes(2**20))
    with pytest.raises(FormatError, match="unpacks to over 10,000 bytes"):
        load(tmp_path / "a.skops")


def test_a_folder_without_classifiers_says_how_to_make_some(tmp_path: Path) -> None:
    with pytest.raises(NWSError, match="nws bench run --task 'local/"):
        load_folder(tmp_path)


def test_what_files_cannot_keep_is_named() -> None:
    for name in ("dmc", "majority", "hyperparameters", "mine.py:Mine"):
        with pytest.raises(MethodError, match="those that can are svm-linear-16"):
            check_keepable(name)
    check_keepable("boosting-16")
