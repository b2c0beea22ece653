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
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.speed.alternate import Work
from benchmarks.speed.gpu_workload import SET, Scale, one_of_each
from builders.compute.cards.bank import DeviceBank
from builders.compute.cards.compute_path import find_device
from builders.images.bank import ImageBank
from builders.plan.trainings import PlannedTraining
from builders.recipe.augmentation import augment, to_float
from builders.recipe.initialization import initial_vector
from nws_data.space.architecture import Architecture
from nws_data.space.network import build_network, state_dict_from_vector

_SCORED_AT_ONCE = 1024


class EagerModel:
    """One training: a module, an optimizer of ``torch.optim``, one step after another."""

    def __init__(self, planned: PlannedTraining, bank: DeviceBank) -> None:
        hp = planned.hyperparameters
        self._planned, self._bank, self._step = planned, bank, 0
        self._model = build_network(hp)
        vector = initial_vector(hp, planned.seed).float()
        self._model.load_state_dict(state_dict_from_vector(vector, Architecture.of(hp)), strict=False)
        self._model.to(bank.device)
        optimizers: dict[str, Callable[..., torch.optim.Optimizer]] = {
            "adam": torch.optim.Adam,
            "rmsprop": torch.optim.RMSprop,
            "momentum": partial(torch.optim.SGD, momentum=0.95),
        }
        self._optimizer = optimizers[hp.optimizer](self._model.parameters(), lr=hp.learning_rate)

    def train(self, rows: Tensor) -> None:
        """Train on rows of the bank, int64 ``(steps, batch)`` on the device."""
        hp = self._planned.hyperparameters
        self._model.train()
        for batch in rows:
            raw, labels = self._bank.gather(batch)
            images = augment(raw, self._planned.seed, self._step) if hp.augmentation else to_float(raw)
            self._optimizer.zero_grad()
            F.cross_entropy(self._model(images), labels).backward()
            self._optimizer.step()
            self._step += 1

    @torch.no_grad()
    def score(self, rows: Tensor) -> int:
        """Return how many of the rows, int64 ``(n,)``, the network gets right."""
        self._model.eval()
        correct = torch.zeros((), dtype=torch.int64, device=rows.device)
        for part in rows.split(_SCORED_AT_ONCE):
            images, labels = self._bank.gather(part)
            correct += (self._model(to_float(images)).argmax(1) == labels).sum()
        return int(correct)


def eager_work(bank_folder: Path, workload: str, scale: Scale, device_name: str) -> Work:
    """Return a round of one process: some models, each trained and scored in the proportion of an epoch."""
    torch.set_num_threads(1)
    device = find_device(device_name)
    bank = DeviceBank(ImageBank.open(bank_folder), device)
    models = [(planned, EagerModel(planned, bank)) for planned in one_of_each(workload, scale)]
    order = torch.randperm(scale.n_train, generator=torch.Generator().manual_seed(0))
    rows = order.repeat(-(-scale.eager_images // scale.n_train))[: scale.eager_images].to(device)
    scored = (torch.arange(round(scale.eager_images * scale.scored_per_trained)) % scale.n_test).to(device)
    scored += bank.first_row(SET, "test")

    def work() -> None:
        for planned, model in models:
            model.train(rows.view(-1, planned.hyperparameters.batch_size))
            model.score(scored)

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
