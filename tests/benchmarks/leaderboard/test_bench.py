"""``nws bench`` as a person runs it, on a dataset that the real writer wrote."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from baselines.method import MethodError
from baselines.reading.saved import load
from benchmarks.leaderboard.files.results import Result
from benchmarks.leaderboard.runs.plans import choose_methods, make_plans, recorded_options
from benchmarks.leaderboard.runs.runner import _jobs, run_all
from nws_data.cli import main
from nws_data.errors import NWSError
from nws_data.progress import progress_bar
from nws_data.space.identity import split_of, training_id
from nws_data.tasks.predictions import Predictions
from nws_data.tasks.task import load_task
from tests.processes import Process

TASK = "local/dataset@100"
METHOD = '''
import numpy as np
from baselines.method import Method

class Sign(Method):
    """Two classes by the sign of the mean weight; ``turned`` gives the other one."""

    def __init__(self, seed: int = 0, turned: bool = False, folder: str = "here") -> None:
        super().__init__(seed)
        self.turned, self.folder = turned, folder

    def fit(self, task):
        self.n_parameters, self.training_s = 1, 1000.0
        print("fit", task.name, self.seed)

    def predict(self, view):
        means = np.array([float(view[i][0].mean()) for i in range(len(view))])
        return ((means > 0) != self.turned).astype(np.int64)
'''


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def bench(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Run]:
    """``nws bench run`` in a folder of its own that holds ``mine.py``; returns status and output."""
    (tmp_path / "mine.py").write_text(METHOD)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main(["bench", "run", "--data", str(dataset), "--out", "results", *arguments])
        out, error = capsys.readouterr()
        return status, out, error

    yield run


def one_result(folder: str = "results") -> Result:
    (path,) = Path(folder).rglob("*.json")
    return Result.load(path)


@pytest.mark.slow
def test_a_run_writes_a_result_that_the_board_takes(bench: Run, dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = bench("--task", TASK, "--method", "mine.py:Sign", "--seeds", "2", "--predictions", "kept")
    assert status == 0, out
    assert f"{TASK}, mine.py:Sign: 100.0 [" in out
    result = one_result()
    assert result.summary["accuracy"]["mean"] == 1.0 and result.seeds == (0, 1) and result.n_parameters == 1
    assert {run.fit_s for run in result.runs} == {1000.0}  # as of a run that went on from a checkpoint
    source = hashlib.sha256(METHOD.encode()).hexdigest()[:12]
    assert result.options == {"turned": False, "folder": "here", "source": source} and result.official
    task = load_task(TASK, dataset)
    assert result.data_digest == task.data_digest and result.summary["chance"] == task.chance
    files = sorted(Path("kept").iterdir())
    assert len(files) == 2
    assert task.evaluate(Predictions.load(files[0])) == result.runs[0].score
    assert not any(path.name.startswith(".") for path in Path("results").rglob("*"))
    board = ["bench", "board", "results", "--data", str(dataset)]
    assert main(board) == 0
    assert "1 result, checked against" in capsys.readouterr().out
    text = Path("results/board.md").read_text()
    assert "| 2, all equal | 100.0 |" in text and "Z | counts |" in text
    assert main([*board, "--predictions", "kept"]) == 0
    assert "Z | predictions |" in Path("results/board.md").read_text()
    assert main(["bench", "board", "results", "--predictions", "kept"]) == 2 and "by --data" in capsys.readouterr().err
    shutil.copyfile(files[0], files[1])  # equal predictions: nobody can tell
    assert main([*board, "--predictions", "kept"]) == 0
    bench("--task", TASK, "--method", "majority", "--seeds", "1", "--predictions", "kept")
    shutil.copyfile(next(Path("kept").glob("*majority*")), files[1])
    assert main([*board, "--predictions", "kept"]) == 2 and "another file" in capsys.readouterr().err
    files[0].unlink()
    assert main([*board, "--predictions", "kept"]) == 0  # seed 0 cannot be scored again: from counts
    assert "Z | counts |" in Path("results/board.md").read_text()


@pytest.mark.slow
def test_fitted_classifiers_are_kept(bench: Run, dataset: Path) -> None:
    call = ("--task", TASK, "--method", "logistic-16", "--seeds", "1")
    status, out, _ = bench(*call, "--keep", "classifiers")
    assert status == 0, out
    (path,) = Path("classifiers").iterdir()
    assert path.name.startswith("local.dataset@100--logistic-16-") and path.name.endswith("--seed0.skops")
    task, kept = load_task(TASK, dataset), load(path)
    assert kept.spec.name == TASK and kept.data_digest == task.data_digest and kept.method.length == 100
    score = task.evaluate(kept.method.predict(task.test))
    assert score == one_result().runs[0].score
    path.unlink()
    assert "its classifiers were not written, --again writes them" in bench(*call, "--keep", "classifiers")[1]
    status, _, error = bench("--task", TASK, "--method", "mine.py:Sign", "majority", "--keep", "classifiers")
    assert status == 2 and "cannot be kept in a file; those that can are" in error


@pytest.mark.slow
def test_what_is_there_is_skipped_unless_asked_again_or_damaged(bench: Run) -> None:
    call = ("--task", TASK, "--method", "mine.py:Sign", "--seeds", "1")
    assert bench(*call)[1].count("fit ") == 1
    status, out, _ = bench(*call)
    assert status == 0 and "there already (local.dataset@100/mine.py.Sign-" in out and "fit " not in out
    assert bench(*call, "--again")[1].count("fit ") == 1
    status, out, _ = bench("--task", TASK, "--method", "mine.py:Sign", "--seeds", "2")
    assert out.count("fit ") == 2 and "of 1 seeds" in out and one_result().seeds == (0, 1)
    assert "fit " not in bench(*call)[1]  # fewer seeds are among those that are there
    (path,) = Path("results").rglob("*.json")
    path.write_text("{}")
    status, out, _ = bench(*call)
    assert out.count("fit ") == 1 and "was not valid: not a result file" in out
    bench(*call, "--option", "turned=true")
    assert len(list(Path("results").rglob("*.json"))) == 2


@pytest.mark.slow
def test_what_draws_nothing_is_fitted_once(bench: Run) -> None:
    call = ("--task", TASK, "--method", "majority", "mine.py:Sign", "--seeds", "3", "--option", "turned=true")
    status, out, _ = bench(*call)  # an option goes to the method that has it
    assert status == 0 and out.count("fit ") == 3, out
    found = {result.method: result for result in map(Result.load, Path("results").rglob("*.json"))}
    assert {name: result.seeds for name, result in found.items()} == {"majority": (0,), "mine.py:Sign": (0, 1, 2)}
    assert found["majority"].options == {} and found["mine.py:Sign"].options["turned"] is True
    assert bench(*call)[1].count("there already") == 2


@pytest.mark.slow
def test_results_go_beside_the_dataset(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "nws").symlink_to(dataset)
    monkeypatch.chdir(tmp_path)
    run = ["bench", "run", "--task", TASK, "--method", "majority"]
    assert main(run) == 0 and "runs are in nws-results. Next: nws bench board nws-results" in capsys.readouterr().out
    assert main(["bench", "board"]) == 0 and "nws-results/board.md" in capsys.readouterr().out
    assert main([*run, "--data", str(tmp_path / "nws")]) == 0 and "there already" in capsys.readouterr().out
    assert main(["bench", "board", "--data", str(tmp_path / "nws")]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["nws", "nws-results"]


@pytest.mark.slow
def test_folds_are_pooled_over_trainings_and_an_interrupted_run_goes_on(
    bench: Run, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks.leaderboard.runs import runner

    real, calls = runner.load_task, []

    def interrupted(name: str, root: Path, **seed: int) -> object:
        calls.append(name)
        if len(calls) == 7:  # a fit reads its task twice: for the method and for the score
            raise KeyboardInterrupt
        return real(name, root, **seed)

    call = ("--task", TASK, "--method", "mine.py:Sign", "--seeds", "1", "--folds")
    with monkeypatch.context() as patched:
        patched.setattr(runner, "load_task", interrupted)
        status, out, error = bench(*call)
    assert status == 130 and out.count("fit ") == 3 and "run the same command again to go on" in error
    assert list(Path("results").glob("[!.]*/*.json")) == []
    status, out, _ = bench(*call)
    assert status == 0 and out.count("fit ") == 2  # folds 0 to 2 are kept
    result = one_result()
    tested = [t for fold in range(5) for t in load_task(f"{TASK}/fold={fold}", dataset).test.data["training"].tolist()]
    assert list(result.runs[0].score.trainings) == sorted(tested) and len(set(tested)) == len(tested)
    assert result.folds == 5 and not result.official and len(result.runs[0].predictions_sha256) == 5
    assert main(["bench", "board", "results", "--data", str(dataset)]) == 0
    assert "Unofficial: five folds" in Path("results/board.md").read_text()


@pytest.mark.slow
def test_what_cannot_run_is_reported_and_the_others_go_on(bench: Run) -> None:
    tasks = ("local/initialization", "global/optimizer", TASK)
    status, out, error = bench("--task", *tasks, "--method", "majority", "svm-linear-480", "--seeds", "1")
    assert status == 1
    assert "not available: task local/initialization is not available: it needs 5 trainings" in error
    assert "needs the population fixed" in error
    assert f"{TASK}, majority: 50.0 [" in out and "1 of 3 runs are in results" in out  # 480 features need whole vectors
    status, out, _ = bench("--task", "local-*/dataset", "--method", "maj*", "--seeds", "1")
    assert status == 0 and "local-conv/dataset, majority" in out and "local-fc/dataset, majority" in out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--task", "local/nothing", "--method", "majority"), "target of local: got 'nothing'"),
        (("--task", "ocal/*", "--method", "majority"), "0 tasks match 'ocal/*'"),
        (("--task", TASK, "--method", "magic"), "method: got 'magic'; choose one of"),
        (("--task", TASK, "--method", "magic-*"), "no method matches 'magic-*'"),
        (("--task", TASK, "--method", "absent.py:Mine"), "No such file"),
        (("--task", TASK, "--method", "mine.py:Other"), "has no class of methods 'Other'"),
        (("--task", TASK, "--method", "mine.py:Sign", "--option", "depth=3"), "got 'depth'; choose one of turned, folder"),
        (("--task", TASK, "--method", "majority", "length", "--option", "a=3"), "option of majority, length: got 'a'"),
        (("--task", TASK, "--method", "dmc-short", "--option", "budget=paper"), "option budget of dmc-short is fixed"),
        (("--task", TASK, "--method", "svm-linear"), "got 'svm-linear' (did you mean svm-linear-16?); choose one of dmc,"),
        (("--task", TASK, "--method", "mine.py:Sign", "--option", "turned=perhaps"), "option turned must be true or false"),
        (("--task", TASK, "--method", "mine.py:Sign", "--option", "turned"), "--option takes KEY=VALUE"),
        (("--task", TASK, "--method", "majority", "--seeds", "0"), "--seeds must be in [1, 1000], got 0"),
        (("--task", TASK, "--method", "majority", "--seeds", "1001"), "--seeds must be in [1, 1000], got 1001"),
        (("--task", TASK, "--method", "majority", "--out", "/dev/null/x"), "cannot write into /dev/null/x"),
        (("--task", TASK, "--method", "svm-linear-480"), "none of these methods fits these tasks"),
        (("--task", f"{TASK}/fold=1", "--method", "majority", "--folds"), "give the name without /fold="),
        (("--task", TASK, "--method", "majority", "--data", "nowhere"), "no manifest.json"),
    ],
)
def test_bad_input_is_named_without_a_traceback(bench: Run, arguments: tuple[str, ...], reason: str) -> None:
    status, _, error = bench(*arguments)
    assert status == 2 and error.startswith("nws: ") and reason in error and "Traceback" not in error
    assert not Path("results").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        (("test", "trainings"), None, "test.trainings["),
        (("data_digest",), "c" * 64, "data_digest is cccccccccccc"),
    ],
)
def test_results_that_do_not_fit_the_dataset_are_refused(
    bench: Run, dataset: Path, capsys: pytest.CaptureFixture[str], place: tuple[str, ...], value: str | None, reason: str
) -> None:
    from benchmarks.leaderboard.files.json_text import digest

    bench("--task", TASK, "--method", "majority", "--seeds", "1")
    (path,) = Path("results").rglob("*.json")
    content = json.loads(path.read_text())
    if value is None:  # another training in the place of the first: consistent in itself
        there = content["test"]["trainings"]
        ids = (training_id("random", index) for index in range(1000))
        other = next(i for i in ids if i not in there and split_of(i) == "test")
        content["test"]["trainings"] = sorted([*there[1:], other])
    else:
        content[place[0]] = value
    path.write_text(json.dumps(content | {"sha256": digest(content)}))
    assert main(["bench", "board", "results"]) == 0  # nothing is wrong inside the file
    shutil.rmtree("board", ignore_errors=True)
    assert main(["bench", "board", "results", "--data", str(dataset), "--out", "board"]) == 2
    assert reason in capsys.readouterr().err and not Path("board").exists()


@pytest.mark.slow
def test_only_predictions_show_that_kendalls_tau_was_raised(
    bench: Run, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks.leaderboard.files.json_text import digest

    task = ("--task", "regress-local/learning_rate@100", "--method", "ridge-16", "--seeds", "1", "--folds")
    assert bench(*task, "--predictions", "kept")[0] == 0
    (path,) = Path("results").rglob("*.json")
    content = json.loads(path.read_text())
    content["runs"][0]["score"]["kendall_tau"] = content["summary"]["kendall_tau"]["mean"] = 0.75
    path.write_text(json.dumps(content | {"sha256": digest(content)}))
    board = ["bench", "board", "results", "--data", str(dataset)]
    assert main(board) == 0
    assert main([*board, "--predictions", "kept"]) == 2
    assert "score of seed 0.kendall_tau is 0.75, but" in capsys.readouterr().err


def test_a_name_that_no_result_may_have_is_refused_before_anything_runs(tmp_path: Path) -> None:
    path = tmp_path / "my method.py"
    path.write_text(METHOD)
    with pytest.raises(NWSError, match=r"at most 100 letters.*rename 'my method.py:Sign'"):
        choose_methods([f"{path}:Sign"])
    path = path.rename(tmp_path / "my_method.py")
    assert choose_methods([f"{path}:Sign"]) == [f"{path}:Sign"]


def test_an_empty_folder_of_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "board", str(tmp_path)]) == 2
    assert "no result files (*.json); make some with nws bench run" in capsys.readouterr().err
    assert main(["bench", "board", str(tmp_path / "absent")]) == 2


def test_the_list_of_methods(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "methods"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("method") and "\nmajority " in out and "package.module:Class" in out
    assert max(map(len, out.splitlines())) <= 80
    assert "svm-linear-16, svm-linear-480, svm-linear-kernels\n    cache=True, penalty=1.0, max_iter=5000\n" in out
    assert "logistic-480        logistic regression, 480 features of layers (only whole\n" in out


ODD = """
import os
from pathlib import Path
import numpy as np
from baselines.method import Method

