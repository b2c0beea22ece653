"""What the board says about its numbers, the same in Markdown and HTML."""

from __future__ import annotations

from benchmarks.leaderboard.board.standings import Section
from benchmarks.leaderboard.files.formats import unit_of
from nws_data.tasks.table import FAMILIES

TITLE = "NWS leaderboard"
INTRODUCTION = (
    "What can be read from the weights of a trained network about how it was trained. Every number is computed from "
    "result files, which hold the counts of each test training."
)
NOTES = (
    "A score is the mean over seeds ± their standard deviation (n - 1): accuracy in % for classes, R² for numbers "
    "(1 is perfect, 0 as good as the mean of the test targets). A score without ± is of one fit: of one seed, or of seeds "
    "that all gave the same counts, as those of a method do that draws nothing.",
    "Methods stand in the order of their mean over the tasks of a table, after all those that have run on more of them.",
    "In brackets: the 95 % interval of the mean for other test trainings. Items of one training belong together, so it is "
    "clustered by training; bars of charts show the same interval. ± says how much the seed matters, the interval how "
    "much the choice of test trainings does.",
    "Chance is the accuracy of guessing the most frequent class of the test items.",
    "The best mean of each task is marked, unless a trivial baseline has it; where intervals overlap, another "
    "method may be as good.",
    "majority, hyperparameters and length are trivial baselines: they look at no weights. They stand apart with chance.",
)
STATUSES = {
    "official": "Official tasks",
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
    "Every result file: what ran, with which options, how long a seed took on which processor, and the commit of the code. "
    "Parameters are fitted values. Seconds were taken on machines that did other work, too; those of methods on features "
    "leave out features that were in the cache, and those of a fit that went on after an interruption what came before it. "
    "\N{LEFT DOUBLE QUOTATION MARK}+ changes\N{RIGHT DOUBLE QUOTATION MARK}: files differed "
    "from the commit. Computed from predictions: prediction files were scored again on the dataset. From counts: they agree "
    "with one another and with what the task's name says. Neither shows that the method made the predictions, nor on which "
    "labels it was fitted: that takes running it again. Seeds that are all equal are one fit, or copies of one."
)


def section_title(section: Section) -> str:
    """Return a table's heading."""
    return f"{section.family}: {FAMILIES[section.family].about} ({unit_of(section.kind)})"
