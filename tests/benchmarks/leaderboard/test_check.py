"""``nws bench check`` finds what a method gets wrong, each mistake by its own check, and nothing in a sound one."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.leaderboard.check import probes
from benchmarks.leaderboard.check.miniature import TASKS, write_miniature
from benchmarks.leaderboard.check.probes import CHECKS, Finding, Probe
from benchmarks.leaderboard.check.report import Report, format_report
from benchmarks.leaderboard.runs.plans import make_plans
from nws_data.check.verify import verify
from nws_data.cli import main
from nws_data.tasks.table import FAMILIES, parse_task
from nws_data.tasks.task import load_task

METHODS = '''
import random
import numpy as np
import torch
from baselines.method import Method, MethodError

def look(view):
    weights = view[:][0].numpy()
    return np.stack([np.log(weights.std(axis=1)), weights.mean(axis=1)], axis=1)

class Sound(Method):
    """The nearest class in spread; of numbers a line through the mean."""

    def draws(self, task):
        return False

    def fit(self, task):
        table, labels = look(task.view("train", fixed=True))[:, 0], task.view("train", fixed=True).labels.numpy()
        self.centres = None
        if task.kind == "regression":
            self.line = np.polyfit(look(task.view("train", fixed=True))[:, 1], labels, 1)
        else:
            self.centres = np.array([table[labels == i].mean() for i in range(task.n_classes)])

    def predict(self, view):
        table = look(view)
        if self.centres is None:
            return np.polyval(self.line, table[:, 1])
        return -np.abs(table[:, :1] - self.centres)

class Raises(Sound):
    def fit(self, task):
        raise ValueError("boom")

class Declines(Sound):
    def fit(self, task):
        raise MethodError("not for such tasks")

class Short(Sound):
    def predict(self, view):
        return super().predict(view)[1:]

class Infinite(Sound):
    def predict(self, view):
        return super().predict(view) * np.nan

class NoClass(Sound):
    def predict(self, view):
        return super().predict(view).argmax(axis=1) + 1

class Blind(Sound):
    def predict(self, view):
        return np.zeros(len(view), np.int64)

class Sorts(Sound):
    """Moves scores by an item's place."""
    def predict(self, view):
        return super().predict(view) + 1e-3 * np.arange(len(view))[:, None]

class Scales(Sound):
    """Standardises the items that it is given by their own mean."""
    def predict(self, view):
        found = super().predict(view)
        return found - found.mean()

class Squeezes(Sound):
    """Fails on one item, as torch's squeeze() does."""
    def predict(self, view):
        if len(view) <= 10:
            raise IndexError("too few")
        return super().predict(view)

class Column(Sound):
    """Reads the truth instead of the labels of the training side."""
    def fit(self, task):
        view = task.view("train", fixed=True)
        true = [task.classes.index(value) for value in view.data[task.target][view.rows]]
        super().fit(task)
        table = look(view)[:, 0]
        self.centres = np.array([table[np.array(true) == i].mean() for i in range(task.n_classes)])

class Peeks(Sound):
    """Fits on the test side."""
    def fit(self, task):
        super().fit(task)
        table, labels = look(task.test)[:, 0], task.test.labels.numpy()
        self.centres = np.array([table[labels == i].mean() for i in range(task.n_classes)])

class Nudged(Sound):
    """Is right without the test labels, and lets them move the scores."""
    def fit(self, task):
        super().fit(task)
        self.centres = self.centres + 1e-3 * float(task.test.labels[0])

class Writes(Sound):
    def predict(self, view):
        found = super().predict(view)
        view.row_labels[:] = 0
        return found

class Global(Sound):
    def fit(self, task):
        super().fit(task)
        self.centres = self.centres + 1e-3 * np.random.rand()

class TorchGlobal(Sound):
    def fit(self, task):
        super().fit(task)
        self.centres = self.centres + 1e-3 * float(torch.rand(()))

class Keeps(Sound):
    seen = 0
    def fit(self, task):
        super().fit(task)
        self.seen += 1
        self.centres = self.centres + 1e-3 * self.seen

class Claims(Sound):
    """Says that it draws nothing."""
    def fit(self, task):
        super().fit(task)
        self.centres = self.centres + 1e-3 * self.seed

class Ignores(Sound):
    def draws(self, task):
        return True

    def fit(self, task):
        super().fit(task)
        self.centres = self.centres + 1e-3 * np.random.default_rng(7).random()

class Seeds(Sound):
    def fit(self, task):
        super().fit(task)
        torch.manual_seed(self.seed)
