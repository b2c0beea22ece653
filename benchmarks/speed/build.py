"""How fast the builder trains, against sequential eager PyTorch in its default layout: the same trainings, per core.

    python -m benchmarks.speed.build [--rounds 7] [--json]

The baseline is what one would write first: one ``nn.Module`` after another, NCHW, ``torch.optim``, one thread. It
reads the same batches, augments with the same function and scores the same images. Two comparisons: ``step`` is the
training step alone (forward, backward, update); ``trainer`` is two epochs with data, augmentation, dropout and the
evaluations after each. Every contender has a process of its own; they run in turns, the median of the ratios counts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.speed.alternate import Setup, Timing, Work, alternate, ratios
from builders.compute.backend import CPU_BACKENDS, CPU_PRECISIONS, implementation, open_backend
from builders.compute.compute_path import enter_compute_path
from builders.compute.trainer import Interrupted, train
from builders.images.arrays import image_arrays
from builders.images.bank import ImageBank, write_bank
from builders.plan.shape import Shape
from builders.plan.trainings import PlannedTraining
from builders.recipe.augmentation import augment, to_float
from builders.recipe.epochs import epoch_batches, split_images
from builders.recipe.initialization import initial_vector
from nws_data.space.architecture import Architecture, all_architectures
from nws_data.space.hyperparameters import CLASSES, FIXED_ARCHITECTURE, HyperParameters
from nws_data.space.network import build_network, state_dict_from_vector

ARCHITECTURES = {
    "fixed": next(a for a in all_architectures() if a.is_fixed),
    "smallest": all_architectures()[0],
    "largest": all_architectures()[-1],
}
N_TRAININGS = 4
N_STEPS = 6
N_EPOCHS = 2
N_TRAIN, N_TEST = 2_000, 500
_EVALUATION_BATCH = 256


def trainings(architecture: str, batch_size: int) -> list[PlannedTraining]:
    """Return trainings of one shape that mix optimizers, initialisations and augmentation."""
    shape = {name: getattr(ARCHITECTURES[architecture], name) for name in FIXED_ARCHITECTURE}
    planned = []
    for i in range(N_TRAININGS):
        hyperparameters = HyperParameters(
            dataset="random",
            learning_rate=0.001,
            batch_size=batch_size,
            augmentation=i % 2 == 1,
            optimizer=CLASSES["optimizer"][i % 3],
            activation="relu",
            initialization=("glorot_uniform", "glorot_normal")[i % 2],
            **shape,
        )
        planned.append(PlannedTraining(f"fixed-{i:06d}", 1000 + i, hyperparameters))
    return planned


def write_images(folder: Path) -> None:
    """Write a bank with random colour images: speed does not depend on their content."""
    generator = np.random.default_rng(0)
    sizes = (N_TRAIN, N_TEST)
    train, test = ((generator.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8), np.arange(n) % 10) for n in sizes)
    write_bank(folder, [image_arrays("random", train, test, "random pixels")])


class Eager:
    """One training as plain PyTorch: a module, an optimizer, one step after another."""

    def __init__(self, planned: PlannedTraining) -> None:
        self.planned = planned
        hp = planned.hyperparameters
        self.model = build_network(hp)
        self.model.load_state_dict(
            state_dict_from_vector(initial_vector(hp, planned.seed).float(), Architecture.of(hp)), strict=False
        )
        optimizers: dict[str, Callable[..., torch.optim.Optimizer]] = {
            "adam": torch.optim.Adam,
            "rmsprop": torch.optim.RMSprop,
            "momentum": partial(torch.optim.SGD, momentum=0.95),
        }
        self.optimizer = optimizers[hp.optimizer](self.model.parameters(), lr=hp.learning_rate)

    def step(self, images: Tensor, labels: Tensor) -> None:
        """One training step."""
        self.optimizer.zero_grad()
        F.cross_entropy(self.model(images), labels).backward()
        self.optimizer.step()

    def train(self, bank: ImageBank, n_epochs: int) -> None:
        """Epochs with evaluations, as the trainer does them."""
        hp, seed, step = self.planned.hyperparameters, self.planned.seed, 0
        images, labels = bank.images(hp.dataset, "train"), bank.labels(hp.dataset, "train")
        split = split_images(len(labels), seed)
        self.evaluate(bank, split.validation, split.train_scored)
        for epoch in range(n_epochs):
            self.model.train()
            for rows in epoch_batches(split, labels, seed, epoch, hp.batch_size):
                raw = images[rows]
                self.step(augment(raw, seed, step) if hp.augmentation else to_float(raw), labels[rows].long())
                step += 1
            self.evaluate(bank, split.validation, split.train_scored)

    @torch.no_grad()
    def evaluate(self, bank: ImageBank, *parts: Tensor) -> list[float]:
        """Accuracy on parts of the training images and on the test images."""
        self.model.eval()
        name = self.planned.hyperparameters.dataset
        images, labels = bank.images(name, "train"), bank.labels(name, "train")
        sets = [*((images[rows], labels[rows]) for rows in parts), (bank.images(name, "test"), bank.labels(name, "test"))]
        return [_accuracy(self.model, *pair) for pair in sets]


def _accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    chunks = zip(images.split(_EVALUATION_BATCH), labels.split(_EVALUATION_BATCH), strict=True)
    return sum(int((model(to_float(x)).argmax(1) == y).sum()) for x, y in chunks) / len(labels)


def eager_steps(architecture: str, batch_size: int) -> Work:
    """Baseline of ``step``: each training takes its steps alone."""
    torch.set_num_threads(1)
    members = [Eager(planned) for planned in trainings(architecture, batch_size)]
    images, labels = _batch(batch_size)

    def work() -> None:
        for member in members:
            for _ in range(N_STEPS):
                member.step(to_float(images), labels)

    return work


def fleet_steps(architecture: str, batch_size: int, precision: str, backend: str) -> Work:
    """The builder's steps, one training after another."""
    enter_compute_path()
    members = []
    for planned in trainings(architecture, batch_size):
        hp = replace(planned.hyperparameters, augmentation=False)
        member = implementation(backend)(Shape.of(hp), precision)
        member.load(initial_vector(hp, planned.seed), hp, planned.seed)
        members.append(member)
    images, labels = _batch(batch_size)

    def work() -> None:
        for member in members:
            for step in range(N_STEPS):
                member.step(images, labels, step, 0.001)

    return work


