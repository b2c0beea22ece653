"""Suites: tasks under one name with a version, on which methods are ranked together. A version never changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Suite:
    """A row of :data:`SUITES`; its tasks are of one population."""

    name: str
    version: int
    tasks: tuple[str, ...]  # canonical names

    @property
    def label(self) -> str:
        """What results are quoted under, such as ``NWS(global, v1)``."""
        return f"NWS({self.name}, v{self.version})"


_GLOBAL = ("dataset", "batch_size", "augmentation", "optimizer", "activation")
_LOCAL = (*_GLOBAL, "filter_size", "depth_conv", "depth_fc", "width_conv", "width_fc")
_HELD = {"dataset": "cifar10", "optimizer": "momentum", "initialization": "glorot_uniform"}

SUITES = (
    Suite("global", 1, tuple(f"global/{target}" for target in _GLOBAL)),
    Suite("local", 1, tuple(f"local/{target}" for target in _LOCAL)),
    Suite("ood", 1, tuple(f"ood/{t}/held={value}" for column, value in _HELD.items() for t in _GLOBAL if t != column)),
)
"""All suites; what changes gets a new version beside the old one.

``initialization`` is no target in version 1: networks with constant kernels pass the accuracy thresholds only after
thousands of steps, so that a population which two cores can train has no such task, and no row would be complete.
"""


def suite_tasks(names: Iterable[str]) -> Iterator[str]:
    """Yield names of tasks and patterns as they are, and the tasks of a suite in the place of its label."""
    by_label = {suite.label: suite for suite in SUITES}
    for name in names:
        yield from by_label[name].tasks if name in by_label else (name,)
