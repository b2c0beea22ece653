"""The paper's claims, each beside what the figures of a dataset say of it, in a table.

Source: Eilertsen et al. 2020, the sections that stand beside each claim.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.findings import claim_checks as by
from benchmarks.findings.claim_checks import FAILS, HOLDS, OF_POPULATIONS, OPEN, Evidence, Finding
from benchmarks.findings.source import MissingDataError, Source
from benchmarks.findings.tables import Tables
from nws_data.atomic import write_bytes


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper, where it stands, and how it is checked."""

    text: str
    paper: str
    check: Callable[[Evidence], Finding]


CLAIMS = (
    Claim("Initialization is the most influential on accuracy, then activation and optimizer", "4.2, Figure 1", by.spans),
    Claim("Glorot initialization is far better than constant and normal", "D", by.contrast("glorot", "not glorot")),
    Claim("ELU is slightly better than ReLU", "D", by.contrast("activation == 'elu'", "activation == 'relu'")),
    Claim(
        "ReLU and ELU are better than sigmoid and tanh",
        "D",
        by.contrast("activation in ['relu', 'elu']", "activation in ['sigmoid', 'tanh']"),
    ),
    Claim("Constant initialization with sigmoid is the worst pair", "A.3, Figure 9", by.worst_pair),
    Claim(
        "With other initialisations sigmoid is better than tanh",
        "A.3, Figure 9",
        by.contrast("not constant and activation == 'sigmoid'", "not constant and activation == 'tanh'"),
    ),
    Claim(
        "Under Glorot initialization momentum is on par with Adam and RMSprop",
        "D, Figure 10",
        by.contrast("glorot and optimizer == 'momentum'", "glorot and optimizer != 'momentum'", close=True),
    ),
    Claim(
        "Under other initialisations Adam and RMSprop are better than momentum",
        "D, Figure 10",
        by.contrast("not glorot and optimizer != 'momentum'", "not glorot and optimizer == 'momentum'"),
    ),
    Claim(
        "Augmentation helps under Glorot initialization",
        "A.3, Figure 11",
        by.contrast("glorot and augmentation", "glorot and not augmentation"),
    ),
    Claim(
        "Augmentation harms under other initialisations",
        "A.3, Figure 11",
        by.contrast("not glorot and not augmentation", "not glorot and augmentation"),
    ),
    Claim("Wider convolutional layers are better (48 against 16)", "4.2", by.of_converged("width_conv", 48, 16)),
    Claim("Wider fully connected layers are better (192 against 64)", "4.2", by.of_converged("width_fc", 192, 64)),
    Claim("Fewer fully connected layers are better (3 against 5)", "4.2", by.of_converged("depth_fc", 3, 5)),
    Claim("Accuracies have two modes, failures and successes", "C, Figure 8", by.two_modes),
    Claim("Failures peak at 10 and at about 20 %", "C, Figure 8", by.failure_peaks),
    Claim("Coefficients are strongly correlated between image sets", "D, Figure 15", by.correlated),
    Claim("Initialization is told best from whole vectors", "5.2, Figure 2", by.ranked("global", ("initialization",))),
    Claim("Initialization is told best from windows", "5.3, Figure 4", by.ranked("local", ("initialization",))),
    Claim(
        "Activation and optimizer come after it in windows",
        "5.3, Figure 4",
        by.ranked("local", ("activation", "optimizer"), after=("initialization", "filter_size")),
    ),
    Claim("Batch size is the hardest to tell", "5.2, Figure 2", by.hardest),
    Claim(
        "A linear SVM on layer-wise statistics comes near the deep meta-classifier",
        "5.2, Figure 2",
        by.difference("global", "deep less linear", near=True),
    ),
    Claim(
        "On windows the deep meta-classifier is far better than a linear SVM",
        "5.3, Figure 4",
        by.difference("local", "deep less linear"),
    ),
    Claim(
        "The dataset is told better from convolutional than from fully connected weights",
        "5.3, Figure 4",
        by.difference("local", "conv less fc"),
    ),
    Claim("The filter size can be told from fully connected weights", "5.3", by.filter_size),
    Claim(
        "Of windows, SVMs tell the initialization best",
        "5.3, Figure 4",
        by.ranked("local", ("initialization",), methods="svm"),
    ),
    Claim("Logistic regression on statistics is not better than chance", "5.1", by.near_chance),
    Claim(
        "The optimizer is told by the biases of convolutional layers",
        "5.2, Figure 3",
        by.telling("optimizer", "kind", lambda name: name == "conv bias"),
    ),
    Claim(
        "The activation is told by the running means of batch norm in fully connected layers",
        "5.2, Figure 3",
        by.telling("activation", "kind", lambda name: name == "fc mean"),
    ),
    Claim(
        "The dataset is told by the 1 and 99 percentiles of the gradient of the first layer's filters",
        "5.2, Figure 3",
        by.telling("dataset", "feature", lambda name: name in ("conv1.kernel gradient_p1", "conv1.kernel gradient_p99")),
    ),
    Claim("No single layer-wise feature tells the initialization", "5.2, E.2", by.no_single_feature),
    Claim("The initialization is told better by statistics of all weights together", "5.2, Figure 2", by.global_statistics),
    Claim(
        "Of windows, percentiles tell the initialization more than moments",
        "E.2, Figure 17",
        by.telling("initialization", "kind", lambda name: name.startswith("percentiles"), scope="windows"),
    ),
    Claim("First and last layers leave their initialization fastest", "5.3, Figure 5", by.leaves_first),
    Claim("Accuracy grows with the logarithm of the window length", "F.2, Figure 18", by.logarithmic),
    Claim("It grows more steeply for activation than for dataset", "F.2, Figure 18", by.steeper),
    Claim("Norm values and biases are not what carries the information", "F.3, Figure 19", by.not_the_norm),
)
"""The claims that a dataset can test, in the paper's order."""


