"""Folders as the authors' scripts of 2020 left them, written here by their description and without the importer.

Variables are arrays as TensorFlow has them: convolutions (height, width, in, out), fully connected (in, out).
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np

COLUMNS = ["dataset", "lrate", "batch_size", "batch_norm", "augmentation", "optimizer", "activation", "initialization"]
COLUMNS += ["filter_size", "depth_conv", "depth_fc", "width_conv", "width_fc"]
SMALL = [3, 3, 2, 4, 64]  # 3 convolutions, 2 hidden layers, 4 channels in the first
FIXED = [5, 3, 2, 8, 128]
Variables = list[list[np.ndarray]]  # of each layer: kernel, bias, beta, gamma, mean, variance


def make_variables(architecture: list[int], rng: np.random.Generator) -> Variables:
    """Draw the variables of a network in the order in which the script creates them."""
    size, n_conv, n_hidden, width, units = architecture
    blocks = {3: [1, 1, 1], 4: [1, 1, 2], 5: [1, 2, 2]}[n_conv]
    channels = [width * 2**block for block, n in enumerate(blocks) for _ in range(n)]
    shapes: list[tuple[int, ...]] = [(size, size, i, o) for i, o in zip([3, *channels], channels, strict=False)]
    sizes = [4 * 4 * channels[-1], *(units // 2**i for i in range(n_hidden)), 20]
    shapes += pairwise(sizes)
    layers = []
    for number, shape in enumerate(shapes):
        n = shape[-1]
        layer = [0.2 * rng.standard_normal(shape), rng.standard_normal(n)]
        if number < len(shapes) - 1:
            layer += [rng.standard_normal(n), rng.normal(1, 0.1, n), rng.standard_normal(n), rng.uniform(0.5, 2, n)]
        layers.append([array.astype(np.float32) for array in layer])
    return layers


def exported(layers: Variables) -> np.ndarray:
    """Return the vector, float64: for each output, for each input, the filter row by row; or the column of each output."""
    values: list[float] = []
    for array in (array for layer in layers for array in layer):
        if array.ndim == 1:
            values.extend(array.tolist())
        for output in range(array.shape[-1]) if array.ndim > 1 else ():
            inputs = range(array.shape[-2]) if array.ndim == 4 else (slice(None),)
            for i in inputs:
                values.extend(array[..., i, output].ravel().tolist())
    return np.array(values, np.float64)


@dataclass
class Training:
    """One training of a made-up release."""

    name: str  # inside the release, such as nws_main/0003
    meta: list[object]
    vectors: np.ndarray  # float64 (20, n)
    errors: np.ndarray  # float64 (evaluations, 5)
    last: Variables
    n_conv: int

    @property
    def accuracies(self) -> np.ndarray:
        """In [0, 1], (evaluations, 3)."""
        return 1 - self.errors[:, 1:4] / 100


@dataclass
class Release:
    """A made-up release in a folder."""

    root: Path
    trainings: dict[str, Training] = field(default_factory=dict)

    def add(self, name: str, meta: dict[str, object], accuracy: float, seed: int, n: int = 26) -> None:
        """Write a training's folder; its test accuracy ends at ``accuracy``, after ``n`` evaluations."""
        rng = np.random.default_rng(seed)
        defaults = ["mnist", rng.uniform(0.0002, 0.005), 64, True, False, 0, 0, 0, *SMALL]
        values = list((dict(zip(COLUMNS, defaults, strict=True)) | meta).values())
        last = make_variables([int(str(v)) for v in values[8:]], rng)
        vector = exported(last)
        vectors = np.stack([*(vector + np.float32(0.25) * k for k in range(19, 0, -1)), vector]).astype(np.float32)
        rising = np.linspace(0.1, accuracy, n)
        accuracies = np.stack([rising, rising * 0.9, rising], axis=1)
        accuracies[-6:, 1] = accuracies[-6, 1] - 0.01 * np.arange(6)  # the last five fall
        smooth = [accuracies[0, 1]]
        for value in accuracies[1:, 1]:
            smooth.append(0.5 * smooth[-1] + 0.5 * value)
        errors = np.column_stack([np.arange(n) * 10.0, 100 * (1 - accuracies), 100 * (1 - np.array(smooth))])
        n_conv = sum(array.size for layer in last for array in layer if layer[0].ndim == 4)
        training = Training(name, values, vectors.astype(np.float64), errors, last, n_conv)
        folder = self.root / name
        (folder / "weights").mkdir(parents=True)
        with open(folder / "meta.csv", "w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([COLUMNS, values])
        for number, snapshot in enumerate(training.vectors, 1):
            snapshot.tofile(folder / "weights" / f"{number:03d}.bin")
        errors.tofile(folder / "error.bin")
        np.array([n, (n - 1) * 10.0, n - 1.0, 12.5]).tofile(folder / "stat.bin")
        self.trainings[name] = training

    def list(self, name: str, members: list[str]) -> None:
        """Write a CSV list of trainings by their names, with the authors' own folders as paths."""
        with open(self.root / name, "w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow([*COLUMNS, "weightn_conv", "weightn_fc", "path"])
            for member in members:
                t = self.trainings[member]
                lengths = [t.n_conv, t.vectors.shape[1] - t.n_conv]
                writer.writerow([*t.meta, *lengths, f"/mnt/raid/dnn_weights/{member}"])

    def by_rate(self, population: str) -> dict[float, Training]:
        """Return a population's trainings by learning rate, which tells them apart."""
        folder = {"random": "nws_main", "fixed": "nws_fixed"}[population]
        return {float(str(t.meta[1])): t for t in self.trainings.values() if t.name.startswith(folder)}


def make_release(root: Path) -> Release:
    """Write 16 random trainings, three of them in no list, and two fixed ones."""
    release = Release(root)
    sets = ["mnist", "cifar10", "svhn", "stl10", "fashion"]
    for i in range(16):
        meta = {"dataset": sets[i % 5], "optimizer": i % 3, "activation": i % 4, "initialization": (i + 1) % 4}
        meta |= {"augmentation": i % 2 == 1, "batch_size": 32 << i % 4}
        meta |= {"depth_conv": 5, "depth_fc": 4, "width_conv": 8, "filter_size": 5} if i == 5 else {}
        release.add(f"nws_main/{i + 1:04d}", meta, 0.12 if i >= 13 else 0.9, i)
    for i in range(2):
        release.add(f"nws_fixed/{i + 1:04d}", dict(zip(COLUMNS[8:], FIXED, strict=True)), 0.9, 100 + i)
    release.list("nws_main_train.csv", [f"nws_main/{i + 1:04d}" for i in (3, 1, 2, 0, 4, 5, 6, 7)])
    release.list("nws_main_test.csv", [f"nws_main/{i + 1:04d}" for i in range(8, 13)])
    release.list("nws_fixed_train.csv", ["nws_fixed/0002"])
    release.list("nws_fixed_test.csv", ["nws_fixed/0001"])
    return release