def _batch(batch_size: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (batch_size, 3, 32, 32), generator=generator, dtype=torch.uint8)
    return images, torch.arange(batch_size) % 10


def eager_trainer(bank: Path, architecture: str, batch_size: int) -> Work:
    """Baseline of ``trainer``."""
    torch.set_num_threads(1)
    opened = ImageBank.open(bank)

    def work() -> None:
        for planned in trainings(architecture, batch_size):
            Eager(planned).train(opened, N_EPOCHS)

    return work


def fleet_trainer(bank: Path, architecture: str, batch_size: int, precision: str, backend: str) -> Work:
    """The trainer as a worker runs it, stopped one step into the epoch after the last one."""
    enter_compute_path()
    opened = ImageBank.open(bank)
    members = trainings(architecture, batch_size)

    def work() -> None:
        for planned in members:
            train_epochs(planned, opened, N_EPOCHS, precision, backend)

    return work


def train_epochs(planned: PlannedTraining, bank: ImageBank, n_epochs: int, precision: str, backend: str) -> None:
    """Run the trainer for some epochs of a training, evaluations included, and one step more."""
    hp = planned.hyperparameters
    labels = bank.labels(hp.dataset, "train")
    split = split_images(len(labels), planned.seed)
    n_steps = len(epoch_batches(split, labels, planned.seed, 0, hp.batch_size)) * n_epochs
    n_images, seen = n_steps * hp.batch_size, 0

    def count(n: int, flop: float) -> None:
        nonlocal seen
        seen += n
        if seen > n_images:
            raise Interrupted

    try:
        list(train([planned], open_backend(backend, bank, precision), epoch_cap=max(19, n_epochs), on_step=count))
    except Interrupted:
        return
    raise RuntimeError("the training ended before the epochs were counted")


def measure(kind: str, architecture: str, batch_size: int, backends: Sequence[str], rounds: int) -> dict[str, Timing]:
    """Time the baseline and the builder in both precisions."""
    with tempfile.TemporaryDirectory() as folder:
        bank = Path(folder)
        write_images(bank)
        eager = partial(eager_steps) if kind == "step" else partial(eager_trainer, bank)
        fleet = partial(fleet_steps) if kind == "step" else partial(fleet_trainer, bank)
        contenders: dict[str, Setup] = {"eager": partial(eager, architecture, batch_size)}
        contenders |= {
            f"{backend} {name}": partial(fleet, architecture, batch_size, name, backend)
            for backend in backends
            for name in CPU_PRECISIONS
        }
        return alternate(contenders, rounds)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--kind", choices=("step", "trainer"), nargs="+", default=["step", "trainer"])
    parser.add_argument("--architecture", choices=ARCHITECTURES, nargs="+", default=["fixed", "smallest", "largest"])
    parser.add_argument("--batch-size", type=int, choices=CLASSES["batch_size"], nargs="+", default=[64])
    parser.add_argument("--backend", choices=CPU_BACKENDS, nargs="+", default=list(CPU_BACKENDS))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = []
    if not options.json:
        print("times faster than sequential eager, one core: median (least to most) of alternating rounds; peak memory")
    for kind in options.kind:
        for architecture in options.architecture:
            for batch_size in options.batch_size:
                timings = measure(kind, architecture, batch_size, options.backend, options.rounds)
                for name, timing in timings.items():
                    ratio = ratios(timings["eager"], timing)
                    row = {"kind": kind, "architecture": architecture, "batch_size": batch_size, "contender": name}
                    row |= {"ratio": statistics.median(ratio), "least": min(ratio), "most": max(ratio)}
                    row |= {"median_s": timing.median_s, "peak_mb": timing.peak_mb}
                    rows.append(row)
                    if not options.json:
                        print(
                            f"{kind:8} {architecture:9} batch {batch_size:<4} {name:18} {row['ratio']:5.2f}"
                            f" ({row['least']:.2f} to {row['most']:.2f}) {row['peak_mb']:7,.0f} MB",
                            flush=True,
                        )
    if options.json:
        print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
