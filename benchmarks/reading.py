"""How well does ``nws read`` know what it says? Measured on networks that no classifier was fitted on.

    nws build --population random --trainings 200 --images mnist fashion_mnist cifar10 --train-images 1000 \\
        --test-images 300 --epoch-cap 20 --out nws
    python -m benchmarks.reading --data nws --images fashion_mnist --held cifar10 --out reading

Three kinds of networks, each at its end: a fifth of the trainings (fold 0), which the classifiers were not fitted on; all of
an image set that they were fitted without; and networks trained here by plain PyTorch, outside of the builder: PyTorch's own
initialisation, flattening and optimizers, no augmentation, with and without batch norm. Finished parts are kept in the
folder: the same command goes on. Of each hyper-parameter: networks, share of those it cannot tell, share of those that are
far, accuracy of the answers, accuracy and expected calibration error of all probabilities whatever was answered, and chance.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn, optim
from torchmetrics.functional.classification import multiclass_calibration_error

import nws_data
from baselines.reading.checkpoint import Checkpoint, load_checkpoint
from baselines.reading.read import read_network
from baselines.reading.saved import SUFFIX, Classifier, classifier_of, load, save
from baselines.registry import make_method
from baselines.shallow import FeatureMethod
from builders.images.arrays import ImageArrays
from builders.images.sources import load_images
from nws_data.atomic import atomic_file, write_bytes
from nws_data.errors import NWSError, TaskNotAvailableError
from nws_data.progress import progress_bar
from nws_data.space.hyperparameters import CLASSES
from nws_data.tasks.task import load_task

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "elu": nn.ELU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}
OPTIMIZERS: dict[str, Any] = {"adam": optim.Adam, "rmsprop": optim.RMSprop, "momentum": partial(optim.SGD, momentum=0.95)}
Truth = dict[str, str]
"""Hyper-parameters by name, as text."""
Networks = Iterator[tuple[Classifier, Checkpoint, Truth]]
Row = tuple[np.ndarray, int, int | None, bool]
"""Of a network: probabilities of the classes, the true class, the class answered, and whether the network is far."""


def classifiers(data: Path, out: Path, method: str, length: int, held: str | None) -> list[Classifier]:
    """Return the classifiers of windows of all hyper-parameters, fitted without an image set if one is held; keep them."""
    found = []
    names = [name for name in CLASSES if held is None or name != "dataset"]
    for target in progress_bar(iterable=names, desc=f"fit, without {held}" if held else "fit"):
        family, rest = ("ood-local", f"/held={held}") if held else ("local", "")
        name, path = f"{family}/{target}@{length}{rest}/threshold=0/fold=0", out / f"{target}{SUFFIX}"
        if not path.exists():
            try:
                task = load_task(name, data)
            except TaskNotAvailableError as error:
                print(f"{name} is not available: {error.short}")
                continue
            fitted = make_method(method)
            fitted.fit(task)
            if not isinstance(fitted, FeatureMethod):
                raise NWSError(f"{method} is no method on statistics")
            save(classifier_of(fitted, method, {}, task), path)
        found.append(load(path))
    return [one for one in found if one.calibration is not None]


def of_dataset(data: Path, readers: Sequence[Classifier], held: str | None) -> Networks:
    """Yield each classifier with the networks of its task's test side, or with all of the image set held out."""
    for one in readers:
        if held is None:
            rows = load_task(one.spec.name, data).test.data
        else:
            rows = nws_data.open(data, "random").select(dataset=held, finite=True, last=1)
        for i in range(len(rows)):
            checkpoint = Checkpoint(np.asarray(rows.vector(i)), int(rows["n_weights_conv"][i]), ())
            yield one, checkpoint, {one.spec.target: str(rows[one.spec.target][i])}


def of_torch(folder: Path, readers: Sequence[Classifier]) -> Networks:
    """Yield each classifier with the networks of :func:`train_plainly`."""
    for path in sorted(folder.glob("*.pt")):
        truth, checkpoint = json.loads(path.with_suffix(".json").read_text(encoding="utf-8")), load_checkpoint(path)
        yield from ((one, checkpoint, truth) for one in readers)


