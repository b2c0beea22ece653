"""``nws import-original``: the authors' release of 2020 as a dataset of this format."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nws_data.convert.cards import EVALUATION, IMPORTED
from nws_data.convert.original_folder import COMPUTE_PATH, UNKNOWN, OriginalFolder
from nws_data.convert.original_lists import Row, check_row, match, population_of, read_lists, unlisted_ids
from nws_data.errors import FormatError
from nws_data.format.manifest import Manifest
from nws_data.progress import Progress
from nws_data.space.hyperparameters import POPULATIONS
from nws_data.space.identity import NO_SPLIT, UNLISTED_FROM
from nws_data.space.image_sets import ImageSet, threshold_of
from nws_data.write.writer import write_dataset

_N_IMAGES = {
    "mnist": (55_000, 10_000),
    "cifar10": (45_000, 10_000),
    "svhn": (73_257, 26_032),
    "stl10": (5_000, 8_000),
    "fashion_mnist": (55_000, 10_000),
}
"""Training and test images of the original (Eilertsen et al. 2020, Supplement A.1)."""

_MAX_NAMED = 5  # bad folders in an error


@dataclass(frozen=True)
class ImportReport:
    """What :func:`import_original` did."""

    # Numbers of trainings: all, those of the train list (splits train and validation), of the test list, and of no list.
    populations: dict[str, dict[str, int]]
    skipped: tuple[str, ...]  # what was left out, each with its folder or line, and why


def import_original(
    root: str | Path, out: str | Path, *, skip_bad: bool = False, progress: Progress | None = None
) -> ImportReport:
    """Turn the authors' release into a dataset: all trainings of all folders under ``root`` that have a meta.csv.

    All but the weights is checked before anything is written. Interrupted, the same call goes on: shards that are complete
    stay. One training is in memory at a time, and the next one.

    Args:
        root: folder of the release: trainings in folders, and the four lists. Folders whose path names ``fixed`` are of
            the population ``fixed``, those with ``main`` or ``random`` of ``random``.
        out: the dataset's folder; new, or left by an interrupted import.
        skip_bad: leave out what is bad instead of raising.
        progress: called after every training.

    Raises ``FormatError`` where a folder is incomplete, or has a wrong length or an unknown code, or a list does not fit;
    ``BuildError`` where ``out`` holds something else.
    """
    root, out = Path(root).resolve(), Path(out)
    if out.resolve().is_relative_to(root):
        raise FormatError(f"{out} lies inside the release {root}; give a folder beside it")
    folders, lists = _walk(root)
    rows = read_lists(lists)
    problems: list[str] = []
    found = {name: _read(root, folders, name, rows.get(name), problems) for name in POPULATIONS}
    problems += [f"{path}: the path names neither fixed nor main" for path in folders if _population(root, path) is None]
    if problems and not skip_bad:
        n = len(problems)
        error = FormatError(f"{root}: {n:,} bad; fetch what is named again, or leave it out by --skip-bad; the first:")
        for problem in problems[:_MAX_NAMED]:
            error.add_note(f"  {problem}")
        raise error
    if not any(found.values()):
        raise FormatError(
            f"{root}: no training of the 2020 release that can be read: folders with meta.csv; give its folder"
        )
    return _write(out, {name: sources for name, sources in found.items() if sources}, problems, progress)


def _walk(root: Path) -> tuple[list[Path], list[Path]]:
    """Return the folders of trainings and the CSV lists under ``root``, sorted."""
    folders, lists = [], []
    for folder, inside, names in os.walk(root, onerror=_raise):
        if "meta.csv" in names or "weights" in inside:
            folders.append(Path(folder))
            inside.clear()
        else:
            lists += [Path(folder) / name for name in names if name.endswith(".csv")]
    return sorted(folders), sorted(lists)


def _raise(error: OSError) -> None:
    raise FormatError(f"{error.filename}: cannot be read ({error.strerror}); give the folder of the release") from error


def _population(root: Path, path: Path) -> str | None:
    return population_of((root.name, *path.relative_to(root).parts))


def _read(
    root: Path, folders: Sequence[Path], name: str, rows: list[Row] | None, problems: list[str]
) -> list[OriginalFolder]:
    """Check a population's folders against themselves and its lists, and give each its id; append what is wrong."""
    of_population = [path for path in folders if _population(root, path) == name]
    if not of_population:
        return []
    if rows is None:
        raise FormatError(f"{root}: no lists of {name}, which say the splits; put nws_*_train.csv and nws_*_test.csv there")
    listed, found = match(rows, of_population)
    problems += found
    ids = {path: row.training for path, row in listed.items()}
    ids |= unlisted_ids([path for path in of_population if path not in listed], name, root)
    sources = []
    for path in of_population:
        try:
            folder = OriginalFolder(path, ids[path])
            if path in listed:
                check_row(listed[path], folder)
            sources.append(folder)
        except FormatError as error:
            problems.append(str(error))
    return sources


def _write(out: Path, found: dict[str, list[OriginalFolder]], skipped: list[str], progress: Progress | None) -> ImportReport:
    source = "as the authors read it in 2020 (their Supplement A.1); the images themselves are unknown"
    image_sets = [
        ImageSet(name=name, threshold=threshold_of(name), source=source, n_train=n_train, n_test=n_test, digest=UNKNOWN)
        for name, (n_train, n_test) in _N_IMAGES.items()
    ]
    plan = {
        "build_seed": None,
        "image_sets": [[image_set.name, image_set.digest] for image_set in image_sets],
        "batch_norm": True,
        "precision": "float32",
        "compute_path": COMPUTE_PATH,
        "evaluation": EVALUATION,
        "unlisted_from": UNLISTED_FROM,
    }
    populations = {name: (plan, sources) for name, sources in found.items()}
    write_dataset(out, populations=populations, image_sets=image_sets, card_template=IMPORTED, whole=True, progress=progress)
    counts = {}
    for name, sources in found.items():
        n = Counter(source.facts.split for source in sources)
        lists = {"n_train": n["train"] + n["validation"], "n_test": n["test"], "n_unlisted": n[NO_SPLIT]}
        counts[name] = {"n_trainings": n.total(), **lists}
    return ImportReport(counts, tuple(skipped))


def format_import(report: ImportReport, out: Path) -> str:
    """Return the report for people."""
    text = "{n_trainings:,} trainings: {n_train:,} of the train list, {n_test:,} of the test list, {n_unlisted:,} in none"
    lines = [f"{name}: {text.format(**counts)}" for name, counts in report.populations.items()]
    if report.skipped:
        lines += [f"left out: {len(report.skipped):,}", *(f"  {problem}" for problem in report.skipped)]
    digest = Manifest.load(out).data_digest
    return "\n".join([*lines, f"{out}: data digest {digest[:12]}; `nws info {out}` says what it holds"])
