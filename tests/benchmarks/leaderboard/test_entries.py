"""Entries: made from results or from predictions alone, recomputed, and refused where anything was changed."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.leaderboard.board.write import write_board
from benchmarks.leaderboard.files.json_text import digest, readable
from benchmarks.leaderboard.files.results import PREDICTIONS, SOURCE, Result, ResultError
from benchmarks.leaderboard.submission.entry import (
    COUNTED,
    COUNTS,
    FILE,
    SCORED,
    Entry,
    EntryError,
    check_entry,
    check_words,
    has_data,
)
from benchmarks.leaderboard.submission.submit import results_of, with_files, write_entry
from nws_data.cli import main
from nws_data.errors import NWSError, PredictionError
from nws_data.hashing import file_sha256
from nws_data.tasks.predictions import Predictions
from nws_data.tasks.task import load_task
from tests.benchmarks.leaderboard.made_up import class_score, make_result

ROOT = Path(__file__).parents[3]
ENTRIES = ROOT / "benchmarks" / "results" / "entries"
TEXTS = {
    "who": "Ö. Author (Institute)",
    "what": "guesses",
    "code": "https://example.org/a/b.git",
    "paper": "none",
    "trained_on": "the train split",
}
TASK = "local/dataset@100"
TOLD = {"method": "guess", "fit_s": 2.5, "hardware": "Some CPU; 2 cores; 8 GB; Some GPU", "n_parameters": 3}


@pytest.mark.parametrize("folder", sorted(path for path in ENTRIES.glob("*") if path.is_dir()), ids=lambda path: path.name)
def test_the_committed_entries(folder: Path) -> None:
    """Each entry of the repository; on the data where they lie in ``nws``, and else it is said that nobody has scored it."""
    results = [result for result, _ in check_entry(folder)]
    if not all(has_data(result, ROOT / "nws") for result in results):
        pytest.skip("sound without the data; to score its predictions, put the dataset that it is of into nws")
    check_entry(folder, ROOT / "nws")


def planted(folder: Path) -> tuple[Result, list[Path]]:
    """A result of predictions alone on data that nobody has: 30 of 40 right, and its file, both written out by hand."""
    folder.mkdir()
    score = class_score([9, 8, 7, 6])
    truth = ["False"] * 20 + ["True"] * 20
    other = {"False": "True", "True": "False"}
    values = [name if right else other[name] for name, right in zip(truth, score.n_right, strict=True)]
    keys = {"training": np.array(score.trainings, object), "snapshot": np.full(40, 19)}
    predictions = Predictions(
        task="global/augmentation", data_digest="a" * 64, keys=keys, values=np.array(values, dtype=object)
    )
    predictions.save(folder / "mine.parquet")
    result = make_result([score], method="guess", options={SOURCE: PREDICTIONS})
    run = result.runs[0]
    changed = {**vars(run), "predictions_sha256": (file_sha256(folder / "mine.parquet"),)}
    return make_result([score], method="guess", options={SOURCE: PREDICTIONS}, runs=(type(run)(**changed),)), [
        folder / "mine.parquet"
    ]


def entry_of(folder: Path) -> Path:
    result, files = planted(folder / "made")
    return write_entry({result.path: (result, files)}, TEXTS, "guess", folder / "entries", None)[0]


def test_an_entry_comes_back_as_it_was_and_stands_on_the_board(tmp_path: Path) -> None:
    folder = entry_of(tmp_path)
    ((result, how),) = check_entry(folder)
    assert how == COUNTED and result.summary["accuracy"]["mean"] == 0.75
    assert result.from_predictions and result.command.startswith("nws score global.augmentation--guess-")
    entry = Entry.load(folder)
    assert {field: getattr(entry, field) for field in TEXTS} == TEXTS and len(entry.files) == 2
    assert [path.name for path in folder.parent.iterdir()] == ["guess"]
    (standing,) = write_board(folder.parent, tmp_path / "board")
    assert standing == result and "source=predictions" in (tmp_path / "board" / "board.md").read_text()


def edit_entry(folder: Path, change: Callable[[str], str]) -> None:
    (folder / FILE).write_text(change((folder / FILE).read_text()))


def renamed_hash(folder: Path, path: Path, old: str) -> None:
    edit_entry(folder, lambda text: text.replace(old, file_sha256(path)))


def edit_result(folder: Path, change: Callable[[Any], None]) -> None:
    """Change a result and all digests that follow, as a forger would."""
    (path,) = folder.rglob("*.json")
    old, content = file_sha256(path), json.loads(path.read_text())
    change(content)
    path.write_text(readable(content | {"sha256": digest(content)}))
    renamed_hash(folder, path, old)


def raise_accuracy(content: Any) -> None:
    """All right: consistent in itself, but other predictions than those in the file."""
    raised = make_result([class_score([10, 10, 10, 10])], method="guess", options={SOURCE: PREDICTIONS}).to_dict()
    content["summary"], content["runs"][0]["score"] = raised["summary"], raised["runs"][0]["score"]


def edit_predictions(folder: Path, change: Callable[[Predictions], Predictions], follow: bool = True) -> None:
    (path,) = folder.rglob("*.parquet")
    old = file_sha256(path)
    change(Predictions.load(path)).save(path)
    renamed_hash(folder, path, old)
    new = file_sha256(path)
    if follow:
        edit_result(folder, lambda content: content["runs"][0].update(predictions_sha256=[new]))


def with_values(predictions: Predictions, values: list[str]) -> Predictions:
    return Predictions(**{**vars(predictions), "values": np.array(values, dtype=object)})


def add_link(folder: Path) -> None:
    (path,) = folder.rglob("*.parquet")
    (folder.parent / "elsewhere").write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(folder.parent / "elsewhere")


TAMPERED: list[tuple[Callable[[Path], Any], str]] = [
    (lambda f: next(f.rglob("*.json")).write_bytes(b"{}"), "its SHA-256 is not the one in entry.toml"),
    (lambda f: next(f.rglob("*.parquet")).unlink(), "is missing, but named in entry.toml"),
    (lambda f: (f / "more.html").write_text("<script>"), "'more.html' is not named in entry.toml"),
    (lambda f: (f / "predictions" / ".hidden").write_text(""), "is not named in entry.toml"),
    (add_link, "cannot be read: a link"),
    (lambda f: edit_result(f, raise_accuracy), "count the classes differently"),
    (lambda f: edit_result(f, lambda c: c.update(data_digest="b" * 64)), "the place of this result is"),
    (lambda f: edit_predictions(f, lambda p: with_values(p, ["True"] * 40)), "count the classes differently"),
    (lambda f: edit_predictions(f, lambda p: Predictions(**{**vars(p), "task": "global/x"})), "is of the task global/x"),
    (lambda f: edit_predictions(f, lambda p: Predictions(**{**vars(p), "data_digest": "b" * 64})), "data bbbbbbbbbbbb"),
    (lambda f: edit_entry(f, lambda t: t.replace('name = "guess"', 'name = "other"')), "but the folder is 'guess'"),
    (lambda f: edit_entry(f, lambda t: t.replace("version = 1", "version = 2")), "must be nws-entry of version 1"),
    (lambda f: edit_entry(f, lambda t: 'extra = "1"\n' + t), "unknown or missing fields: extra"),
    (lambda f: edit_entry(f, lambda t: t.replace('"predictions/', '"../predictions/')), "is no path of a result"),
    (lambda f: edit_entry(f, lambda t: "a = " + "[" * 100_000), "entry.toml cannot be read"),
    (lambda f: edit_entry(f, lambda t: t + "#" * 2_000_000), "entry.toml cannot be read"),
    (lambda f: edit_entry(f, lambda t: t.replace('"guesses"', "3")), "what must be the method in one line"),
    (lambda f: (f / FILE).unlink(), "entry.toml cannot be read"),
]


@pytest.mark.parametrize(("change", "reason"), TAMPERED)
def test_a_tampered_entry_is_refused(tmp_path: Path, change: Callable[[Path], Any], reason: str) -> None:
    folder = entry_of(tmp_path)
    change(folder)
    with pytest.raises(EntryError, match=reason):
        check_entry(folder)


def test_an_option_that_a_baseline_lacks_is_refused(tmp_path: Path) -> None:
    result = make_result([class_score([10, 10, 10, 10])], method="majority", options={"x": 1})
    with pytest.raises(EntryError, match="majority has no option 'x'"):
        write_entry({result.path: (result, [])}, TEXTS, "guess", tmp_path, None)


HOSTILE = ["<b>me</b>", "a\x1b[2J", "a\u202eb", "x" * 201, "`code`", "a|b", "see https://x.org", "@all", "a\nb", ""]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_are_refused_and_nothing_is_written(tmp_path: Path, text: str) -> None:
    result, files = planted(tmp_path / "made")
    for field in ("who", "what", "trained_on"):
        with pytest.raises(EntryError, match=f"{field}|{field.replace('_', '-')}"):
            write_entry({result.path: (result, files)}, TEXTS | {field: text}, "guess", tmp_path / "entries", None)
    assert not (tmp_path / "entries").exists()


@pytest.mark.parametrize(
    "link", ["http://x.org", "javascript:alert(1)", "https://x.org/<b>", "https://a b", "https://x.org\\"]
)
def test_hostile_addresses_are_refused(link: str) -> None:
    with pytest.raises(EntryError, match="code must be https address"):
        check_words("guess", TEXTS | {"code": link})


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", "", "a b", "<b>", "mine.py:Mine", "a" * 101])
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    result, files = planted(tmp_path / "made")
    with pytest.raises(EntryError, match="--name must be at most 100 letters"):
        write_entry({result.path: (result, files)}, TEXTS, name, tmp_path / "entries", None)
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_results_on_different_data_are_not_mixed(tmp_path: Path) -> None:
    score = class_score([9, 8, 7, 6])
    results = [make_result([score]), make_result([score], task="global/augmentation/threshold=0", official=False)]
    other = make_result([score], task="global/augmentation/threshold=0", official=False, data_digest="c" * 64)
    good = {result.path: (result, list[Path]()) for result in results}
    folder, checked = write_entry(good, TEXTS, "good", tmp_path, None)
    assert [how for _, how in checked] == [COUNTS, COUNTS] and len(list(folder.rglob("*.json"))) == 2
    with pytest.raises(ResultError, match=r"of population fixed, 1 have data digest aaaaaaaaaaaa and 1 have cccccccccccc"):
        write_entry({r.path: (r, []) for r in (results[0], other)}, TEXTS, "mixed", tmp_path, None)
    assert [path.name for path in tmp_path.iterdir()] == ["good"]
    with pytest.raises(EntryError, match="is there; remove it, or give the entry another --name"):
        write_entry(good, TEXTS, "good", tmp_path, None)


def test_prediction_files_find_their_result(tmp_path: Path) -> None:
    result, files = planted(tmp_path / "made")
    path = result.save(tmp_path)
    assert with_files([path], files) == {result.path: (result, files)}
    assert with_files([path], []) == {result.path: (result, [])}
    (tmp_path / "odd.parquet").write_bytes(b"odd")
    with pytest.raises(EntryError, match=r"odd\.parquet is no file of these results"):
        with_files([path], [*files, tmp_path / "odd.parquet"])


@pytest.fixture
def guesses(dataset: Path, tmp_path: Path) -> list[Path]:
    """Two seeds of predictions: of the first all right but ten windows of each class, of the second all right."""
    task = load_task(TASK, dataset)
    truth = task.test.labels.numpy()
    wrong = truth.copy()
    for label in (0, 1):
        wrong[np.flatnonzero(truth == label)[:10]] = 1 - label
    for seed, labels in enumerate((wrong, truth)):
        task.predictions(labels).save(tmp_path / f"{seed}.parquet")
    return [tmp_path / "0.parquet", tmp_path / "1.parquet"]


def test_predictions_alone_are_scored_on_the_data(dataset: Path, guesses: list[Path], tmp_path: Path) -> None:
    found = results_of(guesses, dataset, **TOLD)
    ((result, files),) = found.values()
    n = len(load_task(TASK, dataset).test)
    assert result.summary["accuracy"]["mean"] == pytest.approx((2 * n - 20) / (2 * n)) and result.seeds == (0, 1)
    assert result.official and result.runs[0].fit_s == 2.5 and result.n_parameters == 3 and files == guesses
    memory = 8_000_000_000
    told = {"processor": "Some CPU", "cores": 2, "threads": 2, "memory_bytes": memory, "gpu": "Some GPU"}
    assert result.hardware == told and result.commit is None
    folder, checked = write_entry(found, TEXTS, "guess", tmp_path / "entries", dataset)
    assert [how for _, how in checked] == [SCORED] and has_data(result, dataset) and not has_data(result, tmp_path)

    def swap(content: Any) -> None:
        """As many of each class, but others right: only the data show it."""
        first, second = content["runs"]
        first["score"], content["summary"] = second["score"], result_of_equal["summary"]

    result_of_equal = next(iter(results_of([guesses[1]] * 2, dataset, **TOLD).values()))[0].to_dict()
    edit_result(folder, swap)
    with pytest.raises(EntryError, match=r"score of seed 0\.\S+ is .*follows from its prediction files"):
        check_entry(folder, dataset)
    assert [how for _, how in check_entry(folder)] == [COUNTED]


def test_predictions_alone_that_make_no_sense(dataset: Path, guesses: list[Path], tmp_path: Path) -> None:
    with pytest.raises(EntryError, match="no registered name, got 'majority'"):
        results_of(guesses, dataset, **TOLD | {"method": "majority"})
    with pytest.raises(EntryError, match="--hardware must be 'here' or"):
        results_of(guesses, dataset, **TOLD | {"hardware": "fast"})
    predictions = Predictions.load(guesses[0])
    with_values(predictions, ["mnist"] * (len(predictions) - 1) + ["<b>"]).save(guesses[0])
    with pytest.raises(PredictionError, match="are no class of this task"):
        results_of(guesses, dataset, **TOLD)
    Predictions(**{**vars(predictions), "data_digest": "e" * 64}).save(guesses[0])
    with pytest.raises(PredictionError, match="were made on other data, digest 'eeeeeeeeeeee'"):
        results_of(guesses, dataset, **TOLD)
    os.truncate(guesses[0], 100)
    with pytest.raises(NWSError, match="not a readable prediction file"):
        results_of(guesses, dataset, **TOLD)


def test_the_commands(dataset: Path, guesses: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [word for field, text in TEXTS.items() for word in (f"--{field.replace('_', '-')}", text)]
    submit = ["bench", "submit", "--predictions", *map(str, guesses), "--data", str(dataset), "--out", str(tmp_path / "e")]
    assert main(submit) == 2
    assert "also --method (how the board names it), --fit-seconds (of one seed), --hardware" in capsys.readouterr().err
    submit += ["--method", "guess", "--fit-seconds", "2", "--hardware", "here"]
    assert main([*submit, *flags[:-4]]) == 2
    error = capsys.readouterr().err
    assert "an entry also says --paper, https address" in error and "--trained-on" in error and "--who" not in error
    assert main([*submit, *flags]) == 0
    out = capsys.readouterr().out
    assert f"Entry: {tmp_path / 'e' / 'guess'}\n" in out and "Next: nws bench board" in out and " predictions" in out
    assert main(["bench", "entries", str(tmp_path / "e"), "--data", str(dataset)]) == 0
    assert capsys.readouterr().out.splitlines()[1].endswith(f" {SCORED}")
    edit_entry(tmp_path / "e" / "guess", lambda text: text.replace("none", "<none>"))
    assert main(["bench", "entries", str(tmp_path / "e")]) == 1
    assert "refused: guess: paper must be" in capsys.readouterr().err
    (tmp_path / "r").mkdir()
    result = make_result([class_score([9, 8, 7, 6])]).save(tmp_path / "r")
    again = ["bench", "submit", str(result), "--out", str(tmp_path / "f"), *flags]
    assert main([*again, "--data", str(dataset)]) == 2
    assert "has no population fixed" in capsys.readouterr().err and not list((tmp_path / "f").iterdir())
    assert main([*again, "--hardware", "here"]) == 2 and "leave it away" in capsys.readouterr().err
    assert main(again) == 0 and "not checked on data" in capsys.readouterr().out
