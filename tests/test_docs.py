"""Examples of README, docs/ and CONTRIBUTING, run as they stand there, in a folder that holds a dataset ``nws``."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from glob import glob
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.leaderboard.files.results import Result
from builders.cli import config_of
from builders.estimate.image_counts import image_counts
from nws_data.cli import _parser, main
from nws_data.write.writer import check_appendable
from tests.baselines.planted import write_planted
from tests.conftest import TinyDataset

ROOT = Path(__file__).parents[1]
DOCUMENTS = [path.relative_to(ROOT).as_posix() for path in (*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md")))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds ``nws``: 30 fixed trainings, 5 of each value of augmentation in test, which weights tell."""
    return write_planted(tmp_path_factory.mktemp("docs"), ["fixed"]).parent


def blocks(document: str, start: str, language: str) -> list[str]:
    """Return the code blocks of a language in a document, from the text ``start`` on."""
    text = (ROOT / document).read_text()
    assert text.count(start) == 1, start
    return re.findall(rf"^```{language}\n(.*?)^```$", text[text.index(start) :], re.MULTILINE | re.DOTALL)


def run(command: str) -> None:
    """Run a command ``nws ...``; it must succeed."""
    program, *arguments = shlex.split(command)
    assert program == "nws" and main(arguments) == 0


@pytest.mark.slow
def test_the_method_of_contributing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = "**Add a method.**"
    code, commands = blocks("CONTRIBUTING.md", start, "python")[0], blocks("CONTRIBUTING.md", start, "sh")[0]
    assert code.startswith("# mine.py\n")
    (folder / "mine.py").write_text(code)
    monkeypatch.chdir(folder)
    for line in commands.splitlines():
        run(line)
    (path,) = (folder / "results").rglob("*.json")
    result = json.loads(path.read_text())
    assert result["options"]["k"] == 3 and result["task"] == "global/augmentation/threshold=0"
    assert result["summary"]["accuracy"]["mean"] == 1  # the planted signal
    assert "Neighbours" in (folder / "results" / "board.md").read_text()


@pytest.mark.slow
def test_the_way_from_a_method_to_an_entry(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of docs/submitting.md: as in a clone, with the dataset in ``nws``."""
    document = "docs/submitting.md"
    (folder / "mine.py").write_text(blocks("CONTRIBUTING.md", "**Add a method.**", "python")[0])
    monkeypatch.chdir(folder)
    _, run_it, elsewhere, hand_in = blocks(document, "# Submit a result", "sh")  # the check: in the test of CONTRIBUTING
    for line in (line for line in run_it.strip().splitlines() if " leaks " not in line):  # there, too
        command = " ".join(shlex.quote(part) for word in shlex.split(line) for part in sorted(glob(word)) or [word])
        run(command)
    exec(blocks(document, "## Or predict elsewhere", "python")[0], {})
    run("nws score mine-0.parquet --data nws")
    for line in (elsewhere + hand_in).strip().splitlines():
        run(line)
    assert sorted(path.name for path in Path("benchmarks/results/entries").iterdir()) == ["my-method", "neighbours"]
    capsys.readouterr()
    run("nws bench entries --data nws")
    rows = [re.split(r"  +", line) for line in capsys.readouterr().out.strip().splitlines()[1:]]
    assert {row[-1] for row in rows} == {"predictions"}  # scored again
    scores = {row[1]: row[2].partition(" ")[0] for row in rows}
    assert scores == {"mine.py:Neighbours": "100.0", "my-method": "50.0"}  # the planted signal, and the first class
    entries = map(Result.load, Path("benchmarks/results/entries").rglob("*.json"))
    assert {result.method for result in entries if result.from_predictions} == {"my-method"}
    assert "my-method" in Path("benchmarks/results/board.md").read_text()


def build_examples(help: str) -> list[str]:
    """All whole ``nws build`` commands of README, docs/ and the command's help."""
    text = [(ROOT / name).read_text() for name in DOCUMENTS] + [help]
    joined = re.sub(r"\\\n\s*", "", "\n".join(text))  # a command that goes on in the next line
    found = re.findall(r"(?:^[ $]*|`)(nws build -[^`#\n]*)", joined, re.MULTILINE)
    return [line for line in dict.fromkeys(map(str.strip, found)) if "--population" in line or "--preset" in line]


def test_every_build_example_is_accepted_beside_the_dataset_of_the_quickstart(
    tiny_dataset: TinyDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "nws").symlink_to(tiny_dataset.root)
    monkeypatch.chdir(tmp_path)
    images, labels = np.zeros((500, 8, 8), np.uint8), np.arange(500) % 10
    np.savez("cells.npz", images=images, labels=labels)
    for label in range(10):
        (tmp_path / "photos" / str(label)).mkdir(parents=True)
        for i in range(50):
            Image.fromarray(images[i]).save(tmp_path / "photos" / str(label) / f"{i}.png")
    with pytest.raises(SystemExit):
        main(["build", "--help"])
    examples = build_examples(capsys.readouterr().out)
    assert len(examples) > 5 and any("--preset paper" in line for line in examples)
    for line in examples:
        words = shlex.split(line.replace("--device cuda", ""))[1:]  # needs a card
        config = config_of(_parser(words).parse_args(words))
        assert all(item.epoch_images(256) for item in image_counts(config.images)), line
        assert check_appendable(config.out) is None, line  # another folder than nws


@pytest.mark.slow
def test_the_readmes_task(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code = blocks("README.md", "## Official tasks", "python")[0]
    monkeypatch.chdir(folder)
    exec(code, {})
    printed = capsys.readouterr().out.splitlines()
    assert "(False, True) 0.5" in printed[0]
    assert printed[1].startswith("1.0 ")  # the planted signal
    (command,) = set(re.findall(r"`(nws score [^`]*)`", code))
    run(command)
    assert "100.0" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("document", ["docs/index.md", "docs/submitting.md", "docs/symmetry.md"])
def test_the_python_of_a_page(document: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for code in re.findall(r"^```python\n(.*?)^```$", (ROOT / document).read_text(), re.MULTILINE | re.DOTALL):
        exec(code, {})


def test_examples_name_nothing_that_their_section_does_not_define(tmp_path: Path) -> None:
    for document in DOCUMENTS:
        for i, section in enumerate(re.split(r"^## ", (ROOT / document).read_text(), flags=re.MULTILINE)):
            code = re.findall(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
            (tmp_path / f"{document.replace('/', '-')}-section{i}.py").write_text("\n".join(code))
    found = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821,E9", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout
