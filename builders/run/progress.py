"""The live display of a build, or of one training: trainings done, speed, time left."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Mapping

from builders.images.bank import ImageBank
from builders.plan.shape import training_flop
from builders.plan.trainings import PlannedTraining
from builders.recipe.epochs import steps_per_epoch
from builders.recipe.stopping import MIN_EPOCH_CAP
from builders.run.messages import Finished, Message, Progress
from nws_data.progress import progress_bar
from nws_data.space.architecture import Architecture
from nws_data.terminal import say

_WINDOW_S = 60.0  # speed is that of the last minute
_SETTLED_S = 10.0  # before that, starting workers would count as slow ones
_LINE_EVERY_S = 30.0  # where there is no terminal, as in a log file
_GUESSED_EPOCHS = 60.0  # until a training has finished
_AT_LEAST_LEFT = 0.25  # of a mean training, for each unfinished one: some take longer than the mean


class BuildProgress:
    """Counts messages of the workers and shows them on stderr: a bar where somebody sees it, else a line every half minute.

    Speed is in images x models a second: training images, summed over the networks that are trained side by side. Time
    left assumes that the trainings to come take as many epochs as the finished ones did on average, and that each
    unfinished one takes at least a quarter of that from now on, however long it has taken already. A training counts once,
    however often it is reported.

    Args:
        population: shown in front.
        flop_per_epoch: operations of an epoch of each training to run, by id.
        n_done: trainings finished in an earlier run.
        epoch_cap: bound on epochs.
        epochs: that a training takes, where that is known; None guesses until one has finished.
    """

    def __init__(
        self, population: str, flop_per_epoch: Mapping[str, float], n_done: int, epoch_cap: int, epochs: int | None = None
    ) -> None:
        self.n_images = 0  # images x models trained so far
        self._unfinished = dict(flop_per_epoch)
        self._epochs: list[int] = []
        self._epoch_cap, self._guess = epoch_cap, epochs or min(_GUESSED_EPOCHS, epoch_cap)
        self._flop = 0.0
        self._under_way: dict[str, float] = defaultdict(float)  # operations of each job beyond its finished trainings
        self._recent: deque[tuple[float, int, float]] = deque()  # from the first message on: starting takes its time
        self._population, self._n_done, self._total = population, n_done, n_done + len(flop_per_epoch)
        self._next_line_s = time.monotonic() + _SETTLED_S
        form = "{desc} {bar} {n_fmt}/{total_fmt} in {elapsed}{postfix}"  # fits 80 columns at full size
        self._bar = progress_bar(total=self._total, initial=n_done, desc=population, bar_format=form)

    def __enter__(self) -> BuildProgress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar.disable:
            self._print_line()
        self._bar.close()

    def report(self, message: Message) -> None:
        """Take a message of a worker or of the engine."""
        if isinstance(message, Finished):
            self._finish(message)
        elif isinstance(message, str):
            say(f"{self._population}: {message}", error=True)
        else:
            self._advance(message)

    def _finish(self, message: Finished) -> None:
        flop_per_epoch = self._unfinished.pop(message.training, None)
        if flop_per_epoch is None:  # a lost job, run again, finds its trainings staged
            return
        self._epochs.append(message.n_epochs)
        self._n_done += 1
        self._bar.update()
        left = self._under_way.pop(message.job, 0.0) - flop_per_epoch * message.n_epochs
        if left > 0 and message.training != message.job:  # a job of one training, named after it, has nothing left
            self._under_way[message.job] = left

    def _advance(self, message: Progress) -> None:
        self.n_images += message.n_images
        self._flop += message.flop
        self._under_way[message.job] += message.flop
        now = time.monotonic()
        self._recent.append((now, self.n_images, self._flop))
        while now - self._recent[0][0] > _WINDOW_S:
            self._recent.popleft()
        self._bar.set_postfix_str(self._speed(), refresh=False)
        self._bar.update(0)
        if self._bar.disable and now >= self._next_line_s:
            self._next_line_s = now + _LINE_EVERY_S
            self._print_line()

    def _print_line(self) -> None:
        speed = f", {self._speed()}" if self._n_done < self._total else ""
        say(f"{self._population}: {self._n_done}/{self._total} trainings{speed}", error=True)

    def _speed(self) -> str:
        (t0, n0, flop0), (t1, n1, flop1) = (self._recent[0], self._recent[-1]) if self._recent else ((0.0, 0, 0.0),) * 2
        if t1 - t0 < _SETTLED_S or flop1 <= flop0:
            return "starting"
        left_s = self._flop_left() * (t1 - t0) / (flop1 - flop0)
        return f"{_clock(left_s)} left, {(n1 - n0) / (t1 - t0):,.0f} images x models/s"

    def _flop_left(self) -> float:
        epochs = sum(self._epochs) / len(self._epochs) if self._epochs else self._guess
        at_least = min(_AT_LEAST_LEFT * epochs, self._epoch_cap - MIN_EPOCH_CAP)  # no training stops before the least cap
        flop_per_epoch = sum(self._unfinished.values())
        return max(at_least * flop_per_epoch, epochs * flop_per_epoch - sum(self._under_way.values()))


def flop_per_epoch(planned: PlannedTraining, bank: ImageBank) -> float:
    """Return about how many operations an epoch takes; exact but for the classes of the validation images."""
    hp = planned.hyperparameters
    steps = max(1, steps_per_epoch(bank.labels(hp.dataset, "train"), hp.batch_size) * 9 // 10)
    return float(training_flop(Architecture.of(hp))) * steps * hp.batch_size


def _clock(seconds: float) -> str:
    """Return hours:minutes:seconds, or days and hours from two days on."""
    minutes, s = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} d {hours % 24} h"
    return f"{hours}:{minutes:02}:{s:02}" if hours else f"{minutes}:{s:02}"