def train_plainly(images: ImageArrays, folder: Path, epochs: int) -> None:
    """Train 48 networks by plain PyTorch and keep their state dicts; those that are there already are not trained again.

    All pairs of optimizer and activation, each with batch norm and without, at two batch sizes; learning rate 0.002.
    """
    inputs = torch.from_numpy(images.train_images[:1000].copy()).float() / 255
    labels = torch.from_numpy(images.train_labels[:1000].astype(np.int64))
    choices = itertools.product(CLASSES["optimizer"], ACTIVATIONS, (32, 128), (True, False))
    for i, (optimizer, activation, batch, norm) in enumerate(progress_bar(iterable=list(choices), desc="PyTorch")):
        path = folder / f"{i:03d}.pt"
        if path.exists():
            continue
        torch.manual_seed(i)
        width, size = (16, 32, 48)[i % 3], (3, 5, 7)[i // 3 % 3]
        network = plain_network(width, size, 128, ACTIVATIONS[activation], norm)
        _train(network, inputs, labels, optimizer, batch, epochs)
        truth = {"optimizer": optimizer, "activation": activation, "batch_size": batch, "augmentation": False}
        truth |= {"dataset": images.name, "filter_size": size, "width_conv": width, "depth_conv": 3, "depth_fc": 3}
        truth |= {"width_fc": 128}
        write_bytes(path.with_suffix(".json"), json.dumps({key: str(value) for key, value in truth.items()}).encode())
        with atomic_file(path) as stream:
            torch.save(network.state_dict(), stream)


def plain_network(width: int, size: int, hidden: int, activation: Callable[[], nn.Module], norm: bool) -> nn.Sequential:
    """Return three convolutions and three linear layers as most people write them."""
    layers: list[nn.Module] = []
    for n_in, n_out in itertools.pairwise((3, width // 4, width // 2, width)):
        layers += [nn.Conv2d(n_in, n_out, size, padding="same"), *([nn.BatchNorm2d(n_out)] if norm else [])]
        layers += [activation(), nn.MaxPool2d(2)]
    layers.append(nn.Flatten())
    for n_in, n_out in itertools.pairwise((width * 16, hidden, hidden // 2)):
        layers += [nn.Linear(n_in, n_out), *([nn.BatchNorm1d(n_out)] if norm else []), activation()]
    return nn.Sequential(*layers, nn.Linear(hidden // 2, 10))


def _train(network: nn.Module, inputs: Tensor, labels: Tensor, optimizer: str, batch: int, epochs: int) -> None:
    step = OPTIMIZERS[optimizer](network.parameters(), lr=0.002)
    for _ in range(epochs):
        for chosen in torch.randperm(len(inputs)).split(batch):
            step.zero_grad()
            F.cross_entropy(network(inputs[chosen]), labels[chosen]).backward()
            step.step()


def measured(networks: Networks) -> dict[str, dict[str, float]]:
    """Return the numbers by hyper-parameter, and under ``all`` those of all together."""
    rows: dict[str, list[Row]] = {}
    for one, checkpoint, truth in networks:
        target, names = one.spec.target, [str(value) for value in one.classes]
        if truth.get(target) not in names:
            continue  # such as an initialisation that Table 1 does not have
        (reading,) = read_network(checkpoint, [one])
        if reading.probabilities:
            shares = np.array(list(reading.probabilities.values()))
            answer = None if reading.answer is None else names.index(reading.answer)
            far = reading.why.startswith("far")
            rows.setdefault(target, []).append((shares, names.index(truth[target]), answer, far))
    found = {target: _numbers(some) for target, some in rows.items()}
    every = [row for some in rows.values() for row in some]
    return found | ({"all": _numbers(every) | {"chance": float("nan")}} if every else {})


def _numbers(rows: list[Row]) -> dict[str, float]:
    every_share, every_label, answers, far = zip(*rows, strict=True)
    width = max(map(len, every_share))
    shares, labels = np.stack([np.pad(row, (0, width - len(row))) for row in every_share]), np.array(every_label)
    right = [answer == label for answer, label in zip(answers, labels, strict=True) if answer is not None]
    return {
        "networks": len(rows),
        "cannot_tell": 1 - len(right) / len(rows),
        "far": float(np.mean(far)),
        "accuracy_of_answers": float(np.mean(right)) if right else float("nan"),
        "accuracy_of_all": float((shares.argmax(axis=1) == labels).mean()),
        "calibration_error": multiclass_calibration_error(torch.tensor(shares), torch.tensor(labels), width, 10).item(),
        "chance": float(np.bincount(labels).max() / len(labels)),
    }


def shown(parts: dict[str, dict[str, dict[str, float]]]) -> str:
    """Return the numbers as Markdown tables, in per cent."""
    lines = []
    header = "| hyper-parameter | networks | cannot tell | far | right of answers | right of all | ECE | chance |"
    for part, by_target in parts.items():
        lines += [f"\n{part}\n", header, "|---|---|---|---|---|---|---|---|"]
        for target, found in by_target.items():
            cells = ["" if np.isnan(value) else f"{100 * value:.0f}" for key, value in found.items() if key != "networks"]
            lines.append(f"| {target} | {found['networks']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables and keep them as ``reading.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a dataset with the population random")
    parser.add_argument("--images", required=True, metavar="SOURCE", help="image set for PyTorch, as nws build takes it")
    parser.add_argument("--image-root", type=Path, metavar="DIR", help="torchvision's folder, as nws build takes it")
    parser.add_argument("--held", required=True, metavar="NAME", help="the image set that is held out")
    parser.add_argument("--method", default="boosting-16", help="of the classifiers (default boosting-16)")
    parser.add_argument("--length", type=int, default=2000, help="values of a window (default 2000)")
    parser.add_argument("--epochs", type=int, default=20, help="of the networks by PyTorch (default 20)")
    parser.add_argument("--out", type=Path, required=True, help="folder of classifiers, networks and numbers")
    options = parser.parse_args(arguments)
    images = load_images(options.images, options.image_root)
    kind = f"{options.method}-{options.length}"
    every = classifiers(options.data, options.out / kind, options.method, options.length, None)
    without = classifiers(options.data, options.out / f"{kind}-{options.held}", options.method, options.length, options.held)
    train_plainly(images, options.out / "torch", options.epochs)
    parts: dict[str, Any] = {
        "held-out trainings": measured(of_dataset(options.data, every, None)),
        f"image set {options.held}, fitted without": measured(of_dataset(options.data, without, options.held)),
        "plain PyTorch": measured(of_torch(options.out / "torch", every)),
    }
    write_bytes(options.out / "reading.json", json.dumps(parts, indent=1).encode())
    print(shown(parts))


if __name__ == "__main__":
    main()
