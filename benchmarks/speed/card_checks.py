"""Tasks of ``benchmarks.speed.cards`` that show whether a card computes what it should, and what all its tasks share."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from benchmarks.speed.alternate import write_line
from benchmarks.speed.card_counts import ARCHITECTURES, SET, full_fleet
from builders.compute.cards.bank import DeviceBank
from builders.compute.cards.card import enter_device_path, find_device
from builders.compute.cards.fleet import DeviceFleet, on_stream
from builders.compute.cards.self_check import ALLOWED, load_made_up, step_errors
from builders.images.bank import ImageBank, random_bank
from builders.plan.shape import Shape
from nws_data.space.architecture import Architecture, all_architectures

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

    def command(self, *arguments: str, **environment: str) -> None:
        """Run a program in the checkout; write how it ended and the end of what it said."""
        env = os.environ | environment
        result = subprocess.run(arguments, cwd=ROOT, capture_output=True, encoding="utf-8", env=env)
        self.emit(exit=result.returncode, said=(result.stdout + result.stderr)[-1000:])


def environment(job: Job) -> None:
    """Versions; the card, its clocks and memory."""
    import triton  # type: ignore[import-untyped]

    job.emit(torch=torch.__version__, triton=triton.__version__, cuda=torch.version.cuda, python=sys.version.split()[0])
    if job.on_card:
        properties = torch.cuda.get_device_properties(0)
        job.emit(card=properties.name, processors=properties.multi_processor_count, memory=torch.cuda.mem_get_info())
        query = "clocks.sm,clocks.max.sm,clocks.mem,temperature.gpu,power.draw,compute_mode,driver_version"
        job.command("nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader")


def covering(filter_size: int) -> list[Architecture]:
    """Return few architectures that have every layer shape of a filter size between them."""
    chosen, seen = [], set[tuple[object, ...]]()
    for architecture in sorted(all_architectures(), key=lambda one: -one.depth_conv):
        layers = [layer for layer in architecture.layers if architecture.filter_size == filter_size and not layer.is_output]
        shapes = {(i if layer.is_conv else -1, layer["kernel"].shape, layer.pool_after) for i, layer in enumerate(layers)}
        if shapes - seen:
            chosen.append(architecture)
            seen |= shapes
    return chosen


def compile(job: Job, precision: str, filter_size: str, half: str) -> None:
    """Fill Triton's cache on many cores at once; shapes whose compiler fails or hangs show here."""
    images = job.bank(600, 100)
    for architecture in covering(int(filter_size))[int(half) :: 2]:
        with on_stream(torch.cuda.Stream() if job.on_card else None):
            seconds = job.median_s(partial(DeviceFleet, Shape(architecture, 32), images, "triton", precision, 4), 0)
        job.emit(architecture=str(architecture), seconds=seconds)


def shapes(job: Job, precision: str, filter_size: str) -> None:
    """Steps of every layer shape against the plain backend, in float64 but for bfloat16; repeated, moved, beside a NaN."""
    images, chosen = job.bank(600, 100), covering(int(filter_size))
    for architecture in chosen if job.on_card else [replace(ARCHITECTURES["smallest"], batch_norm=False)]:
        shape = Shape(architecture, 32 if job.on_card else 1)
        with on_stream(torch.cuda.Stream() if job.on_card else None):
            fleet = DeviceFleet(shape, images, "triton", precision, 4 if job.on_card else 2)
            share, errors = step_errors(fleet, shape, images, "bfloat16" if precision == "bfloat16" else "float64")
            ways = ((False, False), (False, False), (True, False), (False, True))  # reversed, spoilt
            found = [step_bits(fleet, shape, images, *way) for way in ways]
        worst = max(errors, key=lambda place: errors[place] if errors[place] == errors[place] else float("inf"))
        job.emit(
            architecture=str(architecture), scored_otherwise=share, worst=worst, error=errors[worst],
            right=all(error <= ALLOWED[precision] for error in errors.values()), median=statistics.median(errors.values()),
            repeats=torch.equal(found[0], found[1]), moves=torch.equal(found[0], found[2].flip(0)),
            contains_nan=torch.equal(found[0][1:], found[3][1:]),
        )  # fmt: skip


def step_bits(fleet: DeviceFleet, shape: Shape, images: DeviceBank, reverse: bool, spoilt: bool) -> Tensor:
    """Return the vectors after a step; of made-up trainings in reverse order, or with a NaN in the first."""
    order = list(range(fleet.slots))
    with fleet.turn():
        load_made_up(fleet, shape, images, order[::-1] if reverse else order)
        if spoilt:
            fleet.vectors[0, 5] = float("nan")
        fleet.run(1)
        return fleet.vectors.clone()


