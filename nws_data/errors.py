"""The errors this package raises. Every message names the value, what is allowed and the next step."""

from __future__ import annotations

from collections.abc import Collection, Iterable


class NWSError(Exception):
    """Base class of all errors raised on purpose; the command line prints it without a traceback."""


class ArgumentError(NWSError, ValueError):
    """An argument out of range or of the wrong type, such as a seed, an epoch, a batch size or a transform."""


class HyperParameterError(NWSError, ValueError):
    """A hyper-parameter has an unknown name or a value outside Table 1."""


class FormatError(NWSError):
    """A file or folder is not what FORMAT.md describes: truncated, altered, foreign or of another version."""


class ShardsAbsentError(FormatError):
    """Shards that were never fetched into this folder; the message says how to get them."""


class SelectionError(NWSError, ValueError):
    """A population, split, part, column or value that the dataset does not hold."""


class WindowError(NWSError, ValueError):
    """A window that is longer than the shortest selected weight vector, or too short for what is computed of it."""


class TaskError(NWSError, ValueError):
    """A task that does not exist: an unknown name, target or option of it."""


class TaskNotAvailableError(TaskError):
    """A task that this dataset is too small for, or whose population it does not hold; ``short`` says why in a few words."""

    def __init__(self, message: str, short: str) -> None:
        super().__init__(message)
        self.short = short


class PredictionError(NWSError, ValueError):
    """Predictions that are not exactly those a task asks for: missing, extra, duplicated, of another dataset."""


class BuildError(NWSError):
    """A build or another writer cannot start or continue: bad options, bad images, a folder in use, no space left."""


class DownloadError(NWSError):
    """A dataset cannot be fetched: no such repository, no network, no space, files that came damaged."""


class UploadError(NWSError):
    """A dataset cannot be sent: not sound, no right to write, no network, other data in its place."""


def one_of(value: object, allowed: Iterable[object]) -> str:
    """Return the standard tail of a message, ``got 'x'; choose one of a, b, c``; with the nearest one for a misspelling."""
    from difflib import get_close_matches

    values = list(allowed)
    texts = [name for name in values if isinstance(name, str)]
    near = get_close_matches(value, texts, 1, 0.75) if isinstance(value, str) else []
    return f"got {value!r}{f' (did you mean {near[0]}?)' if near else ''}; choose one of {', '.join(map(str, values))}"


def check_one_of(what: str, value: object, allowed: Collection[object], error: type[NWSError] = SelectionError) -> None:
    """Raise ``error`` with ``what`` before the tail of :func:`one_of` unless the value is one of those allowed."""
    if value not in allowed:
        raise error(f"{what}: {one_of(value, allowed)}")
