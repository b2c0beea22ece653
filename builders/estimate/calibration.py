"""Measures how fast this machine trains: the real trainer on shapes of the plan, in as many processes as the build has.

Time is operations, and a constant for each image that is trained on, times one factor. Shapes are drawn in proportion to
their cost, which makes the mean of their factors that of the sum. Processor time is what counts: other programs disturb it
little.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import fmean, stdev

import numpy as np

from builders.compute.backend import open_backend
from builders.compute.compute_path import enter_compute_path
from builders.compute.trainer import Interrupted, train
from builders.images.arrays import ImageArrays, image_arrays
from builders.images.bank import ImageBank, write_bank
from builders.plan.cost import forward_flop, training_flop
from builders.plan.trainings import PlannedTraining
from builders.recipe.epochs import split_images, steps_per_epoch
from builders.run.processes import start_process
from nws_data.errors import BuildError
from nws_data.space.architecture import Architecture
from nws_data.space.identity import id_hash
from nws_data.terminal import say

IMAGE_FLOP, AUGMENTED_FLOP = 3e7, 1e7
"""What an image that is trained on, and one that is augmented, takes beside its network's operations (memory traffic, the
calls of a step), in operations.

Measured on a core of an AMD EPYC 9005: with them the time of a shape is proportional to its cost but for 14 % in float32 and
25 % in bfloat16 (48 shapes of 11 to 126 GFLOP/s); the network's operations alone leave 91 %.
"""

_N_TRAIN = {32: 200, 64: 200, 128: 400, 256: 720}  # random images by batch size: at least two steps an epoch
_SCORED = 0.63  # images that an evaluation scores for each trained one, as in the paper's dataset
_SHAPES_EACH = 40  # more than a worker has time for
_LEAST_S, _MOST_SHARE = 0.6, 12  # time for a shape: at least this, and a twelfth of the whole
_LEAST_ERROR = 0.05  # of a total, however many shapes were measured
_UNKNOWN_SCATTER = 0.3  # of one shape, where one alone was measured


@dataclass(frozen=True)
class Work:
    """What trainings take."""

    n_trainings: int = 0
    train_images: float = 0.0  # images x models that are trained on
    scored_images: float = 0.0  # images x models that evaluations score
    flop: float = 0.0  # operations of both
    cost: float = 0.0  # those and IMAGE_FLOP: what time is proportional to

    def __add__(self, other: Work) -> Work:
        return Work(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


def work_of(planned: PlannedTraining, trained: float, scored: float) -> Work:
    """Return what it takes to train a planned network on so many images, and to score so many."""
    architecture = Architecture.of(planned.hyperparameters)
    flop = trained * training_flop(architecture) + scored * forward_flop(architecture)
    beside = IMAGE_FLOP + AUGMENTED_FLOP * planned.hyperparameters.augmentation
    return Work(1, trained, scored, flop, flop + trained * beside)


@dataclass(frozen=True)
class Speed:
    """What the measured shapes say, of one worker."""

    seconds_per_cost: float  # processor time for a unit of Work.cost
    n_shapes: int
    scatter: float  # relative standard deviation of one shape

    @property
    def error(self) -> float:
        """Relative standard error of the time of many trainings: the scatter averages out, five percent do not."""
        return float(np.hypot(_LEAST_ERROR, self.scatter / self.n_shapes**0.5))


def calibrate(
    works: Mapping[PlannedTraining, Work], *, precision: str, backend: str, n_workers: int, seconds: float
) -> Speed:
    """Measure for about so many seconds, besides starting as many workers as the build will have: they share caches.

    Raises:
        BuildError: a worker ended, or nothing could be measured in that time.
        KeyboardInterrupt: Ctrl-C; nothing is left behind.
    """
    chosen = sample_by_cost(works, n_workers * _SHAPES_EACH)
    with tempfile.TemporaryDirectory(prefix="nws-plan-") as folder:
        write_bank(folder, map(_random_images, _N_TRAIN))
        say(f"measuring this machine for {seconds:g} s", error=True)
        shares = [chosen[i::n_workers] for i in range(n_workers)]
        samples = _measured(Path(folder), shares, precision, backend, seconds)
    if not samples:
        raise BuildError(f"--calibrate {seconds:g}: no shape could be measured in that time; give more seconds")
    mean = fmean(samples)
    return Speed(mean, len(samples), stdev(samples) / mean if len(samples) > 1 else _UNKNOWN_SCATTER)


def _random_images(batch_size: int) -> ImageArrays:
    """Return the images that trainings of a batch size are measured on."""
    n_train, generator = _N_TRAIN[batch_size], np.random.default_rng(batch_size)
    sizes = (n_train, round(_SCORED * 0.9 * n_train) - 2 * (n_train // 10))
    train, test = ((generator.integers(0, 256, (n, 3, 32, 32), np.uint8), np.arange(n) % 10) for n in sizes)
    return image_arrays(str(batch_size), train, test, "random pixels")


def sample_by_cost(works: Mapping[PlannedTraining, Work], n: int) -> list[PlannedTraining]:
    """Return ``n`` trainings, drawn in proportion to their cost, in an order whose beginnings are fair samples too.

    Systematic: at equal steps of the summed cost of all trainings, sorted by cost. A function of the plan alone.
    """
    ordered = sorted(works, key=lambda planned: (works[planned].cost, planned.id))
    reached = np.cumsum([works[planned].cost for planned in ordered])
    places = np.searchsorted(reached, (np.arange(n) + 0.5) / n * reached[-1])
    order = sorted(range(n), key=lambda i: id_hash(f"calibration {i}"))
    return [ordered[min(places[i], len(ordered) - 1)] for i in order]


def _measured(
    bank: Path, shares: Sequence[Sequence[PlannedTraining]], precision: str, backend: str, seconds: float
) -> list[float]:
    """Return the seconds for a unit of cost of what a process for each share measured."""
    processes = []
    try:
        for share in shares:
            processes.append(start_process(_measure_all, bank, list(share), precision, backend, seconds, duplex=False))
        return [sample for _, connection in processes for sample in connection.recv()]
    except EOFError:
        raise BuildError("a calibrating process ended (often: out of memory); give fewer --workers") from None
    finally:
        for process, connection in processes:
            process.kill()  # it owns nothing
            process.join()
            connection.close()


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
        value = measure(planned, images, precision, backend, min(each_s, end_s - time.monotonic()))
        if value is not None:
            samples.append(value)
    connection.send(samples)


def measure(planned: PlannedTraining, bank: ImageBank, precision: str, backend: str, seconds: float) -> float | None:
    """Train like ``planned`` for a while and return the processor time for a unit of cost.

    Whole epochs count, each with its evaluation: from the first step to the first one of a later epoch. None when not even
    one was done in five times ``seconds``.
    """
    batch_size = planned.hyperparameters.batch_size
    training = replace(planned, hyperparameters=replace(planned.hyperparameters, dataset=str(batch_size)))
    labels = bank.labels(str(batch_size), "train")
    n_scored = 2 * (len(labels) // 10) + len(bank.labels(str(batch_size), "test"))
    steps = steps_per_epoch(labels[split_images(len(labels), training.seed).train], batch_size)
    stamps: list[float] = []
    started_s, step = time.perf_counter(), 0

    def count(n_images: int, flop: float) -> None:
        nonlocal step
        step += 1
        if step % steps == 1:
            stamps.append(time.thread_time())
        spent_s = time.perf_counter() - started_s
        if (len(stamps) > 1 and spent_s >= seconds) or spent_s > 5 * seconds:
            raise Interrupted

    with suppress(Interrupted):
        list(train([training], open_backend(backend, bank, precision), epoch_cap=1000, on_step=count))
    n = len(stamps) - 1  # epochs
    if n < 1:
        return None
    work = work_of(planned, n * steps * batch_size, n * n_scored)
    return (stamps[-1] - stamps[0]) / work.cost
