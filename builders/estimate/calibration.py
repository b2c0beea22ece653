"""Measures how fast this machine trains.

On a CPU steps and evaluations of shapes of the plan, in as many processes as the build has. On a card the build's own
trainer, on some shapes with all their trainings: fleets open, fill and are refilled as in a build; what opening takes in the
first half, compiling among it, is left out.

Time is operations, and a constant for each image that is trained on, times one factor. Shapes are drawn in proportion to
their cost, which makes the mean of their factors that of the sum. Processor time is what counts: other programs disturb it
little.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import torch

from builders.compute.backend import OpenBackend
from builders.compute.compute_path import enter_compute_path
from builders.compute.lane import Steps
from builders.compute.trainer import open_backend, train
from builders.images.bank import ImageBank, random_bank
from builders.plan.shape import Shape, forward_flop, training_flop
from builders.plan.trainings import PlannedTraining
from builders.recipe.initialization import initial_vector
from builders.recipe.optimizers import epoch_rates
from builders.run.processes import start_process
from nws_data.errors import BuildError
from nws_data.space.architecture import Architecture
from nws_data.terminal import say

IMAGE_FLOP, AUGMENTED_FLOP = 3e7, 1e7
"""What an image that is trained on, and one that is augmented, takes beside its network's operations (memory traffic, the
calls of a step), in operations.

