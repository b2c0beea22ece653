"""The one table of tasks, and their names: a name says everything that decides a task but the dataset."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from nws_data.errors import TaskError, check_one_of, one_of
from nws_data.format.tiers import FULL, NAMED_TIERS, tier_name
from nws_data.space.architecture import Part
from nws_data.space.hyperparameters import CLASSES, Population
from nws_data.space.trajectory import N_SNAPSHOTS

WINDOW_LENGTH = 5000
"""Values of a window unless a name says otherwise (Eilertsen et al. 2020, Section 5.3)."""

WINDOW_LENGTHS = (100, 20_000)
"""Shortest and longest window that a name may ask for (Figure 18)."""

N_FOLDS = 5
MIN_TRAININGS = 5
"""Trainings that the rarest class needs on the training and on the test side."""

GLOBAL_TARGETS = ("dataset", "batch_size", "augmentation", "optimizer", "activation", "initialization")
"""Hyper-parameters that vary in the population ``fixed`` (Figure 2)."""

NUMBERS = ("test_accuracy", "generalisation_gap", "learning_rate", "progress")
"""Targets of regression tasks: accuracies in [0, 1], rate, epoch / last epoch."""

HELD_COLUMNS = ("dataset", "optimizer", "initialization")
WIDEST = "widest"
"""Held-out value for the trainings with the most channels in the last convolutional layer."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """One row of the table: what its tasks share."""

    name: str
    population: Population
    targets: tuple[str, ...]
    part: Part | None = None  # of the windows; None: whole vectors
    regression: bool = False  # of all finite trainings; others of those above their image set's threshold (Supplement C)
    vote: bool = False  # predictions per vector, aggregated from its windows
    held: bool = False  # some trainings are kept out and tested alone
    about: str = ""

    def last(self, target: str, side: str) -> int:
        """Return how many of the last snapshots of each training a side has."""
        if target == "progress":
            return N_SNAPSHOTS
        if side != "train":
            return 1
        return 4 if self.part is None else 2


_ALL = tuple(CLASSES)

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family(name="global", population="fixed", targets=GLOBAL_TARGETS, about="from the whole vector (Figure 2)"),
        Family(name="local", population="random", targets=_ALL, part="all", about="from windows of all weights (Figure 4)"),
        Family(name="local-conv", population="random", targets=_ALL, part="conv", about="from convolutional weights"),
        Family(name="local-fc", population="random", targets=_ALL, part="fc", about="from fully connected weights"),
        Family(name="vote", population="random", targets=_ALL, part="all", vote=True, about="10 windows a vector together"),
        Family(name="regress", population="fixed", targets=NUMBERS, regression=True, about="numbers from whole vectors"),
        Family(
            name="regress-local", population="random", targets=NUMBERS, part="all", regression=True, about="from windows"
        ),
        Family(name="ood", population="fixed", targets=GLOBAL_TARGETS, held=True, about="tested on what was held out"),
        Family(name="ood-local", population="random", targets=_ALL, part="all", held=True, about="the same, from windows"),
    )
}
"""All families by name."""


@dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """What a task's name says; make it by :func:`parse_task`."""

    family: Family
    target: str
    length: int | None = None  # values of a window; None: whole vectors
    held: str | None = None  # value kept out of training and tested alone
    threshold: float | None = None  # one final test accuracy for all image sets, instead of theirs: unofficial
    fold: int | None = None  # test on this fifth of the trainings, instead of the test split: unofficial
    share: float | None = None  # of the training side's trainings, those of the smallest id hashes: unofficial
    permuted: int | None = None  # seed by which training labels are permuted between trainings: unofficial
    tier: str | None = None  # of the dataset, such as 1GB, instead of all of it: unofficial

    @property
    def name(self) -> str:
        """The canonical name."""
        name = f"{self.family.name}/{self.target}"
        if self.length not in (None, WINDOW_LENGTH):
            name += f"@{self.length}"
        modifiers = {name: getattr(self, name) for name in MODIFIERS}
        texts = {key: f"{value:g}" if isinstance(value, float) else str(value) for key, value in modifiers.items()}
        return name + "".join(f"/{key}={text}" for key, text in texts.items() if modifiers[key] is not None)

    @property
    def official(self) -> bool:
        """Whether results belong on the leaderboard."""
        return all(getattr(self, name) is None for name in MODIFIERS if name != "held")

    @property
    def held_column(self) -> str | None:
        """The column of :attr:`held`."""
        if self.held is None:
            return None
        if self.held == WIDEST:
            return "width_conv"
        return next((column for column in HELD_COLUMNS[1:] if self.held in CLASSES[column]), "dataset")

    def folds(self) -> tuple[TaskSpec, ...]:
        """Return the five tasks that together test on every training once."""
        return tuple(replace(self, fold=fold) for fold in range(N_FOLDS))


_NAME = re.compile(
    r"(?P<family>[a-z-]+)/(?P<target>\w+)(@(?P<length>\d{1,9}))?(?P<modifiers>(/\w+=[^/=\x00-\x1f\x7f]{1,100})*)"
)
_SHAPE = "FAMILY/TARGET, such as global/optimizer, local/dataset@1000 or ood/activation/held=adam"


