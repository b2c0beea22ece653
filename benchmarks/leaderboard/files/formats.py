"""Numbers of the board as text: accuracies in percent with one decimal, R² with three."""

from __future__ import annotations

from nws_data.tasks.metrics import Interval

NONE = "\N{EN DASH}"
_NO_WIDTH = 1e-9
_MINUS = "\N{MINUS SIGN}"


def value_text(value: float, kind: str) -> str:
    """Return an accuracy as ``83.1`` (percent) or R² as ``0.831``."""
    return _signed(f"{100 * value:.1f}" if kind == "classification" else f"{value:.3f}")


def _signed(text: str) -> str:
    """Return a number with a true minus sign, and none before zero."""
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", _MINUS)


def spread_text(mean: float, std: float | None, kind: str) -> str:
    """Return ``83.1 ± 0.4``; of one seed the mean alone."""
    return value_text(mean, kind) + ("" if std is None else f" ± {value_text(std, kind)}")


def interval_text(low: float, high: float, kind: str) -> str:
    """Return ``[79.0, 86.5]``."""
    return f"[{value_text(low, kind)}, {value_text(high, kind)}]"


def difference_text(interval: Interval) -> str:
    """Return a difference of accuracies with its interval, in percentage points: ``+12.3 [+8.0, +16.5]``.

    Without the interval where :func:`has_width` says that it is none.
    """
    estimate, low, high = (_signed(f"{100 * value:+.1f}") for value in interval)
    return f"{estimate} [{low}, {high}]" if has_width(interval) else estimate


def has_width(interval: Interval) -> bool:
    """Whether an interval of a difference is one: equal gains on all trainings, not 0, have a spread that nobody saw."""
    return interval.estimate == 0 or interval.high - interval.low > _NO_WIDTH


def unit_of(kind: str) -> str:
    """Return what the values of a table are."""
    return "accuracy in %" if kind == "classification" else "R²"
