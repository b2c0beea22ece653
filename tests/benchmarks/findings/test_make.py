"""``nws figure``: files, what is kept, what is missing, and the page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.findings.registry import FIGURES
from nws_data.cli import main
from tests.conftest import TinyDataset


def figure(root: Path, out: Path, *words: str) -> int:
    return main(["figure", *words, "--data", str(root), "--out", str(out)])


@pytest.mark.slow
def test_files_text_and_page_then_what_is_damaged_is_made_again(
    tiny_dataset: TinyDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert figure(tiny_dataset.root, tmp_path, "statistics", "regression") == 0
    out = capsys.readouterr().out
    record = json.loads((tmp_path / "statistics.json").read_text())
    assert f"statistics: {record['shows']}" in out and "regression: not made: no image set has as many" in out
    for key in record["pictures"]:
        assert (tmp_path / f"statistics-{key}.png").read_bytes().startswith(b"\x89PNG")
        svg = (tmp_path / f"statistics-{key}.svg").read_text()
        assert svg.startswith("<?xml") and "currentColor" in svg
    for key in record["tables"]:
        assert len(pd.read_csv(tmp_path / f"statistics-{key}.csv"))
    page = (tmp_path / "findings.html").read_text()
    assert page.index('id="regression"') < page.index('id="statistics"')  # the paper's order
    assert "Not made: no image set" in page and page.count("<svg") == len(record["pictures"])
    assert not re.search(r'(src|href)="(?!#|data:image|[a-z-]+\.(csv|html))', page)  # nothing is loaded from elsewhere
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))

    figure(tiny_dataset.root, tmp_path, "statistics")
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    table, record = tmp_path / "statistics-modes.csv", tmp_path / "statistics.json"
    table.write_bytes(files[table.name] + b"\n")
    figure(tiny_dataset.root, tmp_path, "statistics")
    assert table.read_bytes() == files[table.name] + b"\n"
    record.write_bytes(files[record.name][:40])
    (tmp_path / "statistics-curves.svg").unlink()
    figure(tiny_dataset.root, tmp_path, "statistics")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == files


@pytest.mark.slow
def test_figures_of_other_data_say_nothing_of_claims(tiny_dataset: TinyDataset, tmp_path: Path) -> None:
    row = "| Accuracies have two modes, failures and successes | C, Figure 8 | peaks of failure and success"
    figure(tiny_dataset.root, tmp_path, "statistics")
    assert row in (tmp_path / "claims.md").read_text()
    record = json.loads((tmp_path / "statistics.json").read_text())
    record["identity"]["data"] = "0" * 64
    (tmp_path / "statistics.json").write_text(json.dumps(record))
    figure(tiny_dataset.root, tmp_path, "regression")
    text = (tmp_path / "claims.md").read_text()
    assert row not in text and "the figure statistics is missing" in text


def test_unknown_figure(tiny_dataset: TinyDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert figure(tiny_dataset.root, tmp_path, "statistic") == 2
    assert "statistics" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_nothing_made_is_an_error(tiny_dataset: TinyDataset, tmp_path: Path) -> None:
    assert figure(tiny_dataset.root, tmp_path, "regression") == 1


def test_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["figure", "list"]) == 0
    out = capsys.readouterr().out
    assert all(name in out and entry.title in out for name, entry in FIGURES.items())