def check_claims(source: Source, tables: dict[str, Tables]) -> list[tuple[Claim, Finding]]:
    """Return each claim with what the figures' tables and the trainings say of it."""
    evidence, found = Evidence(source, tables), []
    for claim in CLAIMS:
        try:
            found.append((claim, claim.check(evidence)))
        except MissingDataError as error:
            found.append((claim, Finding(str(error), OPEN)))
    return found


def write_claims(found: list[tuple[Claim, Finding]], path: Path) -> None:
    """Write the claims as a Markdown table."""
    write_bytes(path, _table([[c.text, c.paper, f.found, f.verdict, f.evidence] for c, f in found]).encode())


def merged_claims(before: str, now: str) -> str:
    """Return two tables of claims as one: what is found ``now``, or before, where that says more.

    That is where data are missing now, or where either population can tell a claim and the other one had more trainings.
    """
    old = {row[0]: row for row in _rows(before)}
    return _table([old[row[0]] if row[0] in old and _says_more(old[row[0]], row) else row for row in _rows(now)])


def _says_more(before: list[str], now: list[str]) -> bool:
    if now[3:] == [OPEN, ""]:
        return True
    sizes, populations = zip(*(row[4].partition(OF_POPULATIONS)[::2] for row in (before, now)), strict=True)
    n_before, n_now = (sum(map(int, re.findall(r"\d+", size.replace(",", "")))) for size in sizes)
    of_before, of_now = (set(names.split(" and ")) for names in populations)
    return bool(populations[0]) and of_before.isdisjoint(of_now) and n_before > n_now


def _rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[4:]]


def _table(rows: list[list[str]]) -> str:
    counts = {verdict: sum(row[3] == verdict for row in rows) for verdict in (HOLDS, FAILS, OPEN)}
    lines = [
        f"{counts[HOLDS]} of {len(rows)} claims hold on this data, {counts[FAILS]} fail, {counts[OPEN]} cannot be told.",
        "",
        "| claim | paper | here | verdict | evidence |",
        "|---|---|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
    return "\n".join(lines) + "\n"
