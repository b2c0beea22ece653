"""Published results are taken over where they are of the same run on the same data, and sound; and named."""

import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.leaderboard.files.json_text import digest
from benchmarks.leaderboard.files.results import Result
from benchmarks.leaderboard.runs import published
from benchmarks.leaderboard.runs.plans import Plan, make_plans
from benchmarks.leaderboard.runs.published import Published
from benchmarks.leaderboard.runs.runner import Outcome, run_all
from nws_data.cli import main
from nws_data.format.partial import Pulled
from nws_data.progress import progress_bar
from tests.nws_data.hub.client import Client
from tests.nws_data.hub.hub_server import REPOSITORY, serve

TASK = "local/dataset@100"


@pytest.fixture(scope="module")
def result(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Path]:
    """A run of the majority, and its file."""
    out = tmp_path_factory.mktemp("published")
    (plan,) = make_plans([TASK], ["majority"], {}, seeds=3, folds=False)
    (outcome,) = run_all([plan], dataset, out, bar=progress_bar())
    assert outcome.result is not None
    return plan, out / outcome.result.path


def run(plan: Plan, dataset: Path, committed: Path, out: Path, again: bool = False) -> Outcome:
    bar = progress_bar(disable=False, file=io.StringIO())
    source = Published(dataset, committed)
    (outcome,) = run_all([plan], dataset, out, again=again, published=source, bar=bar)
    assert bar.n == plan.n_fits
    return outcome


def published_at(folder: Path, path: Path) -> Path:
    target = folder / path.parent.name / path.name
    target.parent.mkdir(parents=True)
    shutil.copyfile(path, target)
    return target


@pytest.mark.parametrize("below", ["", "entries/somebody"])
def test_a_committed_result_is_taken_over(result: tuple[Plan, Path], dataset: Path, tmp_path: Path, below: str) -> None:
    plan, path = result
    published_at(tmp_path / "committed" / below, path)
    found = run(plan, dataset, tmp_path / "committed", tmp_path / "out")
    place = "/".join(["benchmarks/results", *filter(None, [below]), path.parent.name, path.name])
    assert found.reused == place and found.skipped and found.result == Result.load(path)
    (taken,) = (tmp_path / "out").rglob("*.json")
    assert taken.read_bytes() == path.read_bytes()  # the hour it was run, too
    assert run(plan, dataset, tmp_path / "committed", tmp_path / "out").reused == ""  # it is there already
    assert not run(plan, dataset, tmp_path / "committed", tmp_path / "out", again=True).skipped


def tampered(path: Path, change: Callable[[dict], None]) -> None:  # type: ignore[type-arg]
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content | {"sha256": digest(content)}))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda c: c["summary"]["accuracy"].update(mean=0.9), "summary.accuracy.mean is 0.9"),
        (lambda c: c.update(data_digest="c" * 64), "it belongs at local.dataset@100/"),
        (lambda c: c["test"]["trainings"].__setitem__(0, "random-000000"), "belongs to train|must be sorted|test.trainings"),
    ],
)
def test_what_is_not_sound_is_named_and_run(
    result: tuple[Plan, Path],
    dataset: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[dict], None],  # type: ignore[type-arg]
    reason: str,
) -> None:
    import re

    plan, path = result
    tampered(published_at(tmp_path / "committed", path), change)
    found = run(plan, dataset, tmp_path / "committed", tmp_path / "out")
    assert not found.skipped and found.reused == "" and found.result is not None
    error = capsys.readouterr().err
    assert "not reused: benchmarks/results/" in error and re.search(reason, error)


def test_another_method_or_more_seeds_are_run(result: tuple[Plan, Path], dataset: Path, tmp_path: Path) -> None:
    _, path = result
    published_at(tmp_path / "committed", path)
    (other,) = make_plans([TASK], ["length"], {}, seeds=1, folds=False)
    assert not run(other, dataset, tmp_path / "committed", tmp_path / "out").skipped
    source = Published(dataset, tmp_path / "committed")
    place = Path(path.parent.name, path.name)
    assert source.find(place, (0,)) is not None and source.find(place, (0, 1)) is None


def test_the_command_names_the_source(
    result: tuple[Plan, Path],
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    published_at(tmp_path / "committed", result[1])
    monkeypatch.setattr(published.Published.__init__, "__defaults__", (tmp_path / "committed",))
    call = ["bench", "run", "--task", TASK, "--method", "majority", "--data", str(dataset), "--out", str(tmp_path / "out")]
    assert main(call) == 0
    assert f"; reused from benchmarks/results/{result[1].parent.name}/{result[1].name}, --again" in capsys.readouterr().out
    assert main([*call, "--again"]) == 0 and "reused" not in capsys.readouterr().out


@pytest.mark.slow
def test_a_result_on_the_hub_is_taken_over(result: tuple[Plan, Path], dataset: Path, tmp_path: Path) -> None:
    _, path = result
    pulled = tmp_path / "nws"
    shutil.copytree(dataset, pulled, copy_function=os.link)
    call = ["bench", "run", "--task", TASK, "--method", "majority", "--data", str(pulled), "--out"]
    with serve() as hub:
        name = f"results/{path.parent.name}/{path.name}"
        commit = hub.commit_files({"manifest.json": dataset / "manifest.json"}, tmp_path / "before")
        Pulled(repository=REPOSITORY, commit=commit, shards=()).save(pulled)
        client = Client(hub.url, tmp_path / "hf", tmp_path)
        try:
            status, text = client.nws(*call, str(tmp_path / "none"))
            assert status == 0 and "reused" not in text and "not looked up" not in text  # no folder of results
            hub.commit_files({"manifest.json": dataset / "manifest.json", name: path}, tmp_path / "after")
            status, text = client.nws(*call, str(tmp_path / "out"))
            assert status == 0 and f"; reused from {REPOSITORY}/{name}, --again runs it here" in text, text
            assert (tmp_path / "out" / path.parent.name / path.name).read_bytes() == path.read_bytes()
            hub.status = 403
            status, text = client.nws(*call, str(tmp_path / "refused"))
            assert status == 0 and "published results are not looked up: " in text and "reused" not in text
        finally:
            client.close()
