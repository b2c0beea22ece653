"""A task on a dataset: views to train, validate and test on, and the evaluator.

task = nws_data.load_task("local/optimizer", "nws")
... train on task.train, predict on task.test ...
print(task.evaluate(scores).accuracy)
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nws_data.errors import PredictionError, TaskError, check_one_of
from nws_data.format.tiers import FULL
from nws_data.randomness import Purpose, permutation
from nws_data.read.dataset import NWSDataset, local_folder
from nws_data.read.views import FixedWindows, GlobalVectors, RandomWindows, Transform, WeightView
from nws_data.space.identity import SIDES, Side
from nws_data.tasks.predictions import Keys, Predictions, align, check_finite, encode_classes, key_text
from nws_data.tasks.scores import Score, score_classes, score_numbers
from nws_data.tasks.selection import Sides, open_population, present_classes, select_sides
from nws_data.tasks.table import TaskSpec, parse_task


class Task:
    """One task on one dataset; made by :func:`load_task`.

    Attributes:
        name: the canonical name; it says everything but the dataset.
        spec: the name's parts.
        root: the dataset's folder.
        data_digest: which data these are: the digest of the task's population, so that results stay good when the other
            population grows.
        counts: trainings by side (train, validation, test) and class, after balancing.
        seed: of the random windows of training.
        official: whether results belong on the leaderboard: no fold, no threshold of its own, no share, no permuted labels,
            no tier.
        kind: ``"classification"`` or ``"regression"``.
        target: the column that is predicted.
        classes: values of the target in label order; ``None`` for regression.
    """

    def __init__(self, spec: TaskSpec, data: NWSDataset, sides: Sides, seed: int) -> None:
        self.spec = spec
        self.name, self.official, self.target = spec.name, spec.official, spec.target
        self.kind = "regression" if spec.family.regression else "classification"
        self.classes: tuple[Any, ...] | None = None if spec.family.regression else present_classes(data, spec.target)
        self.root: Path = data.root
        self.data_digest = data.manifest.population_digest(spec.family.population)
        self.counts = {side: dict(sides.counts[side]) for side in SIDES}
        self.seed = seed
        self._data = data
        self._rows = sides.rows

    def __repr__(self) -> str:
        sizes = ", ".join(f"{sum(self.counts[side].values())} {side}" for side in SIDES)
        kind = "" if self.official else ", unofficial"
        return f"Task({self.name!r}, {str(self.root)!r}: {sizes} trainings{kind})"

    @property
    def n_classes(self) -> int:
        """Number of classes; raises ``TaskError`` for regression."""
        return len(self._class_names())

    @property
    def chance(self) -> float | None:
        """Accuracy of guessing, the largest class's share of the test trainings; ``None`` for regression."""
        if self.kind == "regression":
            return None
        return max(self.counts["test"].values()) / sum(self.counts["test"].values())

    @cached_property
    def train(self) -> WeightView:
        """Training items: whole vectors, or one new random window of each snapshot in every epoch (``set_epoch``)."""
        return self.view("train")

    @cached_property
    def validation(self) -> WeightView | None:
        """Validation items, windows as in :attr:`test`; ``None`` where no training is left for that side."""
        return self.view("validation") if len(self._rows["validation"]) else None

    @cached_property
    def test(self) -> WeightView:
        """Test items: whole vectors, or the 10 official windows of each, side by side."""
        return self.view("test")

    def view(self, side: Side, fixed: bool | None = None, *, transform: Transform | None = None) -> WeightView:
        """Return a side's items.

        Args:
            side: ``"train"``, ``"validation"`` or ``"test"``.
            fixed: the official windows instead of random ones; by default on all sides but train. Whole vectors are
                the same either way.
            transform: of the weights, see :class:`WeightView`.

        Raises:
            TaskError: another side.
            SelectionError: a validation side without trainings.
        """
        check_one_of("side", side, SIDES, TaskError)
        data, part = self._data.take(self._rows[side]), self.spec.family.part
        if part is None or self.spec.length is None:
            view: WeightView = GlobalVectors(data, target=self.target, transform=transform)
        elif fixed is True or (fixed is None and side != "train"):
            view = FixedWindows(data, self.spec.length, part, target=self.target, transform=transform)
        else:
            view = RandomWindows(data, self.spec.length, part, target=self.target, seed=self.seed, transform=transform)
        return self._relabelled(view, side)

    @property
    def keys(self) -> Keys:
        """What predictions are asked for, in their order."""
        return self._keys(self.spec.family.vote)

    def predictions(self, values: Any) -> Predictions:
        """Give predictions their keys.

        Args:
            values: in the order of :attr:`test`: scores ``(n, classes)``, larger is more likely; or labels, whole numbers
                ``(n,)``; or class values ``(n,)``; for regression numbers ``(n,)``. An array, tensor or list. A vote
                task takes values for windows and decides for each vector: by the mean of the scores, or the label
                that most windows have (the first of several).

        Raises:
            PredictionError: another shape, labels out of range, values that are not finite.
        """
        n = len(self.test)
        wanted = f"({n},) numbers" if self.kind == "regression" else f"({n}, {self.n_classes}) scores or ({n},) labels"
        values = as_array(values, n)
        width = 1 if self.kind == "regression" else self.n_classes
        if values.shape not in ((n,), (n, width)):
            raise PredictionError(f"predictions must be {wanted}, in the order of task.test, got shape {values.shape}")
        if self.kind == "regression":
            decided = check_finite(values.reshape(n), self._keys())
        else:
            decided = np.array(self._class_names())[self._decide(values)]
        return Predictions(task=self.name, data_digest=self.data_digest, keys=self.keys, values=decided)

    def evaluate(self, predictions: Any) -> Score:
        """Score predictions on the test side.

        Args:
            predictions: :class:`Predictions`, the path of a file of them, or values as :meth:`predictions` takes.

        Returns:
            ``ClassificationScore`` or ``RegressionScore``; 95 % intervals are clustered by training.

        Raises:
            PredictionError: of another task or dataset, or not exactly what is asked for: names how many predictions
                are missing, extra, duplicated, not finite or no class, and the first of them.
        """
        if isinstance(predictions, str | Path):
            predictions = Predictions.load(predictions)
        if not isinstance(predictions, Predictions):
            predictions = self.predictions(predictions)
        if predictions.task != self.name:
            raise PredictionError(f"the predictions are for the task {predictions.task!r}, not for {self.name}")
        predictions.check_data(self._data.manifest, self.root)
        keys, data = self.keys, self.test.data
        values = align(predictions, keys)
        rows = np.arange(len(data)) if self.spec.family.vote else self.test.rows  # of each key
        trainings = data["training"][rows]
        if self.kind == "regression":
            return score_numbers(data[self.target].astype(np.float64)[rows], check_finite(values, keys), trainings)
        names = self._class_names()
        labels = encode_classes(_as_text(values, keys), names, keys)
        return score_classes(self.test.row_labels.numpy()[rows], labels, trainings, names)

    def _keys(self, per_vector: bool = False) -> Keys:
        """Return the keys of the test items, for messages, or of the vectors."""
        view, data = self.test, self.test.data
        rows = np.arange(len(data)) if per_vector else view.rows
        keys = {"training": data["training"][rows], "snapshot": data["snapshot"][rows].astype(np.int64)}
        if isinstance(view, FixedWindows) and not per_vector:
            keys |= {"window": np.tile(np.arange(view.per_vector), len(data)), "start": view.starts()}
        return keys

    def _class_names(self) -> tuple[str, ...]:
        if self.classes is None:
            raise TaskError(f"task {self.name} predicts a number: it has no classes")
        return tuple(str(value) for value in self.classes)

    def _decide(self, values: np.ndarray) -> np.ndarray:
        """Return the labels, int64 ``(keys,)``, that scores ``(n, C)``, labels or class values ``(n,)`` amount to."""
        names, per_vector = self._class_names(), self.test.per_vector if self.spec.family.vote else 1
        keys, n = self._keys(), len(names)
        if values.ndim == 2:
            return check_finite(values, keys).reshape(-1, per_vector, n).mean(axis=1).argmax(axis=1)
        is_label = np.isin(values, np.arange(n)) if values.dtype.kind in "fiu" else np.zeros(len(values), bool)
        if is_label.all():
            labels = values.astype(np.int64)
        elif not is_label.any():
            labels = encode_classes(_as_text(values, keys), names, keys)
        else:
            wrong = np.flatnonzero(~is_label)
            raise PredictionError(
                f"{len(wrong)} of {len(values)} labels are not in [0, {n - 1}], the first {values[wrong[0]]} for "
                f"{key_text(keys, wrong[0])}; classes are {', '.join(names)}"
            )
        votes = np.eye(n, dtype=np.int64)[labels].reshape(-1, per_vector, n)
        return votes.sum(axis=1).argmax(axis=1)

    def _relabelled(self, view: WeightView, side: str) -> WeightView:
        """Give a view the labels of this task where they are not the dataset's own."""
        if self.classes is None:
            return view
        labels = view.row_labels
        every = self._data.classes(self.target)
        if every != self.classes:
            place = {value: i for i, value in enumerate(self.classes)}
            labels = torch.tensor([place.get(value, -1) for value in every])[labels]
        if self.spec.permuted is not None and side == "train":
            # Exchanged between trainings; rows of one training keep one label.
            ids, first, of = np.unique(view.data["training"], return_index=True, return_inverse=True)
            order = permutation(self.spec.permuted, Purpose.LABEL_PERMUTATION, 0, len(ids))
            labels = labels[torch.from_numpy(first)][order][torch.from_numpy(of)]
        return view if labels is view.row_labels else view.with_row_labels(labels)


