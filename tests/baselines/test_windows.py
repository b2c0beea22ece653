"""Trees on window statistics find what was planted, also what only the windows of a vector together tell."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from baselines.method import MethodError
from baselines.registry import make_method
from baselines.window_statistics import statistic_names
from nws_data.tasks.task import Task, load_task


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    yield tmp_path / "nws" / "features" / "statistics-windows"


def predicted(task: Task, **options: Any) -> np.ndarray:
    method = make_method("trees-window", trees=30, **options)
    method.fit(task)
    return method.predict(task.test)


def test_the_signal_of_windows_is_found_and_statistics_are_kept(planted_root: Path, cache: Path) -> None:
    task = load_task("local/augmentation@500", planted_root)
    scores = predicted(task)
    assert task.evaluate(scores).accuracy >= 0.9
    kept = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    assert kept
    np.testing.assert_array_equal(predicted(task), scores)
    assert {path: path.stat().st_mtime_ns for path in cache.iterdir()} == kept
    np.testing.assert_array_equal(predicted(task, cache=False), scores)


def test_windows_of_a_vector_together_tell_more(planted_root: Path) -> None:
    """Of the image set only variances tell, which most windows do not hold."""
    task = load_task("vote/dataset@500", planted_root)
    pooled, alone = predicted(task), predicted(task, pool=False)
    of_vectors = pooled.reshape(-1, 10, task.n_classes)
    assert (of_vectors == of_vectors[:, :1]).all()
    assert not (alone.reshape(of_vectors.shape) == alone.reshape(of_vectors.shape)[:, :1]).all()
    assert task.evaluate(pooled).accuracy >= 0.9 > load_task("local/dataset@500", planted_root).evaluate(alone).accuracy


def test_a_group_is_left_out(planted_root: Path) -> None:
    method = make_method("trees-window", trees=1, without="norms")
    method.fit(load_task("local/augmentation@500", planted_root))
    expected = [name for name in statistic_names(500) if not name.startswith("norms.")]
    assert method.fitted.n_features_in_ == len(expected) < len(statistic_names(500))
    with pytest.raises(MethodError, match="without: got 'norm'"):
        make_method("trees-window", without="norm")


def test_numbers_of_windows_are_found(planted_root: Path) -> None:
    task = load_task("regress-local/learning_rate@500", planted_root)
    assert task.evaluate(predicted(task)).r2 > 0.5


def test_windows_of_another_length_are_refused(planted_root: Path) -> None:
    method = make_method("trees-window", trees=1)
    with pytest.raises(MethodError, match="not fitted"):
        method.predict(load_task("local/augmentation@500", planted_root).test)
    method.fit(load_task("local/augmentation@500", planted_root))
    with pytest.raises(MethodError, match="fitted on items of 500 values, this view's have 400"):
        method.predict(load_task("local/augmentation@400", planted_root).test)
