"""What the board says about its numbers, the same in Markdown and HTML."""

from __future__ import annotations

from benchmarks.leaderboard.board.standings import BUDGETS, Section
from benchmarks.leaderboard.files.formats import unit_of
from nws_data.tasks.table import FAMILIES

TITLE = "NWS leaderboard"
INTRODUCTION = (
    "What can be read from the weights of a trained network about how it was trained. Every number is computed from "
    "result files, which hold the counts of each test training."
)
SUITES = "Suites"
NOTES = (
    "A suite is a fixed list of tasks under a name with a version. Two or more methods that have run on all tasks of a "
    "table are ranked by the mean of their ranks on the tasks, which stands under the place; others have no rank and say on "
    "how many they have run. The win rate, in %, is the share of comparisons with another ranked method on a task that a "
    "method wins; ties count half.",
    "In brackets: 95 % intervals for other test trainings. Items of one training belong together, so they are clustered by "
    "training; those of ranks are of a bootstrap over trainings, the same ones for all methods. Where intervals overlap, "
    "another method may be as good.",
    "A score is the mean over seeds ± their standard deviation (n - 1): accuracy in % for classes, R² for numbers "
    "(1 is perfect, 0 as good as the mean of the test targets). ± says how much the seed matters, the interval how much the "
    "choice of test trainings does. A score without ± is of one fit: of one seed, or of seeds that all gave the same "
    "counts, as those of a method do that draws nothing.",
    "The best mean of each task is marked, unless a trivial baseline has it. majority, hyperparameters and length are "
    "trivial baselines: they look at no weights. They stand apart, without a rank, with chance, the accuracy of guessing "
    "the most frequent class of the test items.",
    "Fit s: seconds of one fit on the hardware of the row, the mean over tasks; under it the budget class, the most that "
    f"such a fit takes: {', '.join(BUDGETS)}. Parameters: fitted values of the largest fit.",
    "All results of a population are over the same data, which its digest names; results over other data are refused. "
    "board.parquet has the results of each test training. Methods marked \N{LEFT DOUBLE QUOTATION MARK}from predictions"
    "\N{RIGHT DOUBLE QUOTATION MARK} were scored again from their prediction files, the others from counts.",
)
STATUSES = {
    "official": "Official tasks in no suite",
    "folds": "Unofficial: five folds",
    "other": "Unofficial: other settings",
    "other-folds": "Unofficial: five folds, other settings",
}
STATUS_NOTES = {
    "official": "Tested on the test split, which a training's id decides.",
    "folds": "For datasets with few test trainings. Trainings of all splits stand in five folds, each tested once: of every "
    "ten trainings two are tested, one is for validation and seven are trained on, by their ids. Only those above the "
    "accuracy threshold count (of regressions all finite ones), with classes balanced within each fold. The counts of the "
    "five folds are pooled. Not comparable with official results.",
    "other": "Single folds, other accuracy thresholds or permuted training labels (a check for leaks: all methods must "
    "fall to chance). Not comparable with official results.",
    "other-folds": "Five folds as in the tables of five folds, but with the accuracy threshold that the task's name says or "
    "with permuted training labels (a check for leaks: all methods must fall to chance). Not comparable with official "
    "results, nor with five folds of official tasks.",
}
DIFFERENCES_NOTE = (
    "Paired differences: accuracy of a method less that of chance and of the trivial baselines on the same test trainings, "
    "in percentage points, the mean over seeds with its 95 % interval clustered by training. Less chance, the interval is "
    "that of the accuracy. No interval where the gain is the same on every training, which shows no spread. Bold where the "
    "interval leaves out 0."
)
RUNS_NOTE = (
    "Every result file: what ran, with which options, how long a fit took on which hardware, and the commit of the code. "
    "Parameters are fitted values. Seconds were taken on machines that did other work, too; those of methods on features "
    "leave out features that were in the cache, and those of a fit that went on after an interruption what came before it. "
    "\N{LEFT DOUBLE QUOTATION MARK}+ changes\N{RIGHT DOUBLE QUOTATION MARK}: files differed "
    "from the commit. Computed from predictions: prediction files were scored again on the dataset. From counts: they agree "
    "with one another and with what the task's name says. Neither shows that the method made the predictions, nor on which "
    "labels it was fitted: that takes running it again. Seeds that are all equal are one fit, or copies of one."
)


def section_title(section: Section) -> str:
    """Return a table's heading."""
    name = section.suite.label if section.suite else section.family
    return f"{name}: {FAMILIES[section.family].about} ({unit_of(section.kind)})"


def status_title(population: str, status: str) -> str:
    """Return the heading of tables outside suites."""
    return f"{STATUSES[status]}, population {population}"
