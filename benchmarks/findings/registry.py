"""The table of figures, in the paper's order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nws_data.space.hyperparameters import Population


@dataclass(frozen=True, kw_only=True)
class FigureEntry:
    """A row of :data:`FIGURES`.

    Its module has ``measure(source) -> {name: table}``, ``draw(tables) -> {name: picture}`` and ``tell(tables) -> text``:
    the numbers, their pictures, and what they show in one or two sentences. Pictures and sentence follow from the tables
    alone, as they come back from their CSV files.
    """

    module: str  # file of this folder
    title: str  # of the section on the page
    paper: str  # which figures of the paper
    found: str  # what the paper found there
    populations: tuple[Population, ...]  # whose trainings it shows: the first that a dataset has
    options: tuple[str, ...] = ()  # attributes of the source that change the numbers, such as ``targets``
    results: bool = False  # whether it reads result files
    explorable: bool = False  # whether there is ``explore(tables) -> html`` too: an interactive page
    fixed: Mapping[str, Any] = field(default_factory=dict)  # options of ``nws figure`` that it has by itself
    asked: bool = False  # made only where it is named, not with ``all``: it trains for long


FIGURES: dict[str, FigureEntry] = {
    "regression": FigureEntry(
        module="regression",
        populations=("random", "fixed"),
        title="Test accuracy from hyper-parameters",
        paper="Figures 1, 14, 15",
        found="Initialization matters most, then activation and optimizer; wider networks do better, more fully connected "
        "layers worse; the coefficients of all image sets are strongly correlated.",
    ),
    "bars": FigureEntry(
        module="bars",
        populations=("fixed",),
        title="What is told from whole networks",
        paper="Figure 2",
        found="From whole weight vectors all hyper-parameters but the batch size are told well, by a linear SVM on "
        "layer-wise statistics not far from the deep meta-classifier.",
        results=True,
    ),
    "bars-windows": FigureEntry(
        module="bars",
        populations=("random",),
        title="What is told from windows",
        paper="Figure 4",
        found="From windows of 5,000 weights a linear SVM is poor and the deep meta-classifier clearly superior; "
        "initialization is told best, then activation and optimizer; dataset better from convolutional than from fully "
        "connected weights.",
        results=True,
    ),
    "importance": FigureEntry(
        module="importance",
        populations=("fixed",),
        title="Which statistics of layers tell",
        paper="Figures 3, 16",
        found="Dataset is told by the 1 and 99 percentiles of the gradient of the first layer's filters, optimizer by "
        "biases of the convolutional layers, activation by the running means of batch norm in the fully connected ones; no "
        "single layer-wise feature tells initialization.",
        options=("targets", "repeats"),
    ),
    "importance-windows": FigureEntry(
        module="importance",
        populations=("random",),
        title="Which statistics of windows tell",
        paper="Figure 17",
        found="Percentiles of values and gradients tell.",
        options=("targets", "repeats"),
    ),
    "map": FigureEntry(
        module="map",
        populations=("random",),
        title="Accuracy over position and training progress",
        paper="Figures 5, 20, 21",
        found="First and last layers leave their initialization fastest, but it stays easy to tell everywhere; "
        "the optimizer is told alike everywhere but for a peak at the first layers; the dataset is told better from "
        "convolutional weights.",
        options=("targets", "method"),
        explorable=True,
    ),
    "map-deep": FigureEntry(
        module="map",
        populations=("random",),
        title="The same of a deep meta-classifier",
        paper="Figures 5, 20, 21",
        found="The paper's maps are those of deep meta-classifiers; initialization is told nearly everywhere.",
        options=("targets", "method"),
        explorable=True,
        fixed={"targets": ("initialization",), "method": "dmc-asinh-short"},
        asked=True,
    ),
    "statistics": FigureEntry(
        module="statistics",
        populations=("random", "fixed"),
        title="How the trainings went",
        paper="Figures 6 to 12",
        found="Two modes of test accuracy, one of failures with peaks at 10 and about 20 %; Glorot initialization is far "
        "better than constant and normal, ELU slightly better than ReLU, constant with sigmoid the worst; momentum keeps up "
        "under Glorot alone; augmentation helps Glorot and harms the rest.",
    ),
    "embedding": FigureEntry(
        module="embedding",
        populations=("fixed",),
        title="Trainings in the plane",
        paper="Figure 13",
        found="Optimizer, activation and initialization show clear patterns; the initialisations lie together; trainings "
        "that fail, many of them with constant initialization and sigmoid, lie in small clusters apart.",
    ),
    "subset-size": FigureEntry(
        module="subset_size",
        populations=("random",),
        title="How many weights it takes",
        paper="Figure 18",
        found="Accuracy grows with the logarithm of the window length, for activation more steeply than for dataset: "
        "activation is the more global property of the weights.",
        results=True,
    ),
    "learning-curve": FigureEntry(
        module="learning_curve",
        populations=("fixed",),
        title="How many networks it takes, whole networks",
        paper="Section 5.2, Supplement C",
        found="The paper's deep meta-classifiers learned from 1,758 whole networks; it shows no smaller numbers.",
        results=True,
    ),
    "learning-curve-windows": FigureEntry(
        module="learning_curve",
        populations=("random",),
        title="How many networks it takes, windows",
        paper="Section 5.3, Supplement C",
        found="The paper's deep meta-classifiers learned from windows of 8,035 networks; it shows no smaller numbers.",
        results=True,
    ),
    "epochs": FigureEntry(
        module="epochs",
        populations=("fixed",),
        title="How many epochs it takes, whole networks",
        paper="Supplement F.1",
        found="The paper's deep meta-classifiers trained for 100 epochs on whole vectors; it shows no fewer.",
        results=True,
    ),
    "epochs-windows": FigureEntry(
        module="epochs",
        populations=("random",),
        title="How many epochs it takes, windows",
        paper="Supplement F.1",
        found="The paper's deep meta-classifiers trained for 500 epochs on windows; it shows no fewer.",
        results=True,
    ),
    "batch-norm": FigureEntry(
        module="batch_norm",
        populations=("random",),
        title="With and without batch norm",
        paper="Figure 19",
        found="Little difference between trainings with and without batch norm, and no significant one when norm values and "
        "biases are removed at evaluation: most information is in filters and fully connected weights.",
        options=("targets", "method", "digest_without_batch_norm"),
    ),
}
"""The figures by name."""
