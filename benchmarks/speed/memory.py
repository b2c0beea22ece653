"""How much memory of its own a building process takes; ``WORKER_BYTES`` of ``builders/config.py`` is the number to keep.

    python -m benchmarks.speed.memory [--json]

Writes a bank of random pixels in the paper's sizes (0.9 GB). Then the largest architecture is trained for a few steps and
an evaluation in a process of its own, with snapshot buffers as full as they get (64 vectors, however many epochs there
are), and the kernel's accounting read in the end. Needs Linux; half a minute on a free core.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import asdict, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.speed.alternate import show
from builders.compute.backend import CPU_BACKENDS
from builders.compute.compute_path import enter_compute_path
from builders.compute.lane import Member
from builders.compute.trainer import open_backend
from builders.estimate.image_counts import OFFICIAL
from builders.images.bank import ImageBank, random_bank
from builders.plan.shape import Shape
from builders.plan.trainings import PlannedTraining, plan_trainings
from builders.recipe.initialization import initial_vector
from builders.recipe.snapshots import CAPACITY
from builders.recipe.stopping import MAX_EPOCHS
from builders.run.processes import start_process
from nws_data.space.architecture import all_architectures

SIZES = {item.name: (item.n_train, item.n_test) for item in OFFICIAL.values()}
N_STEPS = 5


def memory_mb() -> dict[str, float]:
    """Return this process's memory in 10^6 bytes: pages of its own, and pages of files, which other processes share.

    The kernel calls a file's clean page private while one process alone maps it, so dirty pages are what counts.
    """
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="utf-8").splitlines()[1:]
    fields = {name: int(value) * 1024 / 1e6 for name, value, *_ in map(str.split, lines)}
    return {"private_mb": fields["Private_Dirty:"], "of_files_mb": fields["Private_Clean:"] + fields["Shared_Clean:"]}


def worst_worker(bank: Path, backend: str) -> dict[str, float]:
    """Return the memory of a process that trains the largest architecture with full snapshot buffers."""
    process, connection = start_process(_train_largest, bank, backend)
    result: dict[str, float] = connection.recv()
    process.join()
    return result


def _train_largest(connection: Connection, bank_folder: Path, backend: str) -> None:
    enter_compute_path()
    bank, drawn = ImageBank.open(bank_folder), next(plan_trainings("random", 1, 0, ["svhn"])).hyperparameters
    costly: dict[str, Any] = {"optimizer": "adam", "activation": "elu", "initialization": "glorot_uniform"}
    costly |= {"batch_size": 256, "augmentation": True, **asdict(all_architectures()[-1])}
    planned = PlannedTraining("random-000000", 0, replace(drawn, **costly))
    fleet = open_backend(backend, bank, "float32").fleet(Shape.of(planned.hyperparameters), 0, 1)
    member, vector = Member(planned, bank, MAX_EPOCHS, fleet.device), initial_vector(planned.hyperparameters, planned.seed)
    fleet.load(0, planned, vector, member.scored)
    fleet.set_epoch(0, *member.next_epoch())
    for _ in range(CAPACITY):
        member.history.snapshots.add(vector.float().numpy())
    fleet.run(min(N_STEPS, member.left))
    member.pending.append(fleet.evaluate(0))
    member.collect()
    connection.send(memory_mb())


def main() -> None:
    """Print what workers take."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=CPU_BACKENDS, nargs="+", default=CPU_BACKENDS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        random_bank(Path(folder), SIZES)
        rows = [{"backend": backend, **worst_worker(Path(folder), backend)} for backend in options.backend]
    show(rows, options.json)


if __name__ == "__main__":
    main()