class Odd(Method):
    def __init__(self, seed: int = 0, how: str = "", folder: Path | None = None) -> None:
        super().__init__(seed)
        self.how, self.folder = how, folder

    def fit(self, task):
        self.folder.mkdir(parents=True)
        print("folder", self.folder)
        os.chdir("/")
        if self.how == "boom":
            raise ValueError("boom")
        if self.how == "exit":
            raise SystemExit(3)
        self.n_parameters = np.int64(5) if self.how == "cheat" else -1
        self.task = task

    def predict(self, view):
        self.task.test.row_labels[:] = 0
        return np.zeros(len(view), np.int64)
"""


@pytest.mark.slow
def test_a_failing_method_is_named_and_a_cheat_is_scored_on_the_truth(bench: Run) -> None:
    Path("odd.py").write_text(ODD)
    here = Path.cwd()
    for how, note in (
        ("boom", "ValueError: boom (odd.py:17)"),
        ("exit", "SystemExit: 3 (odd.py:19)"),
        ("", "n_parameters must be a whole number in [0, 2^53) or None, got -1"),
    ):
        status, out, error = bench(
            "--task", TASK, "--method", "odd.py:Odd", "--option", f"how={how}", "--seeds", "1", "--out", str(here / "out")
        )
        os.chdir(here)
        shutil.rmtree(here / "out")
        assert status == 1 and f"failed: {note}" in error and "Traceback" not in error
    status, out, _ = bench("--task", TASK, "--method", "odd.py:Odd", "--option", "how=cheat", "--seeds", "2")
    os.chdir(here)
    assert status == 0 and out.count(f"folder {here}/results/.unfinished-") == 2
    result = one_result()
    assert result.summary["accuracy"]["mean"] == 0.5 and result.n_parameters == 5
    assert not Path("results/.unfinished").exists() and "folder" not in result.options
    status, out, _ = bench(
        "--task", TASK, "--method", "odd.py:Odd", "--option", "how=cheat", "--seeds", "2", "--predictions", "kept"
    )
    assert "its predictions were not written, --again writes them" in out


@pytest.mark.slow
def test_a_flag_given_twice_adds_and_methods_that_do_not_fit_are_named(bench: Run) -> None:
    call = ("--task", TASK, "--method", "majority", "--method", "svm-linear-480", "--task", "local-fc/dataset@100")
    status, out, error = bench(*call, "--seeds", "1")
    assert status == 0 and "2 of 2 runs" in out and "left out, the method does not fit: svm-linear-480 on " in error


def test_methods_of_one_name_are_told_apart_by_their_source(tmp_path: Path) -> None:
    found = []
    for folder, text in (("a", METHOD), ("b", METHOD + "\n# edited\n"), ("c", METHOD)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(text)
        found.append(recorded_options(f"{tmp_path / folder / 'mine.py'}:Sign", {}))
    assert found[0] == found[2] != found[1] and found[1]["source"] != found[0]["source"]
    assert "source" not in recorded_options("majority", {}) and "source" not in recorded_options("dmc", {})
    with pytest.raises(MethodError, match="learning_rate"):
        recorded_options("dmc", {"learning_rate": "nan"})


@pytest.mark.slow
def test_data_that_change_during_the_run_are_refused(dataset: Path) -> None:
    from benchmarks.leaderboard.runs.runner import load_same

    with pytest.raises(NWSError, match="the dataset changed during the run"):
        load_same(TASK, dataset, 0, "0" * 64)


def _run_majority(tasks: list[str], root: Path, out: Path) -> None:
    for one in run_all(make_plans(tasks, ["majority"], {}, seeds=1, folds=False), root, out, bar=progress_bar()):
        print(one.skipped, one.note)


@pytest.mark.slow
def test_workers_give_the_results_of_one_process(bench: Run) -> None:
    call = ("--task", TASK, "local/dataset@101", "--method", "mine.py:Sign", "majority", "--seeds", "2")
    found = []
    for workers in "12":
        status, out, _ = bench(*call, "--workers", workers)
        assert status == 0 and "4 of 4 runs are in results" in out
        results = {path.name: Result.load(path) for path in Path("results").rglob("*.json")}
        found.append({name: [replace(run, fit_s=0.0, predict_s=0.0) for run in r.runs] for name, r in results.items()})
        shutil.rmtree("results")
    assert len(found[0]) == 4 and found[0] == found[1]
    status, _, error = bench(*call, "--workers", "0")
    assert status == 2 and "--workers must be in [1, 256], got 0" in error


def test_runs_that_share_checkpoints_stay_in_one_process(tmp_path: Path) -> None:
    options = ({"folder": str(tmp_path)}, {"folder": str(tmp_path), "batch_statistics": "true"})
    tasks = ["local/dataset@5000", "local/optimizer@5000"]
    plans = [*make_plans(tasks, ["majority"], {}, 1, False)]
    plans += [plan for given in options for plan in make_plans(tasks, ["dmc-asinh-short"], given, 1, False)]
    assert _jobs(plans) == [[plans[0]], [plans[1]], [plans[2], plans[4]], [plans[3], plans[5]]]


@pytest.mark.slow
def test_two_processes_share_a_folder_of_results_and_both_end_well(dataset: Path, tmp_path: Path) -> None:
    """What one has finished and removed, the other does not miss; a run that both are at is made once."""
    tasks = [f"local/dataset@{length}" for length in range(100, 110)]
    both = [Process(_run_majority, tasks, dataset, tmp_path) for _ in range(2)]
    assert [one.wait(120) for one in both] == [0, 0], [one.printed() for one in both]
    lines = [line for one in both for line in one.printed().splitlines() if "another process works" not in line]
    assert sorted(lines) == ["False "] * len(tasks) + ["True "] * len(tasks)
    assert len(list(tmp_path.rglob("*.json"))) == len(tasks)
    assert not any(path.name.startswith(".") for path in tmp_path.rglob("*"))