def load_task(name: str, root: str | Path = "nws", *, seed: int = 0) -> Task:
    """Open a task on a dataset.

    Args:
        name: such as ``"global/optimizer"``, ``"local-conv/dataset@1000"``, ``"vote/activation"``,
            ``"regress/test_accuracy"`` or ``"ood/activation/held=adam"``; see ``nws tasks``. Unofficial variants:
            ``/threshold=0.2`` (one accuracy threshold for all image sets), ``/fold=0`` to ``/fold=4`` (five folds over all
            trainings, for small builds), ``/share=0.25`` (a quarter of the training side's trainings, for learning
            curves), ``/permuted=0`` (training labels permuted between trainings) and ``/tier=1GB`` (of
            the trainings in that tier).
        root: the dataset's folder; its weights are read when a view is, and need not be there for scoring. Or a
            repository on the hub as for :func:`nws_data.open`, of which the tier, or all of the population, is fetched.
        seed: of the random training windows, in [0, 2^63).

    Raises:
        TaskError: no such task.
        TaskNotAvailableError: the dataset lacks the population or trainings; names the counts.
        FormatError: not a dataset.

    Source: Eilertsen et al. 2020, Sections 5 and 6.1, Supplement C.
    """
    spec = parse_task(name)
    data = open_population(local_folder(root, spec.family.population, tier=spec.tier or FULL), spec)
    return Task(spec, data, select_sides(data, spec), seed)


def as_array(values: Any, n: int) -> np.ndarray:
    """Return predictions as an array: of a tensor, an array, or a list of values or of batches of ``n`` items together.

    Raises ``PredictionError`` for what is not an array.
    """
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        return (values.float() if values.dtype in (torch.bfloat16, torch.float16) else values).numpy()
    try:
        if isinstance(values, list | tuple) and values and all(isinstance(v, torch.Tensor | np.ndarray) for v in values):
            parts = [as_array(value, n) for value in values]
            batches = all(part.ndim for part in parts) and sum(map(len, parts)) == n
            return np.concatenate(parts) if batches else np.stack(parts)
        return np.asarray(values)
    except (ValueError, TypeError) as error:
        raise PredictionError(f"predictions must be an array, a tensor or a list of batches: {error}") from error


def _as_text(values: np.ndarray, keys: Keys) -> np.ndarray:
    """Return class values as text; whole numbers without a point."""
    if values.dtype.kind in "fiu":
        values = check_finite(values, keys)
        return np.array([str(int(value)) if value == int(value) else str(value) for value in values.tolist()], dtype=str)
    return np.array([str(value) for value in values.tolist()], dtype=object)
