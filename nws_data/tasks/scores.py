"""What an evaluation gives: metrics, and the counts of every test training from which they can be computed again."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from nws_data.errors import PredictionError
from nws_data.tasks.metrics import Interval, Sums, clustered_accuracy, clustered_regression, kendall_tau


class _Score:
    def to_dict(self) -> dict[str, Any]:
        """Return everything as values that JSON can hold."""
        return {name: dict(value) if isinstance(value, dict) else value for name, value in vars(self).items()}


@dataclass(frozen=True, kw_only=True)
class ClassificationScore(_Score):
    """How well classes were predicted. Intervals are 95 %, clustered by training."""

    accuracy: float  # share of right items, in [0, 1]
    accuracy_low: float
    accuracy_high: float
    chance: float  # accuracy of guessing: the largest class's share of the items
    classes: tuple[str, ...]  # in label order
    per_class: dict[str, float]  # accuracy on the items of each class that occurs
    confusion: tuple[tuple[int, ...], ...]  # [true][predicted], items
    trainings: tuple[str, ...]  # ids, sorted
    n_items: tuple[int, ...]  # of each training: snapshots, windows or vectors
    n_right: tuple[int, ...]

    def __repr__(self) -> str:
        return (
            f"ClassificationScore(accuracy={self.accuracy:.4g} in [{self.accuracy_low:.4g}, {self.accuracy_high:.4g}], "
            f"chance={self.chance:.4g}, {len(self.classes)} classes, {len(self.trainings):,} trainings)"
        )

    @classmethod
    def from_counts(
        cls,
        classes: Sequence[str],
        confusion: Sequence[Sequence[int]],
        trainings: Sequence[str],
        n_items: Sequence[int],
        n_right: Sequence[int],
    ) -> ClassificationScore:
        """Compute all metrics; raises ``PredictionError`` for counts that contradict each other."""
        matrix = np.asarray(confusion, np.int64).reshape(len(classes), len(classes))
        items, right = np.asarray(n_items, np.int64), np.asarray(n_right, np.int64)
        _check_trainings(trainings, items, right)
        if (right < 0).any() or (right > items).any() or (matrix < 0).any():
            raise PredictionError("counts of a score must be in [0, items of the training]")
        if matrix.sum() != items.sum() or np.trace(matrix) != right.sum():
            raise PredictionError(
                f"the confusion matrix counts {matrix.sum()} items, {np.trace(matrix)} of them right; the trainings "
                f"{items.sum()} and {right.sum()}: a damaged score"
            )
        of_class = matrix.sum(axis=1)
        return cls(
            **_values("accuracy", clustered_accuracy(items, right)),
            chance=float(of_class.max() / matrix.sum()),
            classes=tuple(classes),
            per_class={name: float(matrix[i, i] / of_class[i]) for i, name in enumerate(classes) if of_class[i]},
            confusion=tuple(tuple(row) for row in matrix.tolist()),
            trainings=tuple(trainings),
            n_items=tuple(items.tolist()),
            n_right=tuple(right.tolist()),
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ClassificationScore:
        """Build from :meth:`to_dict`'s values; raises ``PredictionError`` where a metric is not that of the counts."""
        names = ("classes", "confusion", "trainings", "n_items", "n_right")
        return _checked(cls, values, lambda: cls.from_counts(**{name: values[name] for name in names}))


@dataclass(frozen=True, kw_only=True)
class RegressionScore(_Score):
    """How well numbers were predicted, in the unit of the target. Intervals are 95 %, by bootstrap over trainings."""

    r2: float  # coefficient of determination; 0 is the mean of the test targets
    r2_low: float
    r2_high: float
    mae: float  # mean absolute error
    mae_low: float
    mae_high: float
    kendall_tau: float  # tau-b in [-1, 1]; of several folds the mean
    trainings: tuple[str, ...]  # ids, sorted
    n_items: tuple[int, ...]  # of each training: snapshots or windows
    sum_target: tuple[float, ...]
    sum_target2: tuple[float, ...]  # of squared targets
    sum_error2: tuple[float, ...]  # of squared errors
    sum_absolute: tuple[float, ...]  # of absolute errors

    def __repr__(self) -> str:
        return (
            f"RegressionScore(r2={self.r2:.4g} in [{self.r2_low:.4g}, {self.r2_high:.4g}], mae={self.mae:.4g} in "
            f"[{self.mae_low:.4g}, {self.mae_high:.4g}], kendall_tau={self.kendall_tau:.4g}, "
            f"{len(self.trainings):,} trainings)"
        )

    @classmethod
    def from_sums(cls, kendall_tau: float, trainings: Sequence[str], sums: Sums) -> RegressionScore:
        """Compute all metrics but Kendall's tau; raises ``PredictionError`` for sums that contradict each other."""
        _check_trainings(trainings, *sums)
        _check_sums(sums, kendall_tau)
        r2, mae = clustered_regression(sums)
        counts: dict[str, Any] = {name: tuple(v.tolist()) for name, v in zip(("n_items", *_SUMS), sums, strict=True)}
        return cls(
            **_values("r2", r2),
            **_values("mae", mae),
            kendall_tau=float(kendall_tau),
            trainings=tuple(trainings),
            **counts,
        )

    @property
    def sums(self) -> Sums:
        """The sums as arrays."""
        return _sums(self.to_dict())

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RegressionScore:
        """Build from :meth:`to_dict`'s values; raises ``PredictionError`` where a metric is not that of the sums."""
        return _checked(cls, values, lambda: cls.from_sums(values["kendall_tau"], values["trainings"], _sums(values)))


Score = ClassificationScore | RegressionScore