def parse_task(name: str) -> TaskSpec:
    """Read a task's name; raises ``TaskError`` that says what is allowed."""
    match = _NAME.fullmatch(name) if isinstance(name, str) else None
    if not match:
        raise TaskError(f"task: got {reprlib.repr(name)}; a name is {_SHAPE}; `nws tasks` lists all")
    check_one_of(f"task {name}: family", match["family"], FAMILIES, TaskError)
    family = FAMILIES[match["family"]]
    check_one_of(f"task {name}: target of {family.name}", match["target"], family.targets, TaskError)
    found: dict[str, Any] = {}
    for key, _, text in (modifier.partition("=") for modifier in match["modifiers"].split("/")[1:]):
        if key not in MODIFIERS or key in found:
            raise TaskError(f"task {name}: modifier: {one_of(key, MODIFIERS)}, each once")
        try:
            found[key] = MODIFIERS[key][0](text)
        except ValueError as error:
            raise TaskError(f"task {name}: {key} must be {MODIFIERS[key][1]}, got {text!r}") from error
    spec = TaskSpec(family=family, target=match["target"], length=_length(name, family, match["length"]), **found)
    _check_held(name, spec)
    if spec.permuted is not None and family.regression:
        raise TaskError(f"task {name}: labels of regression tasks are not permuted; leave permuted= away")
    return spec


def official_names(image_sets: Sequence[str]) -> Iterator[str]:
    """Yield the names of all official tasks at the default window length, for a dataset of these image sets."""
    for family in FAMILIES.values():
        for target in family.targets:
            if not family.held:
                yield f"{family.name}/{target}"
                continue
            values = [*image_sets, *CLASSES["optimizer"], *CLASSES["initialization"]]
            for held in [*values, WIDEST] if family.part else values:
                spec = TaskSpec(family=family, target=target, length=WINDOW_LENGTH, held=held)
                if spec.held_column != target:
                    yield spec.name


_ADDED = re.compile(r"(@\d+)?((?:/(?:threshold|fold|share|permuted|tier)=[^/]*)*)$")


def matching_names(image_sets: Sequence[str], pattern: str) -> list[str]:
    """Return the official names that match a pattern such as ``local/*``, with what follows it added to each.

    ``global/*/threshold=0`` gives ``global/dataset/threshold=0`` and so on, ``local/*@500`` other window lengths. Raises
    ``TaskError`` where a task cannot have that.
    """
    added = _ADDED.search(pattern)
    base, length, modifiers = (pattern[: added.start()], added[1] or "", added[2]) if added else (pattern, "", "")
    parts = (name.partition("/held=") for name in official_names(image_sets) if fnmatchcase(name, base))
    return [parse_task(f"{name}{length}{held}{value}{modifiers}").name for name, held, value in parts]


def _length(name: str, family: Family, text: str | None) -> int | None:
    if family.part is None:
        if text is not None:
            raise TaskError(f"task {name}: {family.name} reads whole vectors, without @LENGTH")
        return None
    length, (low, high) = int(text or WINDOW_LENGTH), WINDOW_LENGTHS
    if not low <= length <= high:
        raise TaskError(f"task {name}: window length must be in [{low}, {high}], got {text}")
    return length


def _number(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1 or float(f"{value:g}") != value:
        raise ValueError
    return abs(value)  # -0 is 0


def _share(text: str) -> float:
    if not _number(text):
        raise ValueError
    return _number(text)


def _whole(high: int, text: str) -> int:
    if not 0 <= int(text) < high:
        raise ValueError
    return int(text)


def _tier(text: str) -> str | None:
    return None if tier_name(text) == FULL else tier_name(text)


MODIFIERS: dict[str, tuple[Callable[[str], Any], str]] = {
    "held": (str, ""),
    "threshold": (_number, "a number in [0, 1) of at most six digits"),
    "fold": (partial(_whole, N_FOLDS), f"a whole number in [0, {N_FOLDS - 1}]"),
    "share": (_share, "above 0 and below 1, of at most six digits"),
    "permuted": (partial(_whole, 2**63), f"a whole number in [0, {2**63 - 1}]"),
    "tier": (_tier, f"{', '.join(NAMED_TIERS)} or another size such as 500MB"),
}
"""What may follow a name, in the order of the canonical one: how it is read, and what it must be. All but held make it
unofficial."""


def _check_held(name: str, spec: TaskSpec) -> None:
    family = spec.family
    if family.held != (spec.held is not None):
        needs = "needs /held=VALUE" if family.held else "has no held="
        raise TaskError(f"task {name}: {family.name} {needs}: an image set, an optimizer, an initialisation or {WIDEST}")
    if spec.held == WIDEST and family.population == "fixed":
        raise TaskError(f"task {name}: all nets of `fixed` are equally wide; use ood-local/{spec.target}/held={WIDEST}")
    if spec.held_column == spec.target:
        raise TaskError(f"task {name}: held={spec.held} is a value of the target itself; hold out another column's value")
