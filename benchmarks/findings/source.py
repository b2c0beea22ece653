"""What figures measure: a dataset, result files beside it, and the options of the command."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

import nws_data
from benchmarks.leaderboard.board.write import read_results
from benchmarks.leaderboard.files.results import Result
from nws_data.errors import NWSError
from nws_data.format.manifest import Manifest
from nws_data.space.hyperparameters import CLASSES, Population
from nws_data.space.trajectory import SNAPSHOTS, snapshots_text

LOWER = 0.15
"""Test accuracy that networks must pass where too few pass the paper's thresholds: above chance in ten classes."""


class MissingDataError(NWSError, ValueError):
    """The dataset, or the result files, lack what a figure shows; the text says what, and how to get it."""


@dataclass(frozen=True)
class Source:
    """A dataset, result files and options."""

    root: Path  # the dataset's folder
    results: Path  # folder of result files of ``nws bench run``; it need not exist
    targets: tuple[str, ...] = ()  # hyper-parameters to show, for figures of several; by default each figure's own
    method: str = "svm-rbf-16"  # for figures that fit one
    repeats: int = 10  # of fits, for error bars
    kept: Path | None = None  # folder for what a long measurement keeps, so that an interrupted one goes on
    checkpoints: Path | None = None  # where methods keep trainings; by default each figure's own, removed in the end
    without_batch_norm: Path | None = None  # a dataset of trainings without batch norm, to compare ``root`` with
    populations: tuple[Population, ...] = ("random", "fixed")  # to show: the first of them that the dataset has

    @cached_property
    def manifest(self) -> Manifest:
        """The dataset's manifest; raises ``FormatError``."""
        return Manifest.load(self.root)

    @property
    def population(self) -> Population:
        """The first of ``populations`` that the dataset has; raises ``MissingDataError`` where it has none of them."""
        for name in self.populations:
            if name in self.manifest.populations:
                return name
        has = ", ".join(self.manifest.populations) or "none"
        raise MissingDataError(
            f"needs the population {' or '.join(self.populations)}, {self.root} has {has}; build it with "
            f"nws build --population {self.populations[0]}"
        )

    @property
    def digest(self) -> str:
        """The digest of the population's data; raises ``MissingDataError`` as :attr:`population` does."""
        return self.manifest.population_digest(self.population)

    def check_snapshots(self) -> None:
        """Raise ``MissingDataError`` where the dataset leaves snapshots of its trainings out."""
        if self.manifest.snapshots != SNAPSHOTS:
            raise MissingDataError(
                f"needs {snapshots_text(SNAPSHOTS)} of each training, {self.root} holds "
                f"{snapshots_text(self.manifest.snapshots)}; give the dataset that it is a part of"
            )

    def trainings(self) -> pd.DataFrame:
        """Return the table of finite trainings of the population, with ``threshold`` and whether they ``passed`` it."""
        frame = nws_data.open(self.root, self.population).trainings()
        thresholds = {image_set.name: image_set.threshold for image_set in self.manifest.image_sets}
        frame = frame[frame["finite"]].reset_index(drop=True)
        frame["threshold"] = frame["dataset"].map(thresholds)
        return frame.assign(passed=frame["final_test_accuracy"] > frame["threshold"])

    @cached_property
    def result_files(self) -> list[Result]:
        """The result files that were made on the population; raises ``ResultError`` for one that is damaged."""
        if not any(self.results.glob("[!.]*/*.json")):
            return []
        return [result for result in read_results(self.results).values() if result.data_digest == self.digest]

    def no_results(self, what: str, tasks: str, methods: str) -> MissingDataError:
        """Return the error that says which results are missing, and the command that makes them."""
        return MissingDataError(
            f"{self.results} has no results of this dataset for {what}; make some with nws bench run --task {tasks} "
            f"--method {methods} --data {self.root} --out {self.results}, on a small dataset with --folds"
        )

    @property
    def digest_without_batch_norm(self) -> str | None:
        """The digest of the data without batch norm."""
        return Manifest.load(self.without_batch_norm).data_digest if self.without_batch_norm else None


def value_order(column: str, values: Iterable[object]) -> list[object]:
    """Return the distinct values of a hyper-parameter in the order of Table 1, other image sets after them by name."""
    found = set(values)
    known = [value for value in CLASSES.get(column, ()) if value in found]
    return [*known, *sorted(found - set(known), key=str)]