Measured on a core of an AMD EPYC 9005: with them the time of a shape is proportional to its cost but for 14 % in float32 and
25 % in bfloat16 (48 shapes of 11 to 126 GFLOP/s); the network's operations alone leave 91 %.
"""

SET, _N_IMAGES = "random", 512
_PIECE = 256  # images trained on between evaluations, and at least two steps
_SCORED = 0.63  # images that an evaluation scores for each trained one, as in the paper's dataset
_SHAPES_EACH = 40  # more than a worker has time for
_LEAST_S, _MOST_SHARE = 0.6, 12  # time for a shape: at least this, and a twelfth of the whole
_N_TRAIN, _N_TEST = 20_000, 7_200  # on a card; an evaluation then scores _SCORED of the images of an epoch
_EPOCHS = 1000  # nothing ends before the time is over
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
    works: Mapping[PlannedTraining, Work], precision: str, backend: str, seconds: float, *, n_workers: int
) -> Speed:
    """Measure for about so many seconds, besides starting as many workers as the build will have: they share caches.

    Raises:
        BuildError: a worker ended, or nothing could be measured in that time.
        KeyboardInterrupt: Ctrl-C; nothing is left behind.
    """
    chosen = sample_by_cost(works, n_workers * _SHAPES_EACH)
    processes = []
    with tempfile.TemporaryDirectory(prefix="nws-plan-") as folder:
        random_bank(Path(folder), {SET: (_N_IMAGES, _N_IMAGES)})
        say(f"measuring this machine for {seconds:g} s", error=True)
        try:
            for i in range(n_workers):
                what = (Path(folder), chosen[i::n_workers], precision, backend, seconds)
                processes.append(start_process(_measure_all, *what))
            samples = [sample for _, connection in processes for sample in connection.recv()]
        except EOFError:
            raise BuildError("a calibrating process ended (often: out of memory); give fewer --workers") from None
        finally:
            for process, connection in processes:
                process.kill()  # it owns nothing
                process.join()
                connection.close()
    if not samples:
        raise BuildError(f"--calibrate {seconds:g}: no shape could be measured in that time; give more seconds")
    mean = fmean(samples)
    return Speed(mean, len(samples), stdev(samples) / mean if len(samples) > 1 else _UNKNOWN_SCATTER)


def sample_by_cost(works: Mapping[PlannedTraining, Work], n: int) -> list[PlannedTraining]:
    """Return ``n`` trainings, drawn in proportion to their cost, perhaps repeatedly: a function of the plan alone."""
    plan, costs = list(works), np.array([work.cost for work in works.values()])
    return [plan[i] for i in np.random.default_rng(0).choice(len(plan), n, p=costs / costs.sum())]


def _measure_all(
    connection: Connection, bank: Path, share: Sequence[PlannedTraining], precision: str, backend: str, seconds: float
) -> None:
    enter_compute_path()
    images, end_s = ImageBank.open(bank), time.monotonic() + seconds
    each_s, samples = max(_LEAST_S, seconds / _MOST_SHARE), []
    for planned in share:
        left_s = end_s - time.monotonic()
        if left_s <= each_s / 2:
            break
        samples.append(measure(planned, images, precision, backend, min(each_s, left_s)))
    connection.send(samples)


def measure(planned: PlannedTraining, bank: ImageBank, precision: str, backend: str, seconds: float) -> float:
    """Train like ``planned`` for about so many seconds and return the processor time for a unit of cost.

    Pieces count of some steps and an evaluation of as many images as belong to them, at least one.
    """
    hp = replace(planned.hyperparameters, dataset=SET)
    fleet, steps = open_backend(backend, bank, precision).fleet(Shape.of(hp), 0, 1), max(2, _PIECE // hp.batch_size)
    n_trained, n_pieces = steps * hp.batch_size, 0
    rows = torch.arange(n_trained).view(steps, hp.batch_size) % _N_IMAGES
    scored = torch.arange(round(_SCORED * n_trained)) % _N_IMAGES
    vector, rates = initial_vector(hp, planned.seed), epoch_rates(hp.optimizer, hp.learning_rate, 0, 0, steps)
    fleet.load(0, replace(planned, hyperparameters=hp), vector, {"test_accuracy": ("test", scored)})

    def compute(n_steps: int) -> None:
        fleet.set_epoch(0, rows, rates)
        fleet.run(n_steps)
        fleet.evaluate(0)

    compute(1)  # what the first call prepares is not of every step
    started_s, end_s = time.thread_time(), time.monotonic() + seconds
    while n_pieces == 0 or time.monotonic() < end_s:
        compute(steps)
        n_pieces += 1
    work = work_of(planned, n_pieces * n_trained, n_pieces * len(scored))
    return (time.thread_time() - started_s) / work.cost


def calibrate_card(
    works: Mapping[PlannedTraining, Work], precision: str, backend: str, seconds: float, *, device: str
) -> Speed:
    """Measure for about so many seconds from the first step on; raises ``BuildError`` when there were too few steps."""
    say(f"measuring {device} for {seconds:g} s, after its first fleets have opened", error=True)
    with tempfile.TemporaryDirectory(prefix="nws-plan-") as folder:
        random_bank(Path(folder), {SET: (_N_TRAIN, _N_TEST)})
        opened = open_backend(backend, ImageBank.open(Path(folder)), precision, device)
        shapes = {Shape.of(one.hyperparameters) for one in sample_by_cost(works, 2 * opened.n_fleets)}
        of_shapes = (one for one in works if Shape.of(one.hyperparameters) in shapes)
        trainings = [replace(one, hyperparameters=replace(one.hyperparameters, dataset=SET)) for one in of_shapes]
        _, cost = rates(trainings, opened, seconds)
    return Speed(1 / cost, len(shapes), _UNKNOWN_SCATTER)


def rates(trainings: Iterable[PlannedTraining], opened: OpenBackend, seconds: float) -> tuple[float, float]:
    """Train for so many seconds from the first step on; return images x models and :class:`Work` cost a second.

    Raises:
        BuildError: there were fewer than three turns.
    """
    stamps: list[tuple[float, int, float]] = []
    for event in train(trainings, opened, epoch_cap=_EPOCHS):
        if isinstance(event, Steps):
            cost = event.flop * (1 + _SCORED / 3) + event.n_images * (IMAGE_FLOP + AUGMENTED_FLOP / 2)
            stamps.append((time.monotonic(), event.n_images, cost))
            if stamps[-1][0] - stamps[0][0] > seconds:
                break
    if len(stamps) < 3:
        raise BuildError(f"--calibrate {seconds:g}: too few steps were taken in that time; give more seconds")
    middle = (stamps[0][0] + stamps[-1][0]) / 2
    later = [(n, cost) for at, n, cost in stamps if at > middle]
    elapsed_s = stamps[-1][0] - middle
    return sum(n for n, _ in later) / elapsed_s, sum(cost for _, cost in later) / elapsed_s