def graph(job: Job, name: str, precision: str) -> None:
    """Replays give the bits of the same steps one by one, also beside those of another stream; one network is scored."""
    images = job.bank(6_000, 100)
    replayed, eager, beside = (job.fleet_of(name, 32, 8, precision, images) for _ in range(3))
    with beside.turn():
        beside.run(50)
    with replayed.turn():
        replayed.run(3)
    with eager.turn():
        for _ in range(3):
            eager.program.run()
        counts, _ = eager.evaluate(0)
    job.sync()
    job.emit(equal=torch.equal(replayed.vectors, eager.vectors), finite=bool(replayed.vectors.isfinite().all()),
             correct=counts.tolist())  # fmt: skip


def pytest(job: Job, file: str) -> None:
    """The project's own tests of a file on the card, the long ones of the kernels among them; one failure hides no other."""
    job.command(sys.executable, "-m", "pytest", file, "-m", "", "-q", "-n", "0", "-p", "no:cacheprovider", "--tb=line")


def sanitizer(job: Job, name: str) -> None:
    """No kernel of full fleets reads or writes outside its tensors."""
    this = "-m", "benchmarks.speed.cards", "--task", str(job.file), job.device, "graph", name, "bfloat16"
    checked = "compute-sanitizer", "--error-exitcode", "9", sys.executable
    job.command(*checked, *this, PYTORCH_NO_CUDA_MEMORY_CACHING="1")


def nws(*arguments: str) -> str:
    """Run a command of nws; raises ``RuntimeError`` with the end of its output when it fails."""
    result = subprocess.run([sys.executable, "-m", "nws_data", *arguments], cwd=ROOT, capture_output=True, encoding="utf-8")
    if result.returncode:
        raise RuntimeError(f"nws {' '.join(arguments)}: {(result.stdout + result.stderr)[-800:]}")
    return result.stdout


def built(job: Job, out: Path, precision: str, trainings: str, n_train: str, cap: str) -> float:
    """Build digits on the device; return the seconds."""
    started_s = time.perf_counter()
    options = f"--population fixed --trainings {trainings} --images digits --train-images {n_train} --test-images 100"
    how = f"--device {job.device} --precision {precision} --epoch-cap {cap} --out"
    nws("build", *options.split(), *how.split(), str(out))
    return time.perf_counter() - started_s


def build(job: Job, precision: str) -> None:
    """Two builds of one plan, compared bit for bit; and a training built again."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in "ab"]
        for path in paths:
            job.emit(seconds=built(job, path, precision, "8" if job.on_card else "1", "400", "19"))
        shards = [
            sorted((path.relative_to(root), path.read_bytes()) for path in root.rglob("*.safetensors")) for root in paths
        ]
        job.emit(shards=len(shards[0]), equal=bool(shards[0]) and shards[0] == shards[1])
        job.emit(rebuilt=nws("rebuild", "fixed-000000", str(paths[0]))[-300:])


def precision(job: Job, trainings: str) -> None:
    """What bfloat16 does to weights: a plan built in both precisions; accuracies, and the rounding noise in conv biases."""
    import nws_data

    with tempfile.TemporaryDirectory() as folder:
        for name in ("float32", "bfloat16"):
            job.emit(precision=name, seconds=built(job, Path(folder) / name, name, trainings, "1300", "40"))
            data = nws_data.open(Path(folder) / name, "fixed")
            accuracy = float(data.trainings()["final_test_accuracy"].mean())
            job.emit(precision=name, test_accuracy=accuracy, biases=conv_biases(data))


def conv_biases(data: Any) -> dict[str, list[float]]:
    """Return by optimizer the median over trainings of each conv layer's root mean square of the final biases.

    Without a true gradient before a batch norm they hold amplified rounding noise: a footprint of optimizer and precision.
    """
    last = data.select(snapshot=int(data["snapshot"].max()), finite=True)
    layers = [layer for layer in ARCHITECTURES["fixed"].layers if layer.is_conv]
    sizes = [
        [float(last.vector(i)[layer["bias"].slice].square().mean().sqrt()) for layer in layers] for i in range(len(last))
    ]
    medians = pd.DataFrame(sizes).groupby(last["optimizer"]).median()
    return dict(zip(medians.index, medians.to_numpy().tolist(), strict=True))
