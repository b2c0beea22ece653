"""The plans of the reference population, one for each kind of machine: everything that decides its bits and its results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.findings.source import LOWER
from benchmarks.leaderboard.suites import SUITES
from builders.config import BuildConfig
from builders.images.prepare import ImageOptions
from nws_data.errors import NWSError, one_of
from nws_data.space.hyperparameters import CLASSES, Population
from nws_data.tasks.table import GLOBAL_TARGETS

_MAIN = ("initialization", "activation", "optimizer", "dataset")
_TRIVIAL = ("majority", "hyperparameters", "length")
_ON_VECTORS = (
    *_TRIVIAL,
    *("svm-linear-16", "svm-linear-480", "svm-linear-kernels", "svm-rbf-*", "logistic-*", "boosting-*"),
)
_ON_WINDOWS = (*_TRIVIAL, "svm-linear-16", "svm-rbf-16", "logistic-16", "boosting-16", "trees-window")
_SUITES = {suite.name: suite.tasks for suite in SUITES}


@dataclass(frozen=True, kw_only=True)
class Runs:
    """Methods on those of the tasks that have enough trainings."""

    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    folds: bool = False
    seeds: int = 1
    options: tuple[tuple[str, str], ...] = ()  # of the methods


@dataclass(frozen=True, kw_only=True)
class Budget:
    """A population and the runs on it."""

    trainings: dict[str, int]
    without_batch_norm: dict[str, int]  # trainings for Supplement F.3
    n_train: int
    n_test: int
    epoch_cap: int
    device: str
    runs: tuple[Runs, ...]
    leaks: tuple[Runs, ...]  # methods that are fitted to permuted labels, ``seeds`` times
    seed: int = 2020
    precision: str = "float32"
    figures: tuple[str, ...] = ("all", "map-deep")
    sources: tuple[str, ...] = ("mnist", "fashion_mnist", "cifar10")

    def of(self, populations: Sequence[str]) -> Budget:
        """Return the plan of these populations alone."""
        parts = (self.trainings, self.without_batch_norm)
        trainings, ablation = ({name: n for name, n in part.items() if name in populations} for part in parts)
        return replace(self, trainings=trainings, without_batch_norm=ablation)

    def configs(
        self, out: Path, ablation: Path, svhn_part: Path, root: Path | None, download: bool, workers: int
    ) -> Iterator[BuildConfig]:
        """Yield the builds: the populations, and into ``ablation`` trainings without batch norm, where there are any.

        ``svhn_part`` holds the first 10,000 images of SVHN's test split.
        """
        sources = (*self.sources, f"svhn_part={svhn_part}")
        images = ImageOptions(sources=sources, root=root, download=download, n_train=self.n_train, n_test=self.n_test)
        own = {name: getattr(self, name) for name in ("trainings", "seed", "epoch_cap", "precision", "device")}
        population = BuildConfig(out=out, images=images, workers=workers, **own)
        yield population
        if self.without_batch_norm:
            yield replace(population, out=ablation, trainings=self.without_batch_norm, batch_norm=False)


def _of(*families: str, targets: tuple[str, ...] = _MAIN) -> tuple[str, ...]:
    return tuple(f"{family}/{target}" for family in families for target in targets)


def _above(tasks: tuple[str, ...], methods: tuple[str, ...]) -> Runs:
    """Return five folds over all networks above ``LOWER``: those above the paper's thresholds have next to none of constant
    initialization."""
    return Runs(tasks=tuple(f"{task}/threshold={LOWER}" for task in tasks), methods=methods, folds=True)


def _shares(*tasks: str) -> tuple[str, ...]:
    return tuple(f"{task}{share}" for task in tasks for share in ("/share=0.125", "/share=0.25", "/share=0.5", ""))


def _deep(
    tasks: tuple[str, ...], epochs: int, seeds: int = 1, method: str = "dmc-asinh-short", folds: bool = False
) -> tuple[Runs, ...]:
    """Return runs of a DMC, evaluated by running statistics and by those of the batch."""
    norms: tuple[tuple[tuple[str, str], ...], ...] = ((), (("batch_statistics", "true"),))
    options = [(("epochs", str(epochs)), *norm) for norm in norms]
    return tuple(Runs(tasks=tasks, methods=(method,), seeds=seeds, folds=folds, options=given) for given in options)


_FEW = ("svm-rbf-16", "boosting-16", "trees-window")
_GLOBAL_INIT, _LOCAL_INIT = (f"{family}/initialization/threshold={LOWER}" for family in ("global", "local"))
_THREE = ("optimizer", "activation", "dataset")
_CURVES_GLOBAL = _shares("global/optimizer", _GLOBAL_INIT)
_CURVES_LOCAL = _shares(f"local/optimizer/threshold={LOWER}", _LOCAL_INIT)
_FIXED = (
    Runs(tasks=_SUITES["global"], methods=_ON_VECTORS, seeds=10),
    Runs(tasks=_SUITES["ood"], methods=(*_TRIVIAL, "svm-linear-480", "boosting-480"), seeds=10),
)
_FIXED_MORE = (
    Runs(tasks=_SUITES["global"], methods=("svm-linear-aligned",)),
    Runs(tasks=_CURVES_GLOBAL, methods=("svm-linear-480", "boosting-480")),
    _above(_of("global", targets=GLOBAL_TARGETS), _ON_VECTORS),
    Runs(
        tasks=("regress/test_accuracy", "regress/generalisation_gap", "regress/learning_rate", "regress/progress"),
        methods=("majority", "ridge-*", "boosting-480"),
        folds=True,
    ),
)
_RANDOM = (
    Runs(tasks=_SUITES["local"], methods=_ON_WINDOWS, seeds=10),
    _above(_of("local", targets=tuple(CLASSES)), _ON_WINDOWS),
    _above(_of("local-conv", "local-fc", "vote"), (*_TRIVIAL, *_FEW)),
    _above(("local-fc/filter_size",), (*_TRIVIAL, *_FEW)),
    _above(tuple(f"{task}@{n}" for task in _of("local") for n in (100, 500, 2000, 20_000)), _FEW[:2]),
    Runs(tasks=_CURVES_LOCAL, methods=("svm-rbf-16", "trees-window")),
)
_FIXED_DEEP = (
    *_deep((_GLOBAL_INIT, *_of("global", targets=_THREE)), 4, seeds=3),
    *_deep(("global/optimizer", _GLOBAL_INIT), 2),
    *_deep(("global/optimizer", _GLOBAL_INIT), 8),
    *_deep(("global/optimizer",), 4, method="dmc-short"),
    *_deep(_shares("global/optimizer")[:-1], 4),
    *_deep(("global/optimizer",), 24),
    *_deep(("global/optimizer",), 60),
    Runs(tasks=("global/optimizer",), methods=("nfn",), options=(("epochs", "20"),)),
)
"""An epoch is some sixteen steps."""
_LOCAL_INITS = tuple(f"{family}/initialization/threshold={LOWER}" for family in ("local", "local-conv", "local-fc"))
_RANDOM_DEEP = (
    *_deep((*_LOCAL_INITS, *_of("local", "local-conv", "local-fc", targets=_THREE)), 15, seeds=3),
    *_deep((_LOCAL_INIT, *(f"{task}/threshold={LOWER}" for task in _of("local", targets=_THREE))), 15, folds=True),
    *_deep((_LOCAL_INIT, "local/optimizer"), 7),
    *_deep((_LOCAL_INIT, "local/optimizer"), 30),
    *_deep((_LOCAL_INIT, "local/optimizer"), 15, method="dmc-short"),
    *_deep(tuple(task for task in _CURVES_LOCAL if task != _LOCAL_INIT), 15),
    *_deep((_LOCAL_INIT, "local/optimizer"), 60),  # the whole of its short budget
)

_LEAKS = (
    Runs(tasks=("global/optimizer",), methods=(*_ON_VECTORS[len(_TRIVIAL) :], "svm-linear-aligned"), seeds=8),
    Runs(tasks=(f"local/optimizer/threshold={LOWER}",), methods=_ON_WINDOWS[len(_TRIVIAL) :], seeds=8),
    Runs(
        tasks=("global/optimizer",),
        methods=("dmc-asinh-short",),
        seeds=3,
        options=(("epochs", "2"), ("batch_statistics", "true")),
    ),
    Runs(
        tasks=(f"local/optimizer/threshold={LOWER}",),
        methods=("dmc-asinh-short",),
        seeds=8,
        options=(("epochs", "7"), ("batch_statistics", "true")),
    ),
)

PILOTS: dict[Population, tuple[tuple[int, int], ...]] = {
    "fixed": ((600, 40), (1200, 20), (2400, 20), (4800, 20)),
    "random": ((1200, 20), (4800, 20)),
}
"""Training images of an image set and the epoch cap of each pilot."""
N_PILOT = 40

BUDGETS = {
    "cpu": Budget(
        trainings={"fixed": 1000, "random": 600},
        without_batch_norm={"random": 100},
        n_train=1200,
        n_test=500,
        epoch_cap=20,
        device="cpu",
        leaks=_LEAKS,
        runs=(*_FIXED, *_FIXED_DEEP, *_FIXED_MORE, *_RANDOM, *_RANDOM_DEEP),
    ),
    "gpu": Budget(
        trainings={"fixed": 1500, "random": 1500},
        without_batch_norm={"random": 300},
        n_train=10_000,
        n_test=1000,
        epoch_cap=40,
        device="cuda",
        leaks=_LEAKS,
        runs=(
            *_FIXED,
            *_FIXED_MORE,
            *_RANDOM,
            Runs(tasks=(*_CURVES_GLOBAL, *_CURVES_LOCAL), methods=("dmc", "dmc-asinh"), seeds=3),
            Runs(
                tasks=(*(task for tasks in _SUITES.values() for task in tasks), *_of("local-conv", "local-fc")),
                methods=("dmc", "dmc-asinh"),
                seeds=3,
            ),
        ),
    ),
}
"""By name: what two cores do in some hours, and one card in about half an hour (an estimate: it has not run yet)."""


def budget_of(name: str) -> Budget:
    """Return a budget by name; raises ``NWSError``."""
    if name not in BUDGETS:
        raise NWSError(f"--budget: {one_of(name, BUDGETS)}")
    return BUDGETS[name]
