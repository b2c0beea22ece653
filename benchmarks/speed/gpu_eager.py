"""The baseline on a card: one network after another as plain PyTorch, alone or in several processes side by side.

It is spared what it could do badly: images lie on the card, the same functions augment them, nothing waits for results
within an epoch. Precision is PyTorch's default (tf32 in convolutions).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import IO, cast

import torch

from benchmarks.speed.alternate import Work
from benchmarks.speed.eager import Eager
from benchmarks.speed.gpu_workload import SET, Scale, one_of_each
from builders.compute.cards.bank import DeviceBank
from builders.compute.cards.compute_path import find_device
from builders.images.bank import ImageBank

_SCORED_AT_ONCE = 1024


def eager_work(bank_folder: Path, workload: str, scale: Scale, device_name: str) -> Work:
    """Return a round of one process: some models, each trained and scored in the proportion of an epoch."""
    torch.set_num_threads(1)
    device = find_device(device_name)
    bank = DeviceBank(ImageBank.open(bank_folder), device)
    models = [(planned, Eager(planned, device)) for planned in one_of_each(workload, scale)]
    order = torch.randperm(scale.n_train, generator=torch.Generator().manual_seed(0))
    rows = order.repeat(-(-scale.eager_images // scale.n_train))[: scale.eager_images].to(device)
    scored = (torch.arange(round(scale.eager_images * scale.scored_per_trained)) % scale.n_test).to(device)
    scored += bank.first_row(SET, "test")

    def work() -> None:
        for planned, model in models:
            model.train(map(bank.gather, rows.view(-1, planned.hyperparameters.batch_size)))
            model.score(map(bank.gather, scored.split(_SCORED_AT_ONCE)))

    return work


def side_by_side(bank_folder: Path, workload: str, scale: Scale, device_name: str) -> Work:
    """Return a round of several processes, each doing what :func:`eager_work` does."""
    arguments = [str(bank_folder), workload, device_name, json.dumps(dataclasses.asdict(scale))]
    command = [sys.executable, "-m", "benchmarks.speed.gpu_eager", *arguments]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")
        for _ in range(scale.processes)
    ]

    def work() -> None:
        for process in processes:
            inlet = cast(IO[str], process.stdin)
            inlet.write("go\n")
            inlet.flush()
        for process in processes:
            if cast(IO[str], process.stdout).readline() != "done\n":
                raise RuntimeError(f"one of the {scale.processes} processes ended with {process.wait()}")

    return work


def main() -> None:
    """Process entry of :func:`side_by_side`: a round for every line of the standard input, until it is closed."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("bank", "workload", "device", "scale"):
        parser.add_argument(name)
    options = parser.parse_args()
    work = eager_work(Path(options.bank), options.workload, Scale(**json.loads(options.scale)), options.device)
    for _ in sys.stdin:
        work()
        print("done", flush=True)


if __name__ == "__main__":
    main()
