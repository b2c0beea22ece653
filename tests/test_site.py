"""The site of docs/, and its notebooks, run on a small dataset."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

import nws_data
from tests.baselines.planted import write_planted

DOCS = Path(__file__).parents[1] / "docs"
NOTEBOOKS = {
    "first-steps": ("HYPERPARAMETER", "augmentation"),
    "own-meta-classifier": ("TASK", "global/augmentation/threshold=0/fold=0"),
}
"""Each notebook's parameter, and a value that the planted weights tell."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_planted(tmp_path_factory.mktemp("notebooks"), ["fixed"]).parent


def test_every_notebook_is_here() -> None:
    assert {path.stem for path in DOCS.rglob("*.ipynb")} == NOTEBOOKS.keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat  # takes half a second, of which only one worker is to know
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", str(DOCS.parent))  # this checkout, in the kernel and in what its cells start
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
    notebook = nbformat.read(DOCS / "notebooks" / f"{name}.ipynb", as_version=4)
    parameter, value = NOTEBOOKS[name]
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    assert first.source.startswith(f"{parameter} = ")
    first.source = f"{parameter} = {value!r}"
    notebook.cells.append(nbformat.v4.new_code_cell("print(f'ACCURACY {accuracy:.3f}')"))
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}}).execute()
    (printed,) = notebook.cells[-1].outputs
    assert float(printed.text.split()[1]) > 0.9  # the planted signal


def test_stored_outputs_name_no_place_of_a_machine() -> None:
    for path in DOCS.rglob("*.ipynb"):
        assert not re.search(r"/(home|root|tmp|work|Users)/", path.read_text())


def test_every_public_name_is_on_one_page_of_the_api() -> None:
    pages = "".join(path.read_text() for path in sorted((DOCS / "api").glob("*.md")))
    assert sorted(re.findall(r":: nws_data\.(\w+)", pages)) == sorted(nws_data.__all__)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of Sphinx and its extensions, for their authors
def test_the_site_builds_without_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from sphinx.cmd.build import build_main  # here, where all that it documents is loaded already

    status = build_main(["-W", "--keep-going", "-q", str(DOCS), str(tmp_path / "site")])
    assert status == 0, capsys.readouterr().err
    page = (tmp_path / "site" / "api" / "datasets.html").read_text()
    assert "Shards of other splits need not be there" in page  # from the docstring of nws_data.open
    assert (tmp_path / "site" / "notebooks" / "first-steps.html").read_text().count("<img") >= 2
