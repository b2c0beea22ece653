"""The one interface of all baselines: fit on a task, predict on a view.

A method of your own is a subclass of :class:`Method`; see :mod:`baselines.registry` for how it is named.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import TYPE_CHECKING

from nws_data.arguments import whole_number
from nws_data.errors import NWSError, one_of

if TYPE_CHECKING:
    import numpy as np

    from nws_data.read.views import WeightView
    from nws_data.space.architecture import Architecture
    from nws_data.tasks.task import Task


class MethodError(NWSError, ValueError):
    """An unknown method, an option it does not have or a value it does not take, or a task it does not fit."""


class Method(ABC):
    """Base of all methods.

    A subclass's options are the keyword arguments of its ``__init__``, each annotated and with a default; a registry or
    command line reads them there and hands them over as values of the annotated type. ``__init__`` only stores them.

    Labels come from ``view.labels`` alone, never from ``view.data[target]``: the check for leaks permutes the former.

    Args:
        seed: of everything the method draws, at least 0. The same seed, task and options give the same predictions on
            one machine.

    Attributes:
        seed: as given.
        n_parameters: how many values :meth:`fit` fitted, an ``int`` (of a numpy number make one); None before it and where
            the notion is void.
        training_s: seconds of training after :meth:`fit`, those of earlier processes of the same run among them; None of a
            method that keeps no checkpoints.
        length: values of the items that :meth:`fit` saw, for :meth:`check_view`; None before it.

    Raises:
        ArgumentError: the seed is not a whole number of at least 0.
    """

    n_parameters: int | None = None
    training_s: float | None = None
    length: int | None = None

    def __init__(self, seed: int = 0) -> None:
        self.seed = whole_number("seed", seed, 0)

    def draws(self, task: Task) -> bool:
        """Whether the seed changes what is predicted on this task; where not, one fit stands for all seeds."""
        return True

    @abstractmethod
    def fit(self, task: Task) -> None:
        """Learn from ``task.train``, with ``task.validation`` at will (None where there is none); never ``task.test``."""

    @abstractmethod
    def predict(self, view: WeightView) -> np.ndarray:
        """Return predictions for the items of a view, in their order.

        Returns:
            Classification: float ``(len(view), n_classes)``, larger where a class is more likely, or int64 labels
            ``(len(view),)``. Regression: float ``(len(view),)``, in the target's own unit.

        Raises:
            MethodError: before :meth:`fit`, or for a view of another length than the one fitted on.
        """

    def check_view(self, view: WeightView) -> None:
        """Raise ``MethodError`` before :meth:`fit`, or for a view of another length than :attr:`length`."""
        if self.length is None:
            raise MethodError(f"{type(self).__name__} predicts after fit(task); it was not fitted")
        if item_length(view) != self.length:
            raise MethodError(f"fitted on items of {self.length} values, this view's have {item_length(view)}: {view}")


def item_length(view: WeightView) -> int:
    """Return the values of a view's items; raises ``MethodError`` for a view of something else than vectors."""
    length = getattr(view, "length", None)
    if not isinstance(length, int):
        raise MethodError(f"methods read whole vectors or windows, got {view!r}")
    return length


def only_architecture(view: WeightView) -> Architecture:
    """Return the one architecture of a view's whole vectors; raises ``MethodError`` for another view."""
    architectures, _ = view.data.architectures()
    if len(architectures) > 1 or item_length(view) != architectures[0].n_weights:
        raise MethodError(f"this method reads whole vectors of one architecture, got {view}; use a global task")
    return architectures[0]


def choice(name: str, value: str, allowed: Collection[str]) -> str:
    """Return an option's value; raises ``MethodError`` unless it is one of those allowed."""
    if value not in allowed:
        raise MethodError(f"{name}: {one_of(value, allowed)}")
    return value


def positive(name: str, value: float) -> float:
    """Return an option's value; raises ``MethodError`` unless it is above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise MethodError(f"option {name} must be a number above 0, got {value!r}")
    return value
