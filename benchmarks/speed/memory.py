"""How much private memory a building process takes with the paper's five image sets in the bank.

    python -m benchmarks.speed.memory [--json]

Writes a bank of random pixels in the full sizes (0.9 GB), then in a process of its own trains the largest architecture in
a full fleet whose snapshot buffers are full, evaluates, and reads the kernel's accounting: private memory, and how
much of the bank is mapped and shared. Needs Linux.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from builders.images.arrays import ImageArrays, image_arrays
from builders.images.bank import ImageBank, write_bank
from builders.plan import PlannedTraining
from builders.training.compute_path import enter_compute_path
from builders.training.fleet import Fleet, FleetShape
from builders.training.member import Member, TrainingImages
from builders.training.snapshots import CAPACITY
from nws_data.space.architecture import all_architectures
from nws_data.space.hyperparameters import FIXED_ARCHITECTURE, HyperParameters

SIZES = {
    "mnist": (55_000, 10_000),
    "cifar10": (45_000, 10_000),
    "svhn": (73_257, 26_032),
    "stl10": (5_000, 8_000),
    "fashion_mnist": (55_000, 10_000),
}
"""Training and test images (Supplement A.1)."""

N_STEPS = 5


def random_sets() -> Iterator[ImageArrays]:
    """Yield sets of random colour images in the full sizes."""
    generator = np.random.default_rng(0)
    for name, sizes in SIZES.items():
        train, test = ((generator.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8), np.arange(n) % 10) for n in sizes)
        yield image_arrays(name, train, test, "random pixels")


def memory_mb() -> dict[str, float]:
    """Return this process's memory in 10^6 bytes: pages of its own, and pages of files, which other processes share.

    The kernel calls a file's clean page private while one process alone maps it, so dirty pages are what counts.
    """
    fields = {}
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]:
        name, value, *_ = line.split()
        fields[name.rstrip(":")] = int(value) * 1024 / 1e6
    return {"private": fields["Private_Dirty"], "of_files": fields["Private_Clean"] + fields["Shared_Clean"]}


def worst_worker(bank_folder: Path, connection: Connection) -> None:
    """Train the largest architecture at batch size 32 with full snapshot buffers; send the memory before and after."""
    enter_compute_path()
    bank = ImageBank.open(bank_folder)
    largest = all_architectures()[-1]
    fleet: Fleet | None = None
    members = []
    for i, name in enumerate(list(SIZES)[:4]):
        hyperparameters = HyperParameters(
            dataset=name,
            learning_rate=0.001,
            batch_size=32,
            augmentation=True,
            optimizer="adam",
            activation="elu",
            initialization="glorot_uniform",
            **{field: getattr(largest, field) for field in FIXED_ARCHITECTURE},
        )
        fleet = fleet or Fleet(FleetShape.of(hyperparameters))
        planned = PlannedTraining(f"random-{i:06d}", i, hyperparameters)
        members.append(Member(planned, TrainingImages.of(bank, name), 1000))
        fleet.load(i, members[i].initial_vector(), "adam")
        for _ in range(CAPACITY):
            members[i].history.snapshots.add(fleet.vectors[i].numpy())
    if fleet is None:
        raise RuntimeError("no member was made")
    for _ in range(N_STEPS):
        images, labels, rates = zip(*(member.next_batch() for member in members), strict=True)
        fleet.step(images, labels, rates, [member.seed for member in members], [member.step for member in members])
        for member in members:
            member.advance()
    for slot, member in enumerate(members):
        member.evaluate(fleet.vectors[slot])
    connection.send(memory_mb())


def main() -> None:
    """Print what the worst worker takes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sets = write_bank(folder, random_sets())
        writer = memory_mb()
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=worst_worker, args=(Path(folder), theirs))
        process.start()
        theirs.close()
        worker = ours.recv()
        process.join()
    result = {"bank_mb": sum(item.nbytes for item in sets) / 1e6, "writer_after": writer, "worker": worker}
    if options.json:
        print(json.dumps(result, indent=1))
        return
    print(f"bank: {result['bank_mb']:,.0f} MB in files, mapped")
    print(f"worker, largest architecture, four members, full snapshot buffers: {worker['private']:,.0f} MB private")
    print(f"its pages of mapped files (bank and libraries), which processes share: {worker['of_files']:,.0f} MB")
    print(f"the process that wrote the bank, afterwards: {writer['private']:,.0f} MB private")


if __name__ == "__main__":
    main()
