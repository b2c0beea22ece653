"""Trains a queue in a process of its own and prints the memory that it took, in bytes: ``python -m`` this with JSON options.

The trainer, the bank and the snapshot buffers are the real ones. Early stopping is off, so that trainings reach the cap.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from builders.images.bank import ImageBank
from builders.training import stopping
from builders.training.compute_path import enter_compute_path
from builders.training.trainer import train_fleet
from tests.builders.conftest import planned


def own_bytes() -> int:
    """The peak of this process's own pages: the peak of all less those of files, which only grow."""
    values = {}
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        values[name] = value
    kilobytes = {name: int(values[name].split()[0]) for name in ("VmHWM", "RssFile", "RssShmem", "RssAnon")}
    return 1024 * max(kilobytes["VmHWM"] - kilobytes["RssFile"] - kilobytes["RssShmem"], kilobytes["RssAnon"])


def main() -> None:
    options = json.loads(sys.argv[1])
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
    print(own_bytes())


if __name__ == "__main__":
    main()
