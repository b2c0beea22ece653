"""What the tasks of ``benchmarks.speed.cards`` share: where results go, the device, banks and fleets on it, a clock."""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.speed.card_counts import ARCHITECTURES, SET, full_fleet
from benchmarks.speed.cards import write_line
from builders.compute.cards.bank import DeviceBank
from builders.compute.cards.card import enter_device_path, find_device
from builders.compute.cards.fleet import DeviceFleet, on_stream
from builders.images.bank import ImageBank, random_bank
from builders.plan.shape import Shape

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Job:
    """A task that runs."""

    file: Path  # of the results
    device: str  # "cuda" or "cpu"
    name: str
    arguments: tuple[str, ...]

    @property
    def on_card(self) -> bool:
        """Whether there is something to measure."""
        return self.device != "cpu"

    def emit(self, **values: object) -> None:
        """Write a result."""
        write_line(self.file, {"task": self.name, "arguments": self.arguments} | values)

    def bank(self, n_train: int = 60_000, n_test: int = 8_000) -> DeviceBank:
        """Return a bank of random images on the device; a CPU's is small."""
        enter_device_path(find_device(self.device))
        return DeviceBank(self.host_bank(n_train, n_test), find_device(self.device))

    def host_bank(self, n_train: int, n_test: int) -> ImageBank:
        """Return the same in the memory of the host."""
        with tempfile.TemporaryDirectory() as folder:  # mapped already when it goes
            random_bank(Path(folder), {SET: (n_train, n_test) if self.on_card else (400, 100)})
            return ImageBank.open(Path(folder))

    def fleet_of(self, name: str, batch: int, slots: int, precision: str, images: DeviceBank) -> DeviceFleet:
        """Return a full fleet on a stream of its own."""
        stream = torch.cuda.Stream() if self.on_card else None
        with on_stream(stream):
            made = full_fleet(Shape(ARCHITECTURES[name], batch), images, precision, slots, stream=stream)
        self.sync()
        return made

    def sync(self) -> None:
        """Wait for the card."""
        if self.on_card:
            torch.cuda.synchronize()

    def median_s(self, work: Callable[[], object], rounds: int = 7) -> float:
        """Return the median seconds of some work after a first time; of no rounds, those of the first."""
        seconds = []
        for _ in range(rounds + 1 if self.on_card else 1):
            self.sync()
            started_s = time.perf_counter()
            work()
            self.sync()
            seconds.append(time.perf_counter() - started_s)
        return statistics.median(seconds[1:] or seconds)

    def command(self, *arguments: str, environment: dict[str, str] | None = None) -> None:
        """Run a program in the checkout; write how it ended and the end of what it said."""
        result = subprocess.run(
            arguments, cwd=ROOT, capture_output=True, encoding="utf-8", env=os.environ | (environment or {})
        )
        self.emit(exit=result.returncode, said=(result.stdout + result.stderr)[-1000:])
