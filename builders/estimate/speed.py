"""Measures how fast this machine trains: the real trainer on shapes of the plan, in as many processes as the build has.

Time is operations times one factor, measured for each population. An image that is trained on costs more than its
network's operations: memory traffic, the calls of a step, augmentation. ``IMAGE_FLOP`` and ``AUGMENTED_FLOP`` count that in
operations, so that small networks are not taken for faster than they are. Shapes are drawn in proportion to their cost,
which makes the mean of their factors that of the sum. Processor time is what counts: other programs disturb it little.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import fmean, median, stdev

import numpy as np

from builders.compute.backend import open_backend
from builders.compute.compute_path import enter_compute_path
from builders.compute.trainer import Interrupted, train
from builders.estimate.work import Work, work_of_images
from builders.images.arrays import image_arrays
from builders.images.bank import ImageBank, write_bank
from builders.plan.trainings import PlannedTraining
from builders.recipe.epochs import split_images, steps_per_epoch
from builders.run.processes import start_process
from nws_data.errors import BuildError
from nws_data.space.identity import id_hash
from nws_data.terminal import say

_N_TRAIN = {32: 200, 64: 200, 128: 400, 256: 720}  # by batch size: at least two steps an epoch
_SCORED = 0.63  # images that an evaluation scores for each trained one, as in the paper's dataset
_SHAPES_EACH = 40  # more than a worker has time for
_LEAST_S, _MOST_SHARE = 0.6, 12  # time for a shape: at least this, and a twelfth of the whole


@dataclass(frozen=True)
class Sample:
    """A measured shape."""

    population: str
    seconds_per_cost: float  # of processor time, for a unit of :attr:`Work.cost`
    busy: float  # wall time for each second of processor time: above 1 where other programs took the core


@dataclass(frozen=True)
class Speed:
    """What all samples say, of one worker."""

    seconds_per_cost: dict[str, float]  # by population
    n_shapes: int
    scatter: float  # relative standard deviation of one shape
    busy: float  # median of the samples', at least 1
    start_s: float  # until the workers are ready

    @property
    def error(self) -> float:
        """Relative standard error of the time of many trainings: the scatter averages out, five percent do not."""
        return float(np.hypot(0.05, self.scatter / self.n_shapes**0.5))

    def seconds(self, population: str, work: Work) -> float:
        """Return the processor time of work on a population's trainings; of one that is complete, at the others' mean."""
        return self.seconds_per_cost.get(population, fmean(self.seconds_per_cost.values())) * work.cost


def calibrate(
    todo: Mapping[str, Mapping[PlannedTraining, Work]], *, precision: str, backend: str, n_workers: int, seconds: float
) -> Speed:
    """Measure for about so many seconds, besides starting the workers.

    Args:
        todo: the trainings that the speed is for, by population, and what each takes; a population may have none.
        precision: of the build.
        backend: of the CPU, of the build.
        n_workers: processes, as many as the build will have, since they share caches and memory.
        seconds: how long to measure.

    Raises:
        BuildError: a worker ended, or a population could not be measured in that time.
        KeyboardInterrupt: Ctrl-C; nothing is left behind.
    """
    drawn = [sample_by_cost(works, n_workers * _SHAPES_EACH) for works in todo.values() if works]
    chosen = [planned for turn in zip(*drawn, strict=True) for planned in turn]  # populations in turns
    with tempfile.TemporaryDirectory(prefix="nws-plan-") as bank:
        write_images(Path(bank))
        say(f"measuring this machine for {seconds:g} s", error=True)
        samples, start_s = _measured(
            Path(bank), [chosen[i::n_workers] for i in range(n_workers)], precision, backend, seconds
        )
    by_population = {name: [s.seconds_per_cost for s in samples if s.population == name] for name in todo if todo[name]}
    if not all(by_population.values()):
        raise BuildError(f"--calibrate {seconds:g}: too few shapes could be measured in that time; give more seconds")
    means = {name: fmean(values) for name, values in by_population.items()}
    relative = [sample.seconds_per_cost / means[sample.population] for sample in samples]
    scatter = stdev(relative) if len(samples) > 1 else 0.3
    return Speed(means, len(samples), scatter, max(1.0, median(sample.busy for sample in samples)), start_s)


def sample_by_cost(works: Mapping[PlannedTraining, Work], n: int) -> list[PlannedTraining]:
    """Return ``n`` trainings, drawn in proportion to their cost, in an order whose beginnings are fair samples too.

    Systematic: at equal steps of the summed cost of all trainings, sorted by cost. A function of the plan alone.
    """
    ordered = sorted(works, key=lambda planned: (works[planned].cost, planned.id))
    reached = np.cumsum([works[planned].cost for planned in ordered])
    places = np.searchsorted(reached, (np.arange(n) + 0.5) / n * reached[-1])
    order = sorted(range(n), key=lambda i: id_hash(f"calibration {i}"))
    return [ordered[min(places[i], len(ordered) - 1)] for i in order]


def write_images(folder: Path) -> None:
    """Write the bank that :func:`measure` trains on: random pixels, a set for each batch size."""
    generator = np.random.default_rng(0)
    sets = []
    for batch_size, n_train in _N_TRAIN.items():
        sizes = (n_train, round(_SCORED * 0.9 * n_train) - 2 * (n_train // 10))
        train, test = ((generator.integers(0, 256, (n, 3, 32, 32), np.uint8), np.arange(n) % 10) for n in sizes)
        sets.append(image_arrays(f"random-{batch_size}", train, test, "random pixels"))
    write_bank(folder, sets)


def _measured(
    bank: Path, shares: Sequence[Sequence[PlannedTraining]], precision: str, backend: str, seconds: float
) -> tuple[list[Sample], float]:
    """Return the samples of a process for each share, and how long the processes took to start."""
    started_s = time.monotonic()
    processes = []
    try:
        for share in shares:
            processes.append(start_process(_measure_all, bank, list(share), precision, backend, seconds, duplex=False))
        answers = [connection.recv() for _, connection in processes]
    except EOFError:
        raise BuildError("a calibrating process ended (often: out of memory); give fewer --workers") from None
    finally:
        for process, connection in processes:
            process.kill()  # it owns nothing
            process.join()
            connection.close()
    return [sample for answer in answers for sample in answer], max(0.0, time.monotonic() - started_s - seconds)


def _measure_all(
    connection: Connection, bank: Path, share: Sequence[PlannedTraining], precision: str, backend: str, seconds: float
) -> None:
    """Process entry: measure one shape after another until the time is over."""
    enter_compute_path()
    images, end_s = ImageBank.open(bank), time.monotonic() + seconds
    each_s, samples = max(_LEAST_S, seconds / _MOST_SHARE), []
    for planned in share:
        if time.monotonic() + each_s / 2 >= end_s:
            break
        samples.append(measure(planned, images, precision, backend, min(each_s, end_s - time.monotonic())))
    connection.send([sample for sample in samples if sample is not None])


def measure(planned: PlannedTraining, bank: ImageBank, precision: str, backend: str, seconds: float) -> Sample | None:
    """Train like ``planned`` for a while; None when not even an epoch was done in five times that.

    Whole epochs count, each with its evaluation: from the first step to the first one of a later epoch.
    """
    hp = replace(planned.hyperparameters, dataset=f"random-{planned.hyperparameters.batch_size}")
    labels = bank.labels(hp.dataset, "train")
    steps = steps_per_epoch(labels[split_images(len(labels), planned.seed).train], hp.batch_size)
    n_scored = 2 * (len(labels) // 10) + len(bank.labels(hp.dataset, "test"))
    stamps: list[tuple[float, float]] = []
    started_s, step = time.perf_counter(), 0

    def count(n_images: int, flop: float) -> None:
        nonlocal step
        step += 1
        if step % steps == 1:
            stamps.append((time.perf_counter(), time.thread_time()))
        spent_s = time.perf_counter() - started_s
        if (len(stamps) > 1 and spent_s >= seconds) or spent_s > 5 * seconds:
            raise Interrupted

    with suppress(Interrupted):
        training = PlannedTraining(planned.id, planned.seed, hp)
        list(train([training], open_backend(backend, bank, precision), epoch_cap=1000, on_step=count))
    if len(stamps) < 2:
        return None
    wall_s, own_s = (last - first for first, last in zip(stamps[0], stamps[-1], strict=True))
    n = len(stamps) - 1  # epochs
    work = work_of_images(planned, n * steps * hp.batch_size, n * n_scored)
    return Sample(planned.id.partition("-")[0], own_s / work.cost, wall_s / max(own_s, 1e-9))
