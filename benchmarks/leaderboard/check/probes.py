"""What a method may get wrong on one task, each found by fitting and predicting: three fits where all is well."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from baselines.method import Method, MethodError
from baselines.registry import make_method
from benchmarks.leaderboard.runs.plans import Plan
from benchmarks.leaderboard.runs.runner import failures_named
from nws_data.errors import NWSError
from nws_data.read.dataset import NWSDataset
from nws_data.read.views import FixedWindows, GlobalVectors, Transform, WeightView
from nws_data.space.identity import SIDES, Side
from nws_data.tasks.scores import ClassificationScore, Score
from nws_data.tasks.task import Task, as_array, load_task

RUNS, FORM, SIGNAL, LEAK = "runs", "form of predictions", "learns", "leak"
ORDER, ALONE, LABELS, INPUTS = "order of test items", "other test items", "test labels", "inputs unchanged"
SAME, STATE, SEED, GLOBAL = "reproducible", "fits are independent", "seed", "global random state"

CHECKS = {
    RUNS: "mend the error; a task that the method is not for, fit declines by a MethodError",
    FORM: "return float (n, classes) or labels (n,), of numbers float (n,), all finite, one for each item of the view",
    SIGNAL: "fit on task.train and its labels: here the weights of every task tell the target",
    LEAK: "labels come from view.labels of task.train alone, never from view.data[target] or task.test",
    ORDER: "predict each item from its own weights, in the view's order; torch: call model.eval() first",
    ALONE: "take means and scales from task.train, not from the view that is predicted; torch: call model.eval()",
    LABELS: "neither fit nor predict may read task.test's labels or view.data[target]",
    INPUTS: "copy labels and other arrays of a task before changing them",
    SAME: "draw everything from self.seed by generators of your own: np.random.default_rng, torch.Generator",
    STATE: "make estimators and networks anew in fit, not in __init__ or in the class",
    SEED: "use self.seed; where nothing is drawn, let draws(task) return False and be fitted once",
    GLOBAL: "what runs next in the process draws other numbers: seed within torch.random.fork_rng, or use a generator",
}
"""Every check by name, in the order of the report, and what to do where it finds something."""

GlobalState = dict[str, Any]
"""States of the global generators of random, numpy and torch, by name."""

_ROUNDING = 1e-4
"""Share of the largest value by which predictions may differ where other items lie in the batch."""


@dataclass(frozen=True)
class Finding:
    """What a check found on a task."""

    check: str
    task: str
    what: str
    wrong: bool = True  # else a note: it may be meant


class Probe:
    """One method on one task of the miniature."""

    def __init__(self, plan: Plan, root: Path) -> None:
        self.plan, self.root = plan, root

    def findings(self, with_seed: bool = False) -> Iterator[Finding]:
        """Yield what is wrong; nothing more once the method raises or its predictions are none."""
        try:
            with failures_named(self.plan.method):
                yield from self._findings(with_seed)
        except NWSError as error:
            declined = isinstance(error, MethodError) and error.__cause__ is None  # raised by the method itself
            yield self._found(RUNS, f"declined: {error}" if declined else str(error), wrong=not declined)

    def _found(self, check: str, what: str, wrong: bool = True) -> Finding:
        return Finding(check, self.plan.task, what, wrong)

    def _findings(self, with_seed: bool) -> Iterator[Finding]:
        task, method = load_task(self.plan.task, self.root), self._method(0)
        with _global_state(1) as after:
            method.fit(task)
            values = method.predict(task.test)
        if changed := self._changed(task):
            yield self._found(INPUTS, f"{changed} changed")
            task = load_task(self.plan.task, self.root)
        try:
            score = self._score(values)
        except NWSError as error:
            yield self._found(FORM, str(error))
            return
        if not _beats_chance(score):
            yield self._found(SIGNAL, f"{_text(score)} on the test side, no better than guessing")
        expected = as_array(values, len(task.test))
        yield from self._companions(method, task, expected)
        refits = list(self._refits(expected, after))
        yield from refits
        if with_seed and not any(finding.check == SAME for finding in refits):
            yield from self._seeds(task, expected)

    def _companions(self, method: Method, task: Task, expected: np.ndarray) -> Iterator[Finding]:
        """Predict the test vectors in another order, half of them, and one alone."""
        n = len(task.test.data)
        for check, rows in ((ORDER, np.arange(n)[::-1]), (ALONE, np.arange(n // 2)), (ALONE, np.arange(1))):
            view, places = _chosen_vectors(task, rows.copy())
            if odd := _difference(method.predict(view), expected[places], _ROUNDING):
                how = "in reverse order" if check == ORDER else f"of {len(rows)} of the {n} test vectors without the others"
                yield self._found(check, f"{odd}, {how}")
                return

    def _refits(self, expected: np.ndarray, after: GlobalState) -> Iterator[Finding]:
        """Fit on exchanged labels; then the same instance on the true ones again, with nothing true on the test side."""
        task = load_task(self.plan.task, self.root)
        method = self._method(0)
        with _global_state(2):
            method.fit(_Disguised(self.plan.task, self.root, ("train", "validation")))
            score = self._score(method.predict(task.test))
        if _beats_chance(score):
            yield self._found(LEAK, f"fitted on exchanged labels, and on the true ones of the test side {_text(score)}")
        blind = _Disguised(self.plan.task, self.root, ("test",), columns=True)
        odd, state = self._again(method, blind, expected, 3)
        if seeded := [name for name in state if state[name] == after[name]]:
            yield self._found(GLOBAL, f"fit or predict seeds {', '.join(seeded)}", wrong=False)
        if not odd:
            return
        if again := self._again(self._method(0), task, expected, 4)[0]:
            yield self._found(SAME, f"{again}, fitted twice with one seed")
        elif again := self._again(self._method(0), blind, expected, 5)[0]:
            yield self._found(LABELS, f"{again}, when the test side's labels are exchanged")
        else:
            yield self._found(STATE, f"{odd}, when the same object was fitted on something else before")

    def _again(self, method: Method, task: Task, expected: np.ndarray, state: int) -> tuple[str | None, GlobalState]:
        """Fit, predict and compare, from another state of the global generators; return the state after it, too."""
        with _global_state(state) as after:
            method.fit(task)
            values = method.predict(task.test)
        return _difference(values, expected, 0), after

    def _seeds(self, task: Task, expected: np.ndarray) -> Iterator[Finding]:
        """Compare with another seed, of the method and of the windows that it is trained on, as runs with seeds do."""
        other = load_task(self.plan.task, self.root, seed=1)
        odd, draws = self._again(self._method(1), other, expected, 6)[0], self._method(0).draws(task)
        if odd and not draws:
            yield self._found(
                SEED, f"draws(task) says that the seed changes nothing; but {odd}, of seed 1, which draws windows too"
            )
        if draws and not odd:
            yield self._found(SEED, "seeds 0 and 1 predict the same", wrong=False)

    def _method(self, seed: int) -> Method:
        return make_method(self.plan.method, seed, **self.plan.given)

    def _score(self, values: Any) -> Score:
        return load_task(self.plan.task, self.root).evaluate(values)  # a task that the method cannot have changed

    def _changed(self, task: Task) -> str | None:
        """Return what of a task a method has changed, in words; None where nothing."""
        fresh = load_task(self.plan.task, self.root)
        for side in SIDES:
            view, true = getattr(task, side), getattr(fresh, side)
            if not torch.equal(view.row_labels, true.row_labels):
                return f"labels of task.{side}"
            if view.transform is not None or len(view) != len(true):
                return f"task.{side}"
        return None


def _beats_chance(score: Score) -> bool:
    """Whether a score's 95 % interval lies above guessing: the share of the largest class, or R² of 0."""
    if isinstance(score, ClassificationScore):
        return score.accuracy_low > score.chance
    return score.r2_low > 0


