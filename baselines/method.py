"""The one interface of all baselines: fit on a task, predict on a view.

A method of your own is a subclass of :class:`Method`; see :mod:`baselines.registry` for how it is named.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from nws_data.arguments import whole_number
from nws_data.errors import NWSError

if TYPE_CHECKING:
    import numpy as np

    from nws_data.read.views import WeightView
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

    Raises:
        ArgumentError: the seed is not a whole number of at least 0.
    """

    n_parameters: int | None = None

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
