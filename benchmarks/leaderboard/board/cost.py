"""What a method costs: seconds of a fit, fitted values, hardware, and its budget class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.leaderboard.files.results import Result

BUDGETS = {"1 min": 60.0, "1 h": 3_600.0, "1 day": 86_400.0, "over a day": math.inf}
"""Budget classes: the most seconds that a fit takes on the hardware which stands beside it, in ascending order."""


@dataclass(frozen=True)
class Cost:
    """What a row of the board took."""

    fit_s: float  # seconds of one fit, the mean over tasks, seeds and folds
    n_parameters: int | None  # fitted values of the largest fit
    hardware: tuple[str, ...]  # processors with cores, and cards; each once

    @property
    def budget(self) -> str:
        """One of :data:`BUDGETS`."""
        return next(name for name, most_s in BUDGETS.items() if self.fit_s <= most_s)


def cost_of(results: Sequence[Result]) -> Cost:
    """Return the cost of one method's results, one a task."""
    fits = [sum(run.fit_s for run in result.runs) / len(result.runs) / (result.folds or 1) for result in results]
    return Cost(
        fit_s=sum(fits) / len(fits),
        n_parameters=max((r.n_parameters for r in results if r.n_parameters is not None), default=None),
        hardware=tuple(dict.fromkeys(_hardware(result) for result in results)),
    )


def _hardware(result: Result) -> str:
    hardware, gpu = result.hardware, result.hardware["gpu"]
    cores = f"{hardware['cores']} core{'' if hardware['cores'] == 1 else 's'}"
    return f"{hardware['processor']}, {cores}{f', {gpu}' if gpu else ''}"