'''

WRONG = {
    "Raises": (probes.RUNS, "ValueError: boom (mine.py:3"),
    "Short": (probes.FORM, "got shape (149, 3)"),
    "Infinite": (probes.FORM, "not finite"),
    "NoClass": (probes.FORM, "labels are not in [0, 2]"),
    "Blind": (probes.SIGNAL, "33.3 % right, chance 33.3 %"),
    "Sorts": (probes.ORDER, "predictions differ, in reverse order"),
    "Scales": (probes.ALONE, "of 7 of the 15 test vectors without the others"),
    "Squeezes": (probes.RUNS, "IndexError: too few"),
    "Column": (probes.LEAK, "100.0 % right"),
    "Peeks": (probes.LEAK, "100.0 % right"),
    "Nudged": (probes.LABELS, "150 of 150 predictions differ"),
    "Writes": (probes.INPUTS, "labels of task.test changed"),
    "Global": (probes.SAME, "150 of 150 predictions differ"),
    "TorchGlobal": (probes.SAME, "150 of 150 predictions differ"),
    "Keeps": (probes.STATE, "fitted on something else before"),
    "Claims": (probes.SEED, "says that the seed changes nothing"),
}
NOTES = {
    "Declines": (probes.RUNS, "declined: not for such tasks"),
    "Ignores": (probes.SEED, "seeds 0 and 1 predict the same"),
    "Seeds": (probes.GLOBAL, "seeds torch"),
}


@pytest.fixture(scope="module")
def miniature(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("miniature")
    (folder / "mine.py").write_text(METHODS)
    write_miniature(folder / "nws")
    return folder


def findings(folder: Path, name: str, task: str = "local/optimizer") -> list[Finding]:
    (plan,) = make_plans([task], [f"{folder / 'mine.py'}:{name}"], {}, seeds=1, folds=False)
    return list(Probe(plan, folder / "nws").findings(with_seed=True))


def test_the_miniature_is_a_sound_dataset_with_every_family(miniature: Path) -> None:
    assert verify(miniature / "nws").problems == ()
    assert [parse_task(task).family.name for task in TASKS] == list(FAMILIES)
    for task in TASKS:
        assert load_task(task, miniature / "nws").official and parse_task(task).name == task


@pytest.mark.parametrize("task", TASKS)
def test_nothing_is_found_in_a_sound_method(miniature: Path, task: str) -> None:
    assert findings(miniature, "Sound", task) == []


@pytest.mark.parametrize("name", [*WRONG, *NOTES])
def test_each_mistake_is_found(miniature: Path, name: str) -> None:
    found = findings(miniature, name)
    check, what = (WRONG | NOTES)[name]
    assert [finding.check for finding in found if finding.check == check], found
    assert what in next(finding.what for finding in found if finding.check == check)
    assert any(finding.wrong for finding in found) == (name in WRONG)
    # Who fits on the test side has read its labels, and who fails on a small view is not asked any more.
    assert {finding.check for finding in found} - {check} <= ({probes.LABELS} if name == "Peeks" else set())


def test_every_check_has_a_method_that_fails_it() -> None:
    assert {check for check, _ in (WRONG | NOTES).values()} == set(CHECKS)


def test_global_generators_are_as_they_were(miniature: Path) -> None:
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    findings(miniature, "Seeds")
    assert before == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())


@pytest.mark.slow
def test_the_command(miniature: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """On links to the miniature that is here already; tests/test_docs.py runs the command with one of its own."""

    def link(root: Path) -> None:
        for path in (miniature / "nws").iterdir():
            (root / path.name).symlink_to(path)

    monkeypatch.setattr("benchmarks.leaderboard.check.report.write_miniature", link)
    task = ["--task", "local/*", "vote/*"]
    assert main(["bench", "check", f"{miniature}/mine.py:Sound", *task]) == 0
    out = capsys.readouterr().out
    assert out.startswith("mine.py:Sound on 2 tasks of a made-up miniature") and "Sound. Next:" in out
    assert main(["bench", "check", f"{miniature}/mine.py:Keeps", *task, "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert {f["task"] for f in report["findings"]} == {"local/optimizer", "vote/optimizer"} and not report["sound"]
    assert report["findings"][0]["what_to_do"] == CHECKS[probes.STATE]


def test_the_report_by_hand() -> None:
    note = Finding(probes.RUNS, "vote/optimizer", "declined: not for such tasks", wrong=False)
    values = {"method": "mine", "tasks": ("local/optimizer", "vote/optimizer"), "seconds": 1.0}
    report = Report(**values, left_out=("global/augmentation",), findings=(note,))
    text = format_report(report)
    assert report.sound and "left out, the method does not fit: global/augmentation" in text
    assert f"{probes.RUNS}  " in text and "look on 1 of 2" in text and "\nruns: vote/optimizer: declined" in text
    wrong = Finding(probes.LEAK, "local/optimizer", "100.0 % right")
    both = Report(**values, left_out=(), findings=(wrong, note))
    assert not both.sound and "wrong on 1 of 2" in format_report(both) and "Sound" not in format_report(both)
    declined = Finding(probes.RUNS, "local/optimizer", "declined: not for such tasks", wrong=False)
    assert not Report(**values, left_out=(), findings=(note, declined)).sound  # nothing was checked


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["magic"], "method: got 'magic'"),
        (["svm-*"], "one method is checked at a time"),
        (["majority", "--task", "global/optimizer"], "the miniature has no global/optimizer; its tasks are global/augm"),
        (["svm-linear-480", "--task", "vote/*"], "fits none of vote/optimizer"),
        (["majority", "--option", "a=3"], "option of majority: got 'a'"),
    ],
)
def test_what_makes_no_sense(arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "check", *arguments]) == 2
    assert reason in capsys.readouterr().err
