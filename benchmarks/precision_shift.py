"""Does the precision of training show in the weights? The same plan built in two precisions, compared.

    nws build --population fixed --trainings 120 --images digits --epoch-cap 40 --out A
    nws build --population fixed --trainings 120 --images digits --epoch-cap 40 --precision bfloat16 --out B
    python -m benchmarks.precision_shift A B [--json]

Three answers: the final accuracies, training by training; the conv biases, which batch norm leaves without a true gradient,
so that what they hold is rounding noise (a footprint of the optimizer); and how well a classifier of optimizers does on
the other precision's weights. Test trainings are the same in both: splits follow from the plan.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import nws_data
from baselines.method import Method
from baselines.registry import make_method
from nws_data.errors import SelectionError, TaskNotAvailableError
from nws_data.space.architecture import Architecture
from nws_data.space.hyperparameters import CLASSES
from nws_data.tasks.scores import ClassificationScore
from nws_data.tasks.task import Task
from nws_data.terminal import align

N_FOLDS = 5
_METHODS = ("logistic-16", "logistic-480")


def accuracies(a: nws_data.NWSDataset, b: nws_data.NWSDataset) -> dict[str, float]:
    """Compare final test accuracies: means, and mean and standard error of the differences of the same trainings."""
    columns = ["training", "final_test_accuracy", "n_epochs"]
    both = a.trainings()[columns].merge(b.trainings()[columns], on="training", suffixes=("_a", "_b"))
    difference = both["final_test_accuracy_b"] - both["final_test_accuracy_a"]
    found = {f"mean_{side}": float(both[f"final_test_accuracy_{side}"].mean()) for side in "ab"}
    found |= {"difference": float(difference.mean()), "standard_error": float(difference.sem())}
    return {"trainings": len(both), **found} | {f"epochs_{side}": float(both[f"n_epochs_{side}"].mean()) for side in "ab"}


def conv_biases(data: nws_data.NWSDataset) -> dict[str, dict[str, float]]:
    """Return the median over trainings, by optimizer, of the root mean square of each conv layer's final biases."""
    found: dict[str, list[list[float]]] = {name: [] for name in CLASSES["optimizer"]}
    last = data.select(snapshot=int(data["snapshot"].max()), finite=True)
    architecture = Architecture.of(last.hyperparameters(0))
    layers = [layer for layer in architecture.layers if layer.is_conv]
    for i, optimizer in enumerate(last["optimizer"]):
        vector = last.vector(i)
        found[optimizer].append([float(vector[layer["bias"].slice].square().mean().sqrt()) for layer in layers])
    return {
        optimizer: {layer.name: float(value) for layer, value in zip(layers, np.median(values, axis=0), strict=True)}
        for optimizer, values in found.items()
        if values
    }


def transfer(folders: Sequence[Path], method: str) -> list[list[float]]:
    """Return accuracies ``[trained on][tested on]`` of an optimizer classifier, mean over the folds of the trainings.

    Folds that lack trainings of an optimizer, as in small builds, are left out; raises ``TaskNotAvailableError``
    when all do.
    """
    scores, problem = [], None
    for fold in range(N_FOLDS):
        try:
            tasks = [nws_data.load_task(f"global/optimizer/fold={fold}", folder) for folder in folders]
        except TaskNotAvailableError as error:
            problem = error
            continue
        fitted = [make_method(method, cache=False) for _ in tasks]
        for classifier, task in zip(fitted, tasks, strict=True):
            classifier.fit(task)
        scores.append([[_accuracy(task, one) for task in tasks] for one in fitted])
    if problem is not None and not scores:
        raise problem
    means: list[list[float]] = np.mean(scores, axis=0).tolist()
    return means


def _accuracy(task: Task, method: Method) -> float:
    score = task.evaluate(method.predict(task.test))
    if not isinstance(score, ClassificationScore):
        raise SelectionError(f"{task.name} is no classification task")
    return score.accuracy


def compare(folders: Sequence[Path]) -> dict[str, Any]:
    """Return all three answers for two datasets; raises ``SelectionError`` unless they hold the same trainings."""
    a, b = (nws_data.open(folder, "fixed") for folder in folders)
    if set(a["training"]) != set(b["training"]):
        raise SelectionError(f"{folders[0]} and {folders[1]} hold different trainings; give two builds of one plan")
    report: dict[str, Any] = {
        "folders": [str(folder) for folder in folders],
        "paths": [str(data.trainings()["compute_path"].iloc[0]) for data in (a, b)],
        "precisions": [str(data.trainings()["precision"].iloc[0]) for data in (a, b)],
        "accuracies": accuracies(a, b),
        "conv_biases": [conv_biases(a), conv_biases(b)],
        "transfer": {},
        "no_transfer": None,
    }
    try:
        report["transfer"] = {method: transfer(folders, method) for method in _METHODS}
    except TaskNotAvailableError as error:  # too few good trainings: the other answers stand
        report["no_transfer"] = str(error)
    return report


def render(report: dict[str, Any]) -> str:
    """Return the report as tables."""
    first, second = report["precisions"]
    found = report["accuracies"]
    biases, others = report["conv_biases"]
    rows = [["optimizer", *next(iter(biases.values()))]]
    for optimizer, layers in biases.items():
        other = others.get(optimizer, {})
        rows.append([optimizer, *(f"{rms:.2e} / {other.get(layer, float('nan')):.2e}" for layer, rms in layers.items())])
    lines = [
        f"{found['trainings']} trainings in {first} ({report['paths'][0]}) and in {second} ({report['paths'][1]})",
        f"final test accuracy {found['mean_a']:.4f} and {found['mean_b']:.4f}: difference {found['difference']:+.4f} "
        f"(standard error {found['standard_error']:.4f}); epochs {found['epochs_a']:.1f} and {found['epochs_b']:.1f}",
        f"\nroot mean square of conv biases, median over trainings: {first} / {second}",
        *align(rows),
    ]
    if report["no_transfer"]:
        return "\n".join([*lines, f"\nno classifier: {report['no_transfer']}"])
    lines.append("\naccuracy of an optimizer classifier, mean over folds: trained on (rows), tested on (columns)")
    for method, scores in report["transfer"].items():
        means = ([name, *(f"{value:.3f}" for value in row)] for name, row in zip((first, second), scores, strict=True))
        lines += align([[method, first, second], *means])
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs=2, help="two builds of one plan")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    options = parser.parse_args(arguments)
    report = compare(options.data)
    print(json.dumps(report, indent=1) if options.json else render(report))


if __name__ == "__main__":
    main()
