"""Measures how fast this machine trains: the real trainer on shapes of the plan, in as many processes as a build has.

Each process trains a few steps and evaluations of one shape after another, on random pixels, until the time is over.
Processor time is what counts, so that other programs on the machine disturb little; how much they took is recorded.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from statistics import median

import numpy as np

from builders.compute.compute_path import enter_compute_path
from builders.compute.trainer import Interrupted, train_fleet
from builders.estimate.speed import Sample, Speed, fit_speed
from builders.images.arrays import image_arrays
from builders.images.bank import ImageBank, write_bank
from builders.plan.trainings import PlannedTraining
from builders.recipe.epochs import split_images, steps_per_epoch
from builders.run.processes import start_process
from nws_data.errors import BuildError
from nws_data.progress import progress_bar
from nws_data.space.identity import id_hash

_N_TRAIN = {32: 200, 64: 200, 128: 400, 256: 720}  # by batch size: at least two steps an epoch
_N_TEST = 384  # whole chunks of an evaluation
_MEMBERS = 8  # at least as many trainings as a fleet has slots
_SHAPES_EACH = 40  # more than a worker has time for
_LEAST_S, _MOST_SHARE = 0.6, 12  # time for a shape: at least this, and a twelfth of the whole
_PATIENCE_S = 120.0  # until workers are ready


def calibrate(
    todo: Sequence[PlannedTraining],
    cost: Callable[[PlannedTraining], float],
    *,
    precision: str,
    backend: str,
    n_workers: int,
    seconds: float,
) -> Speed:
    """Measure for about so many seconds, besides starting the workers, and return the fitted speed.

    Args:
        todo: the trainings that the speed is for.
        cost: about what each costs, in any unit.
        precision: of the build.
        backend: of the CPU, of the build.
        n_workers: processes, as many as the build will have, since they share caches and memory.
        seconds: how long to measure.

    Raises:
        BuildError: a worker ended, or nothing could be measured in that time.
        KeyboardInterrupt: Ctrl-C; nothing is left behind.
    """
    chosen = sample_by_cost(todo, cost, n_workers * _SHAPES_EACH)
    with tempfile.TemporaryDirectory(prefix="nws-plan-") as temporary:
        write_images(Path(temporary))
        started_s = time.monotonic()
        shares = [chosen[i::n_workers] for i in range(n_workers)]
        with _workers(Path(temporary), shares, (precision, backend), seconds) as connections:
            samples, start_s = _collect(connections, started_s, seconds)
    if not samples:
        raise BuildError(f"--calibrate {seconds:g}: no shape could be measured in that time; give more seconds")
    return fit_speed(samples, precision, start_s)


def sample_by_cost(
    todo: Sequence[PlannedTraining], cost: Callable[[PlannedTraining], float], n: int
) -> list[PlannedTraining]:
    """Return ``n`` trainings, drawn in proportion to their cost, in an order whose beginnings are fair samples too.

    Systematic: at equal steps of the summed cost of all trainings, sorted by cost. A function of the plan alone.
    """
    ordered = sorted(todo, key=lambda planned: (cost(planned), planned.id))
    reached = np.cumsum([cost(planned) for planned in ordered])
    places = np.searchsorted(reached, (np.arange(n) + 0.5) / n * reached[-1])
    order = sorted(range(n), key=lambda i: id_hash(f"calibration {i}"))
    return [ordered[min(places[i], len(ordered) - 1)] for i in order]


def write_images(folder: Path) -> None:
    """Write the bank that :func:`measure` trains on: random pixels."""
    generator = np.random.default_rng(0)
    sets = []
    for batch_size, n_train in _N_TRAIN.items():
        parts = [(generator.integers(0, 256, (n, 3, 32, 32), np.uint8), np.arange(n) % 10) for n in (n_train, _N_TEST)]
        sets.append(image_arrays(_set_name(batch_size), parts[0], parts[1], "random pixels"))
    write_bank(folder, sets)


def _set_name(batch_size: int) -> str:
    return f"random-{batch_size}"


@contextmanager
def _workers(
    bank: Path, shares: Sequence[Sequence[PlannedTraining]], arithmetic: tuple[str, str], seconds: float
) -> Iterator[list[Connection]]:
    """Start a process for each share; end them in any case."""
    processes: dict[Connection, BaseProcess] = {}
    try:
        for share in shares:
            process, ours = start_process(_measure_all, bank, list(share), arithmetic, seconds, duplex=False)
            processes[ours] = process
        yield list(processes)
    finally:
        for worker in processes.values():
            worker.kill()  # they own nothing
        for connection, worker in processes.items():
            worker.join()
            connection.close()


def _collect(connections: list[Connection], started_s: float, seconds: float) -> tuple[list[Sample], float]:
    """Return the samples of all workers, and how long they took to start; shows the time left."""
    samples: list[Sample] = []
    open_ends, ready_s = set(connections), 0.0
    form = "calibrating {bar} {n:.0f}/{total:.0f} s{postfix}"
    with progress_bar(total=seconds, bar_format=form) as bar:
        while open_ends:
            ready = [end for end in wait(list(open_ends), timeout=0.2) if isinstance(end, Connection)]
            for end in ready:
                try:
                    message = end.recv()
                except EOFError:
                    raise BuildError("a calibrating process ended (often: out of memory); give fewer --workers") from None
                if isinstance(message, Sample):
                    samples.append(message)
                elif message is None:
                    open_ends.discard(end)
                else:
                    ready_s = max(ready_s, time.monotonic() - started_s)
            if not ready_s and time.monotonic() - started_s > _PATIENCE_S:
                raise BuildError(f"calibrating processes have not started in {_PATIENCE_S:.0f} s; the machine is too busy")
            bar.n = min(seconds, max(0.0, time.monotonic() - started_s - ready_s)) if ready_s else 0
            bar.set_postfix_str(f"{len(samples)} shapes")
    return samples, ready_s


def _measure_all(
    connection: Connection, bank: Path, share: Sequence[PlannedTraining], arithmetic: tuple[str, str], seconds: float
) -> None:
    """Process entry: measure one shape after another until the time is over."""
    enter_compute_path()
    images = ImageBank.open(bank)
    connection.send("ready")
    end_s = time.monotonic() + seconds
    each_s = max(_LEAST_S, seconds / _MOST_SHARE)
    for planned in share:
        if time.monotonic() + each_s / 2 >= end_s:
            break
        sample = measure(planned, images, arithmetic, min(each_s, end_s - time.monotonic()))
        if sample is not None:
            connection.send(sample)
    connection.send(None)


def measure(planned: PlannedTraining, bank: ImageBank, arithmetic: tuple[str, str], seconds: float) -> Sample | None:
    """Train as many as a fleet holds like ``planned`` for a while; None when not even an epoch was done in five times that.

    A fleet's members have one seed here, so that their epochs end together.
    """
    precision, backend = arithmetic
    name = _set_name(planned.hyperparameters.batch_size)
    hyperparameters = replace(planned.hyperparameters, dataset=name)
    members = [PlannedTraining(planned.id, planned.seed, hyperparameters)] * _MEMBERS
    labels = bank.labels(name, "train")
    steps = steps_per_epoch(labels[split_images(len(labels), planned.seed).train], hyperparameters.batch_size)
    stamps: list[tuple[float, float, int]] = []

    def stamp(n_images: int) -> None:
        stamps.append((time.perf_counter(), time.thread_time(), n_images))
        spent = stamps[-1][0] - started_s
        if (len(stamps) > steps + 2 and spent >= seconds) or spent > 5 * seconds:
            raise Interrupted

    started_s = time.perf_counter()
    try:
        for _ in train_fleet(members, bank, epoch_cap=1000, precision=precision, backend=backend, on_step=stamp):
            pass
    except Interrupted:
        pass
    return _sample(planned, stamps, steps, 2 * (len(labels) // 10) + _N_TEST)


def _sample(planned: PlannedTraining, stamps: list[tuple[float, float, int]], steps: int, scored: int) -> Sample | None:
    """Tell steps from evaluations: these follow each epoch's last step, before the next one is counted."""
    gaps = [(later[1] - earlier[1], later[0] - earlier[0]) for earlier, later in pairwise(stamps)]
    plain = [gap for i, gap in enumerate(gaps) if (i + 1) % steps]
    with_scores = [gap for i, gap in enumerate(gaps) if not (i + 1) % steps]
    if not plain or not with_scores:
        return None
    n_images = stamps[-1][2]
    step_s = median(gap[0] for gap in plain)
    members = n_images // planned.hyperparameters.batch_size
    score_s = max(0.0, median(gap[0] for gap in with_scores) - step_s) / (members * scored)
    busy = sum(gap[1] for gap in gaps) / max(1e-9, sum(gap[0] for gap in gaps))
    return Sample(planned, step_s / n_images, score_s, busy)