_ROUNDING = 1e-9
_SUMS = ("sum_target", "sum_target2", "sum_error2", "sum_absolute")


def score_classes(
    truth: np.ndarray, predicted: np.ndarray, trainings: np.ndarray, classes: Sequence[str]
) -> ClassificationScore:
    """Score labels, int64 ``(n,)`` in [0, len(classes)), of the trainings with these ids ``(n,)``."""
    n = len(classes)
    confusion = np.bincount(truth * n + predicted, minlength=n * n).reshape(n, n).tolist()
    ids, of = np.unique(trainings, return_inverse=True)
    right = np.bincount(of, weights=predicted == truth, minlength=len(ids)).astype(np.int64)
    return ClassificationScore.from_counts(classes, confusion, ids.tolist(), np.bincount(of).tolist(), right.tolist())


def score_numbers(truth: np.ndarray, predicted: np.ndarray, trainings: np.ndarray) -> RegressionScore:
    """Score numbers, float64 ``(n,)`` each, of the trainings with these ids ``(n,)``."""
    ids, of = np.unique(trainings, return_inverse=True)
    error = predicted - truth
    sums = (np.bincount(of, weights=values) for values in (truth, truth**2, error**2, np.abs(error)))
    return RegressionScore.from_sums(kendall_tau(truth, predicted), ids.tolist(), Sums(np.bincount(of), *sums))


def pool(scores: Sequence[Score]) -> Score:
    """Return the score over several test sets that share no training, such as folds.

    Kendall's tau is the mean. Raises ``PredictionError`` where sets share a training or ask for other classes.
    """
    folds: Sequence[Any] = scores
    first, classes = scores[0], getattr(scores[0], "classes", None)
    if any(type(score) is not type(first) or getattr(score, "classes", None) != classes for score in scores):
        raise PredictionError("scores to pool are of different tasks: give folds of one task")
    order = np.argsort([training for score in scores for training in score.trainings], kind="stable")

    def joined(name: str) -> list[Any]:
        together = [value for score in scores for value in getattr(score, name)]
        return [together[i] for i in order]

    trainings = joined("trainings")
    if isinstance(first, ClassificationScore):
        confusion = np.sum([score.confusion for score in folds], axis=0).tolist()
        return ClassificationScore.from_counts(first.classes, confusion, trainings, joined("n_items"), joined("n_right"))
    tau = float(np.mean([score.kendall_tau for score in folds]))
    return RegressionScore.from_sums(tau, trainings, _sums({name: joined(name) for name in ("n_items", *_SUMS)}))


def _sums(values: Mapping[str, Any]) -> Sums:
    return Sums(np.asarray(values["n_items"], np.int64), *(np.asarray(values[name], np.float64) for name in _SUMS))


def _values(name: str, interval: Interval) -> dict[str, Any]:
    return {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}


def _check_sums(sums: Sums, kendall_tau: float) -> None:
    """Raise ``PredictionError`` for sums that no targets and errors have."""
    if not all(np.isfinite(values).all() for values in sums) or (sums.error2 < 0).any() or (sums.absolute < 0).any():
        raise PredictionError("sums of a score must be finite, those of errors not negative: a damaged score")
    if not -1 - _ROUNDING <= kendall_tau <= 1 + _ROUNDING:
        raise PredictionError(f"kendall_tau must be in [-1, 1], got {kendall_tau}: a damaged score")
    # Cauchy and Schwarz: (sum x)² <= n sum x², and sum x² <= (sum |x|)².
    bounds = (
        (sums.target**2, sums.n * sums.target2),
        (sums.absolute**2, sums.n * sums.error2),
        (sums.error2, sums.absolute**2),
    )
    if any((low > high * (1 + _ROUNDING) + np.finfo(float).tiny).any() for low, high in bounds):
        raise PredictionError("sums of a score contradict each other: no targets and errors have them; a damaged score")


def _check_trainings(trainings: Sequence[str], *columns: np.ndarray) -> None:
    if not trainings or any(len(column) != len(trainings) for column in columns):
        raise PredictionError(f"a score needs one count for each of its {len(trainings)} trainings, of at least one")
    if (columns[0] < 1).any():
        raise PredictionError("a training of a score must have at least one item")
    twice = [a for a, b in itertools.pairwise(trainings) if a >= b]
    if twice:
        raise PredictionError(f"trainings of a score must be sorted and differ; look at {twice[0]}")


def _checked(cls: type, values: Mapping[str, Any], build: Any) -> Any:
    """Build a score and compare every field with the values it came from."""
    expected = {f.name for f in fields(cls)}
    if set(values) != expected:
        odd = sorted(set(values) ^ expected)
        raise PredictionError(f"a score has the fields {', '.join(sorted(expected))}; missing or unknown: {', '.join(odd)}")
    try:
        score = build()
    except PredictionError:
        raise
    except (TypeError, ValueError, LookupError, ArithmeticError) as error:
        raise PredictionError(f"not a readable score ({error!r})") from error
    for name, value in score.to_dict().items():
        if not _same(value, values[name]):
            raise PredictionError(f"{name} is {values[name]!r}, but the counts of the trainings give {value!r}")
    return score


def _same(a: Any, b: Any) -> bool:
    """Whether two values agree, tuples and JSON's lists alike; floats to 1e-9, since other machines add in another order."""
    if isinstance(a, dict):
        return isinstance(b, Mapping) and a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return isinstance(b, list | tuple) and len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, float) and isinstance(b, int | float) and not isinstance(b, bool):
        return abs(a - b) <= _ROUNDING * max(1.0, abs(a))
    return bool(a == b) and type(a) is type(b)
