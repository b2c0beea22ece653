"""``nws figure``: measures, draws and tells figures, and writes the page that shows them all.

Of a figure come ``NAME-TABLE.csv``, ``NAME-PICTURE.png`` and ``.svg``, ``NAME.html`` where it can be explored, and
``NAME.json``: what it shows, and what it was measured from. ``claims.md`` holds the paper's claims beside what they show.
A figure that is there, made from the same data, results, options and code, is kept, so an interrupted command goes on
where it was.
"""

from __future__ import annotations

import importlib
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.findings.claims import check_claims, write_claims
from benchmarks.findings.registry import FIGURES, FigureEntry
from benchmarks.findings.source import MissingDataError, Source
from benchmarks.findings.tables import Tables
from benchmarks.leaderboard.runs.plans import source_file
from benchmarks.templates import render
from nws_data.atomic import write_bytes
from nws_data.errors import ArgumentError, one_of
from nws_data.hashing import sha256_of
from nws_data.plot import style

PAGE = "findings.html"
CLAIMS = "claims.md"
KEPT = ".kept"
"""Folder, beside the figures, of parts of long measurements."""


@dataclass(frozen=True)
class Made:
    """What became of one figure: what it shows, or why it is missing."""

    name: str
    shows: str = ""
    missing: str = ""


def chosen(names: Sequence[str]) -> list[str]:
    """Return figure names in the paper's order; ``all`` are those but for what is only made where it is ``asked``.

    Raises ``ArgumentError`` for one that there is not.
    """
    for name in names:
        if name != "all" and name not in FIGURES:
            raise ArgumentError(f"figure: {one_of(name, ['all', *FIGURES])}")
    return [name for name, entry in FIGURES.items() if name in names or ("all" in names and not entry.asked)]


def make_figures(names: Sequence[str], source: Source, out: Path, again: bool = False) -> Iterator[Made]:
    """Make figures one after another, then the page of all that ``out`` holds; ``again``: those too that are there.

    Yields each figure when its files are written; one that lacks data says so, and the next is made. Raises ``FormatError``
    or ``ResultError`` for a damaged dataset or result file.
    """
    for name in names:
        try:
            yield _make(name, source, out, again)
        except MissingDataError as error:
            write_bytes(out / f"{name}.json", _json({"missing": str(error)}))
            yield Made(name, missing=str(error))
    write_page(source, out)


def _make(name: str, source: Source, out: Path, again: bool) -> Made:
    entry = FIGURES[name]
    source = replace(source, populations=entry.populations, **entry.fixed)
    identity = _identity(entry, source)
    record = None if again else _made(out, name, identity)
    if again and source.kept is not None:
        for path in source.kept.glob(f"{name}-*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    if record is None:
        module = importlib.import_module(f"benchmarks.findings.{entry.module}")
        tables = module.measure(source)
        for key, table in tables.items():
            text = table.to_csv(index=False, float_format="%.10g", lineterminator="\n")
            write_bytes(out / f"{name}-{key}.csv", text.encode())
        tables = _read(out, name, list(tables))  # what is shown is what the files say
        with style.theme():
            pictures = module.draw(tables)
            for key, picture in pictures.items():
                write_bytes(out / f"{name}-{key}.png", style.to_png(picture))
                write_bytes(out / f"{name}-{key}.svg", style.to_svg(picture).encode())
        if entry.explorable:
            write_bytes(out / f"{name}.html", module.explore(tables).encode())
        record = {"shows": module.tell(tables), "pictures": list(pictures), "tables": list(tables), "identity": identity}
        write_bytes(out / f"{name}.json", _json(record))
    return Made(name, record["shows"])


def _identity(entry: FigureEntry, source: Source) -> dict[str, Any]:
    """Return all that decides a figure's numbers: data, options, results where it reads them, and its code."""
    options = {name: getattr(source, name) for name in entry.options}
    modules = [entry.module, *(["results"] if entry.results else []), *(["fits"] if "method" in entry.options else [])]
    found = {"population": source.population, "data": source.digest, **options}
    if entry.results:
        results = sorted(result.to_dict()["sha256"] for result in source.result_files)
        found["results"] = sha256_of("\n".join(results).encode())
    files = [Path(__file__).with_name(f"{name}.py") for name in modules]
    if "method" in entry.options:
        files.append(source_file(source.method))
    found["code"] = sha256_of(b"".join(file.read_bytes() for file in files))
    return dict(json.loads(json.dumps(found)))  # as the record has it


def _made(out: Path, name: str, identity: dict[str, Any]) -> dict[str, Any] | None:
    """Return the record of a figure that is there, made from the same, with all its files; else None."""
    try:
        record: dict[str, Any] = json.loads((out / f"{name}.json").read_text(encoding="utf-8"))
        files = [f"{name}-{key}.{suffix}" for key in record["pictures"] for suffix in ("png", "svg")]
        files += [f"{name}-{key}.csv" for key in record["tables"]]
        files += [f"{name}.html"] if FIGURES[name].explorable else []
        same = record["identity"] == identity and all((out / file).is_file() for file in files)
    except (OSError, ValueError, KeyError):
        return None
    return record if same else None


def _read(out: Path, name: str, tables: Sequence[str]) -> Tables:
    return {key: pd.read_csv(out / f"{name}-{key}.csv") for key in tables}


def _json(record: dict[str, Any]) -> bytes:
    return (json.dumps(record, indent=1) + "\n").encode()


def write_page(source: Source, out: Path) -> None:
    """Write findings.html and claims.md from the figures that the folder holds, in the paper's order.

    Nothing of the page is loaded from elsewhere.
    """
    sections, tables = [], {}
    digests = {name: source.manifest.population_digest(name) for name in source.manifest.populations}
    for name, entry in FIGURES.items():
        path = out / f"{name}.json"
        if not path.is_file():
            continue
        record = json.loads(path.read_text(encoding="utf-8"))
        if record.get("identity", {}).get("data") in digests.values():  # a figure of other data says nothing of these
            tables[name] = _read(out, name, record["tables"])
        pictures = record.get("pictures", [])
        svgs = [(key, _inline((out / f"{name}-{key}.svg").read_text(encoding="utf-8"), f"{name}-{key}")) for key in pictures]
        sections.append({"name": name, "entry": entry, "svgs": svgs} | {"shows": "", "missing": "", "tables": []} | record)
    claims = check_claims(source, tables)
    write_claims(claims, out / CLAIMS)
    values = {"sections": sections, "claims": claims, "manifest": source.manifest, "digests": digests}
    write_bytes(out / PAGE, render(Path(__file__).with_name("findings.html.j2"), values).encode())


def _inline(svg: str, prefix: str) -> str:
    """Return an SVG file as an element for a page, its ids made the page's own by a prefix."""
    return re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{prefix}-", svg[svg.index("<svg") :])
