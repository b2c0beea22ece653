"""How fast the fleet trains, against sequential eager PyTorch in its default layout: the same trainings, per core.

    python -m benchmarks.speed.build [--rounds 7] [--json]

The baseline is what one would write first: one ``nn.Module`` after another, NCHW, ``torch.optim``, one thread. It
reads the same batches, augments with the same function and scores the same images. Two comparisons: ``step`` is the
training step alone (forward, backward, update); ``trainer`` is two epochs with data, augmentation, dropout and the
evaluations after each. Every contender has a process of its own; they run in turns, the median of the ratios counts.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.speed.alternate import Setup, Timing, Work, alternate, compared
from benchmarks.speed.eager import Eager, random_bank
from builders.compute.backend import CPU_BACKENDS, CPU_PRECISIONS, implementation, open_backend
from builders.compute.compute_path import enter_compute_path
from builders.compute.trainer import Interrupted, train
from builders.images.bank import ImageBank
from builders.plan.shape import Shape
from builders.plan.trainings import PlannedTraining
from builders.recipe.augmentation import to_float
from builders.recipe.epochs import EpochSampler, split_images
from builders.recipe.initialization import initial_vector
from nws_data.space.architecture import all_architectures
from nws_data.space.hyperparameters import CLASSES, FIXED_ARCHITECTURE, HyperParameters

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
    """Return trainings of one shape that mix optimizers, initialisations and augmentation: as many as a fleet holds."""
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
    """Write a bank with random colour images."""
    random_bank(folder, {"random": (N_TRAIN, N_TEST)})


def train_eager(planned: PlannedTraining, bank: ImageBank, n_epochs: int) -> None:
    """Train some epochs with evaluations, as the trainer does them."""
    name = planned.hyperparameters.dataset
    images, labels = bank.images(name, "train"), bank.labels(name, "train")
    eager, split = Eager(planned), split_images(len(labels), planned.seed)

    def score() -> None:
        sets = [(images[rows], labels[rows]) for rows in (split.validation, split.train_scored)]
        for pixels, own in [*sets, (bank.images(name, "test"), bank.labels(name, "test"))]:
            eager.score(zip(pixels.split(_EVALUATION_BATCH), own.split(_EVALUATION_BATCH), strict=True))

    score()
    for epoch in range(n_epochs):
        rows = EpochSampler(split, labels, planned.seed, planned.hyperparameters.batch_size).batches(epoch)
        eager.train((images[batch], labels[batch]) for batch in rows)
        score()


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
            train_eager(planned, opened, N_EPOCHS)

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
    n_steps = EpochSampler(split, labels, planned.seed, hp.batch_size).steps * n_epochs
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
    for kind, architecture, batch_size in product(options.kind, options.architecture, options.batch_size):
        timings = measure(kind, architecture, batch_size, options.backend, options.rounds)
        for name, timing in timings.items():
            what = {"kind": kind, "architecture": architecture, "batch_size": batch_size, "contender": name}
            found = compared(timings["eager"], timing)
            rows.append(what | found | {"peak_mb": timing.peak_mb})
            if not options.json:
                print(
                    f"{kind:8} {architecture:9} batch {batch_size:<4} {name:18} {found['ratio']:5.2f}"
                    f" ({found['least']:.2f} to {found['most']:.2f}) {found['median_s']:7.2f} s {timing.peak_mb:6.0f} MB",
                    flush=True,
                )
    if options.json:
        print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