def _text(score: Score) -> str:
    if isinstance(score, ClassificationScore):
        return f"{100 * score.accuracy:.1f} % right, chance {100 * score.chance:.1f} %"
    return f"R² {score.r2:.3f}"


def _difference(values: Any, expected: np.ndarray, rounding: float) -> str | None:
    """Return how predictions differ from those expected, ``(n,)`` or ``(n, classes)``, in words; None where they do not."""
    found = as_array(values, len(expected))
    if found.shape != expected.shape:
        return f"predictions have shape {found.shape} instead of {expected.shape}"
    if expected.dtype.kind == "f" and found.dtype.kind == "f":
        close = np.abs(found - expected) <= rounding * np.abs(expected).max()
        differ = ~((found == expected) | close)  # not close is NaN, too
    else:
        differ = np.asarray(found != expected)
    n = int(differ.reshape(len(expected), -1).any(axis=1).sum())
    return f"{n} of {len(expected)} predictions differ" if n else None


@contextmanager
def _global_state(seed: int) -> Iterator[GlobalState]:
    """Seed the global generators, put back what was there after the block, and fill in the state that the block left.

    Blocks get different seeds: predictions that change are drawn from them, a state that does not was set by the block.
    """
    after: GlobalState = {}
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        yield after
        words: Any = np.random.get_state()
        after |= {"random": random.getstate(), "np.random": (words[1].tobytes(), *words[2:])}
        after |= {"torch": torch.random.get_rng_state().numpy().tobytes()}
    random.setstate(python)
    np.random.set_state(numpy)


class _Disguised(Task):
    """A task with exchanged labels on some sides: each class has the next one's, numbers are mirrored.

    A method that learns from the labels is then wrong wherever it was right, one that sees the answers is not. ``columns``
    exchanges the target's column too, so that nothing tells the truth.
    """

    def __init__(self, name: str, root: Path, sides: Collection[str], columns: bool = False) -> None:
        self.__dict__ |= vars(load_task(name, root))
        self._sides, self._columns = sides, columns

    def view(self, side: Side, fixed: bool | None = None, *, transform: Transform | None = None) -> WeightView:
        """Return a side's items; see :meth:`Task.view`."""
        view = super().view(side, fixed, transform=transform)
        if side not in self._sides:
            return view
        labels = view.row_labels
        exchanged = labels.min() + labels.max() - labels if self.classes is None else (labels + 1) % self.n_classes
        view = view.with_row_labels(exchanged)
        if self._columns:
            values = exchanged.numpy() if self.classes is None else np.array(self.classes)[exchanged]
            data = view.data
            columns = {name: data[name] for name in data.columns} | {self.target: values.astype(data[self.target].dtype)}
            view.data = NWSDataset(data.root, data.manifest, columns, data.store, data.shard_index, data.value_offset)
        return view


def _chosen_vectors(task: Task, rows: np.ndarray) -> tuple[WeightView, np.ndarray]:
    """Return the test items of some vectors, by their rows int ``(n,)``, in this order, and their places among all."""
    test, spec = task.test, task.spec
    data = test.data.take(rows)
    if spec.length is None or spec.family.part is None:
        view: WeightView = GlobalVectors(data, target=task.target)
    else:
        view = FixedWindows(data, spec.length, spec.family.part, target=task.target)
    items = rows[:, None] * test.per_vector + np.arange(test.per_vector)
    return view.with_row_labels(test.row_labels[torch.from_numpy(rows)]), items.ravel()
