"""Trains a queue in a process of its own and prints the memory that it took, in bytes: ``python -m`` this with JSON options.

The trainer, the bank and the snapshot buffers are the real ones. Early stopping is off, so that trainings reach the cap.
"""

from __future__ import annotations

import json
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from builders.compute.compute_path import enter_compute_path
from builders.compute.trainer import train_fleet
from builders.images.bank import ImageBank
from builders.recipe import stopping
from builders.run.processes import start_process
from tests.builders.conftest import planned


def own_bytes(before: int) -> int:
    """The peak of this process's own pages: anonymous pages of now and then that are not the server's.

    Args:
        before: anonymous pages at the start, of a forked process the server's; 0 for one that was started afresh.
    """
    values = status()
    peak = max(values["VmHWM"] - values["RssFile"] - values["RssShmem"], values["RssAnon"])
    grown = values["RssAnon"] - before
    copied = max(0, private_bytes() - grown) if before else 0  # pages of the server's that were written to
    return peak - before + copied


def status() -> dict[str, int]:
    """The kernel's account of this process, in bytes."""
    lines = (line.partition(":") for line in Path("/proc/self/status").read_text().splitlines())
    return {name: 1024 * int(value.split()[0]) for name, _, value in lines if value.endswith("kB")}


def private_bytes() -> int:
    """Pages that this process alone has written to."""
    (line,) = (row for row in Path("/proc/self/smaps_rollup").read_text().splitlines() if row.startswith("Private_Dirty"))
    return 1024 * int(line.split()[1])


def train_all(connection: Connection, options: dict[str, Any]) -> None:
    """Process entry: train, and tell the memory."""
    before = status()["RssAnon"] if options["forked"] else 0
    enter_compute_path()
    stopping._FALLING = stopping._BELOW_AVERAGE = stopping._STATIONARY = sys.maxsize
    bank = ImageBank.open(options["bank"])
    folder = Path(options["folder"])
    for i, shape in enumerate(options["shapes"]):
        trainings = [planned(10 * i + j, augmentation=j % 2 == 0, **shape) for j in range(options["n"])]
        records = train_fleet(
            trainings,
            bank,
            epoch_cap=options["cap"],
            precision=options["precision"],
            backend=options["backend"],
            spill=folder if options["spill"] else None,
        )
        for record in records:
            record.save(folder / f"{record.training}.safetensors")
    connection.send(own_bytes(before))


def main() -> None:
    options = json.loads(sys.argv[1])
    _, connection = start_process(train_all, options, device="cpu" if options["forked"] else "cuda")
    print(connection.recv())


if __name__ == "__main__":
    main()
