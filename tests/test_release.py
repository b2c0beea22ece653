"""What others' tools read of the repository: CITATION.cff, eval.yaml, CHANGELOG.md."""

from pathlib import Path

import yaml

import nws_data
from nws_data.tasks.table import FAMILIES, parse_task

ROOT = Path(__file__).parents[1]


def test_the_citation_is_of_this_version_and_of_the_paper() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()  # what the format requires
    assert citation["version"] == nws_data.__version__ and citation["license"] == "Apache-2.0"
    paper = citation["preferred-citation"]
    assert [author["family-names"] for author in paper["authors"]] == [
        "Eilertsen",
        "Jönsson",
        "Ropinski",
        "Unger",
        "Ynnerman",
    ]
    assert paper["title"] in (ROOT / "README.md").read_text() and paper["year"] == 2020


def test_the_hubs_benchmark_lists_the_official_tasks() -> None:
    content = yaml.safe_load((ROOT / "eval.yaml").read_text())
    assert content.keys() == {"name", "description", "evaluation_framework", "tasks"}
    families = ("global", "local", "vote", "regress", "regress-local")
    expected = [parse_task(f"{name}/{target}") for name in families for target in FAMILIES[name].targets]
    assert all(task.official for task in expected)
    assert content["tasks"] == [
        {"id": task.name.replace("/", "-"), "config": task.family.population, "split": "test"} for task in expected
    ]


def test_the_changelog_starts_with_this_version() -> None:
    headings = [line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## ")]
    assert headings[0].split()[1].rstrip(",") == nws_data.__version__
