"""The table of figures, in the paper's order."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from benchmarks.findings.source import Source

    Tables = dict[str, pd.DataFrame]
    Pictures = dict[str, Figure]


@dataclass(frozen=True, kw_only=True)
class FigureEntry:
    """A row of :data:`FIGURES`.

    Args:
        module: file of this folder with ``measure(source) -> {name: table}``, ``draw(tables) -> {name: picture}`` and
            ``tell(tables) -> text``: the numbers, their pictures, and what they show in one or two sentences. Pictures and
            sentence follow from the tables alone, as they come back from their CSV files.
        title: of the section on the page.
        paper: which figures of the paper.
        found: what the paper found there.
        options: which options of ``nws figure`` change the numbers, of ``targets``, ``method`` and ``repeats``.
        results: whether it reads result files.
        explorable: whether there is ``explore(tables) -> html`` too: an interactive page.
    """

    module: str
    title: str
    paper: str
    found: str
    options: tuple[str, ...] = ()
    results: bool = False
    explorable: bool = False

    def measure(self, source: Source) -> Tables:
        """Return the numbers by table; raises ``MissingDataError`` where the dataset or the results lack what it needs."""
        return self._function("measure")(source)

    def draw(self, tables: Tables) -> Pictures:
        """Return the pictures by name."""
        return self._function("draw")(tables)

    def tell(self, tables: Tables) -> str:
        """Return what the numbers show, as plain text."""
        return self._function("tell")(tables)

    def explore(self, tables: Tables) -> str:
        """Return the interactive page as HTML; for figures that are ``explorable``."""
        return self._function("explore")(tables)

    def _function(self, name: str) -> Callable[..., Any]:
        function: Callable[..., Any] = getattr(importlib.import_module(f"benchmarks.findings.{self.module}"), name)
        return function


FIGURES: dict[str, FigureEntry] = {
    "regression": FigureEntry(
        module="regression",
        title="Test accuracy from hyper-parameters",
        paper="Figures 1, 14, 15",
        found="Initialization matters most, then activation and optimizer; wider networks do better, more fully connected "
        "layers worse; the coefficients of all image sets are strongly correlated.",
    ),
    "statistics": FigureEntry(
        module="statistics",
        title="How the trainings went",
        paper="Figures 6 to 12",
        found="Two modes of test accuracy, one of failures with peaks at 10 and about 20 %; Glorot initialization is far "
        "better than constant and normal, ELU slightly better than ReLU, constant with sigmoid the worst; momentum keeps up "
        "under Glorot alone; augmentation helps Glorot and harms the rest.",
    ),
    "embedding": FigureEntry(
        module="embedding",
        title="Trainings in the plane",
        paper="Figure 13",
        found="Optimizer, activation and initialization show clear patterns; the initialisations lie together; trainings "
        "that fail, many of them with constant initialization and sigmoid, lie in small clusters apart.",
    ),
    "batch-norm": FigureEntry(
        module="batch_norm",
        title="With and without batch norm",
        paper="Figure 19",
        found="Little difference between trainings with and without batch norm, and no significant one when norm values and "
        "biases are removed at evaluation: most information is in filters and fully connected weights.",
        options=("targets", "method", "digest_without_batch_norm"),
    ),
}
"""The figures by name."""
