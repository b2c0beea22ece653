"""The four CSV lists of the authors' release of 2020: which folder is on which side, and so which id it gets.

The lists name the converged trainings. In this format the split follows from the id, so a listed training gets an id of
its side: in the order of the SHA-256 of their paths the rows of a train list take the plan indices of train and validation,
those of a test list those of test. An id depends on the list alone, not on which folders are there. Trainings in no list get
ids from 500,000 on, whose split is ``none``.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path

from nws_data.convert.original_folder import OriginalFolder, parse_hyperparameters
from nws_data.errors import FormatError
from nws_data.format.untrusted import read_file
from nws_data.hashing import sha256_of
from nws_data.space.hyperparameters import POPULATIONS
from nws_data.space.identity import NO_SPLIT, UNLISTED_FROM, split_of, training_id

_SPLITS = {"train": ("train", "validation"), "test": ("test",)}  # of the trainings of a list
_NAMES = {"fixed": ("fixed",), "random": ("main", "random")}


@dataclass(frozen=True)
class Row:
    """A row of a list."""

    where: str  # list and line, for messages
    path: tuple[str, ...]  # the authors' folder
    training: str  # the id that it gets
    values: dict[str, str | None]


def population_of(parts: Sequence[str]) -> str | None:
    """Return the population that a path names, such as ``nws_main/0001``, the last part first; None where no part does."""
    for part in reversed(parts):
        found = [population for population in POPULATIONS if any(name in part.lower() for name in _NAMES[population])]
        if len(found) == 1:
            return found[0]
    return None


def read_lists(paths: Sequence[Path]) -> dict[str, list[Row]]:
    """Return the rows of the lists by population; the files are told by their names, such as ``nws_main_train.csv``.

    Raises ``FormatError`` for a file that is no list, or a population of which one list is missing.
    """
    lists: dict[tuple[str, str], Path] = {}
    for path in paths:
        population = population_of([path.name])
        sides = [side for side in _SPLITS if side in path.name.lower()]
        if population is None or len(sides) != 1 or (population, sides[0]) in lists:
            raise FormatError(
                f"{path}: which list is it? There must be one of each of nws_fixed_train.csv, nws_fixed_test.csv, "
                "nws_main_train.csv and nws_main_test.csv; move other CSV files away"
            )
        lists[population, sides[0]] = path
    for population, _ in lists:
        if missing := [side for side in _SPLITS if (population, side) not in lists]:
            raise FormatError(f"of {population} the {missing[0]} list is not there, only {lists[population, _]}; fetch it")
    found: dict[str, list[Row]] = {}
    for (population, side), path in lists.items():
        found.setdefault(population, []).extend(_read_list(path, population, side))
    return found


def _read_list(path: Path, population: str, side: str) -> list[Row]:
    try:
        rows = list(csv.DictReader(read_file(path).decode().splitlines()))
    except (OSError, ValueError, csv.Error) as error:
        raise FormatError(f"{path}: cannot be read ({error})") from error
    if not rows or not {"path", "weightn_conv", "weightn_fc"} <= rows[0].keys():
        raise FormatError(f"{path}: needs rows, and columns path, weightn_conv and weightn_fc; got {list(rows[:1])!r:.300}")
    order = sorted(range(len(rows)), key=lambda i: sha256_of(str(rows[i]["path"]).encode()))
    ids = dict(zip(order, _ids(population, _SPLITS[side], 0), strict=False))
    parts = [tuple(part for part in str(row["path"]).split("/") if part) for row in rows]
    return [Row(f"{path}: line {i + 2}", parts[i], ids[i], row) for i, row in enumerate(rows)]


def _ids(population: str, splits: Sequence[str], start: int) -> Iterator[str]:
    """Yield the ids of some splits from a plan index on, ascending."""
    return (training for i in count(start) if split_of(training := training_id(population, i)) in splits)


def match(rows: Sequence[Row], folders: Sequence[Path]) -> tuple[dict[Path, Row], list[str]]:
    """Return the row of each listed folder of a population, and what is wrong with other rows.

    The authors' paths name their own machine: a row's folder is the one whose path agrees with it in the most last parts.
    """
    by_name: dict[str, list[Path]] = {}
    for folder in folders:
        by_name.setdefault(folder.name, []).append(folder)
    listed: dict[Path, Row] = {}
    problems = []
    for row in rows:
        candidates = by_name.get(row.path[-1], []) if row.path else []
        common = [_n_common(row.path, folder.parts) for folder in candidates]
        best = [folder for folder, n in zip(candidates, common, strict=True) if n == max(common)]
        if len(best) != 1:
            found = "no folder here is" if not best else f"{len(best)} folders here may be, such as {best[0]} and {best[1]}:"
            problems.append(f"{row.where}: {found} {'/'.join(row.path)}")
        elif best[0] in listed:
            problems.append(f"{row.where}: {best[0]} is listed already, by {listed[best[0]].where}")
        else:
            listed[best[0]] = row
    return listed, problems


def _n_common(a: Sequence[str], b: Sequence[str]) -> int:
    pairs = zip(reversed(a), reversed(b), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def check_row(row: Row, folder: OriginalFolder) -> None:
    """Raise ``FormatError`` where a row says something else than the folder's meta.csv, or another length than ours."""
    listed, own = parse_hyperparameters(row.values, row.where), folder.hyperparameters
    a, b = listed.to_dict(), own.to_dict()
    different = [name for name in a if a[name] != b[name] and name != "learning_rate"]
    if not math.isclose(listed.learning_rate, own.learning_rate, rel_tol=1e-4):  # lists may be rounded
        different.append("learning_rate")
    architecture = folder.architecture
    lengths = {"weightn_conv": architecture.n_weights_conv}
    lengths["weightn_fc"] = architecture.n_weights - architecture.n_weights_conv
    different += [name for name, n in lengths.items() if str(row.values[name]).strip() not in (str(n), f"{n}.0")]
    if different:
        raise FormatError(f"{folder.path}: {', '.join(different)} of {row.where} not those of this folder")


def unlisted_ids(folders: Sequence[Path], population: str, root: Path) -> dict[Path, str]:
    """Return the ids of folders in no list, in the order of the SHA-256 of their paths inside the release."""
    order = sorted(folders, key=lambda folder: sha256_of(folder.relative_to(root).as_posix().encode()))
    return dict(zip(order, _ids(population, (NO_SPLIT,), UNLISTED_FROM), strict=False))
