"""How much memory of its own a building process takes; ``WORKER_BYTES`` of ``builders/config.py`` is the number to keep.

    python -m benchmarks.speed.memory [--json]

Writes a bank of random pixels in the paper's sizes (0.9 GB). Then, each in a process of its own, with the kernel's
accounting read in the end:

- the largest architecture for a few steps and an evaluation, with snapshot buffers as full as they get;
- a small, wide one for 19, 62, 150 and 300 epochs, early stopping off: the buffers hold 64 vectors however many epochs
  there are.

Needs Linux; a minute on a free core.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.speed.alternate import show
from benchmarks.speed.eager import random_bank
from builders.compute.backend import CPU_BACKENDS, open_backend
from builders.compute.compute_path import enter_compute_path
from builders.compute.lane import Member
from builders.compute.trainer import train
from builders.estimate.image_counts import OFFICIAL
from builders.images.bank import ImageBank
from builders.plan.shape import Shape
from builders.plan.trainings import PlannedTraining, plan_trainings
from builders.recipe import stopping
from builders.recipe.initialization import initial_vector
from builders.recipe.snapshots import CAPACITY
from builders.recipe.stopping import MAX_EPOCHS
from builders.run.processes import start_process
from nws_data.space.architecture import Architecture, all_architectures
from nws_data.space.hyperparameters import FIXED_ARCHITECTURE, HyperParameters

SIZES = {item.name: (item.n_train, item.n_test) for item in OFFICIAL.values()}
N_STEPS = 5


def memory_mb() -> dict[str, float]:
    """Return this process's memory in 10^6 bytes: pages of its own, and pages of files, which other processes share.

    The kernel calls a file's clean page private while one process alone maps it, so dirty pages are what counts.
    """
    fields = {}
    for line in Path("/proc/self/smaps_rollup").read_text(encoding="utf-8").splitlines()[1:]:
        name, value, *_ = line.split()
        fields[name.rstrip(":")] = int(value) * 1024 / 1e6
    return {"private_mb": fields["Private_Dirty"], "of_files_mb": fields["Private_Clean"] + fields["Shared_Clean"]}


def worst_worker(bank_folder: Path, backend: str) -> dict[str, float]:
    """Train the largest architecture with full snapshot buffers; return the memory."""
    enter_compute_path()
    bank = ImageBank.open(bank_folder)
    planned = PlannedTraining("random-000000", 0, _hyperparameters(all_architectures()[-1], "svhn"))
    fleet = open_backend(backend, bank, "float32").fleet(Shape.of(planned.hyperparameters), 0)
    member, vector = Member(planned, bank, MAX_EPOCHS, fleet.device), initial_vector(planned.hyperparameters, planned.seed)
    fleet.load(0, planned, vector, member.scored)
    fleet.set_epoch(0, *member.next_epoch())
    for _ in range(CAPACITY):
        member.history.snapshots.add(vector.float().numpy())
    fleet.run(N_STEPS)
    member.expect(fleet.evaluate(0))
    member.collect()
    return memory_mb()


def long_training(bank_folder: Path, backend: str, epochs: int) -> dict[str, float]:
    """Train two small, wide networks for so many epochs; return the memory."""
    enter_compute_path()
    stopping._FALLING = stopping._BELOW_AVERAGE = stopping._STATIONARY = sys.maxsize
    wide = replace(all_architectures()[0], width_fc=192)
    hyperparameters = _hyperparameters(wide, "tiny")
    with tempfile.TemporaryDirectory() as folder:
        trainings = [PlannedTraining(f"random-{i:06d}", i, hyperparameters) for i in range(2)]
        for record in train(trainings, open_backend(backend, ImageBank.open(bank_folder), "float32"), epoch_cap=epochs):
            record.save(Path(folder, f"{record.training}.safetensors"))
    return memory_mb()


def _hyperparameters(architecture: Architecture, dataset: str) -> HyperParameters:
    drawn = next(plan_trainings("random", 1, 0, [dataset])).hyperparameters
    values = {field: getattr(architecture, field) for field in FIXED_ARCHITECTURE} | {
        "optimizer": "adam",
        "activation": "elu",
    }
    return replace(drawn, batch_size=32, augmentation=True, initialization="glorot_uniform", **values)


def measure(bank: Path, backend: str) -> list[dict[str, object]]:
    """Return the memory of every process by what it did."""
    found = {"largest architecture, full buffers": alone(worst_worker, bank, backend)}
    for epochs in (19, 62, 150, 300):
        found[f"small one, {epochs} epochs"] = alone(long_training, bank, backend, epochs)
    return [{"backend": backend, "worker": name, **memory} for name, memory in found.items()]


def alone(work: Callable[..., dict[str, float]], *arguments: object) -> dict[str, float]:
    """Return what a function returns in a process of its own."""
    process, connection = start_process(_tell, work, *arguments)
    result: dict[str, float] = connection.recv()
    process.join()
    return result


def _tell(connection: Connection, work: Callable[..., dict[str, float]], *arguments: object) -> None:
    connection.send(work(*arguments))


def main() -> None:
    """Print what workers take."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=CPU_BACKENDS, nargs="+", default=CPU_BACKENDS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        random_bank(Path(folder), SIZES | {"tiny": (80, 40)})
        rows = [row for backend in options.backend for row in measure(Path(folder), backend)]
    show(rows, options.json)


if __name__ == "__main__":
    main()
