"""The live display of a build: trainings done, speed, time left."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Mapping
from types import TracebackType

from tqdm import tqdm

from builders.engine.worker import Finished, Progress

_WINDOW_S = 60.0  # speed is that of the last minute
_SETTLED_S = 10.0  # before that, starting workers would count as slow ones
_LINE_EVERY_S = 30.0  # where there is no terminal, as in a log file
_GUESSED_EPOCHS = 60.0  # until a training has finished


class BuildProgress:
    """Counts messages of the workers and shows them on stderr: one line on a terminal, else one every half minute.

    Speed is in images x models a second: training images, summed over the networks that are trained side by side. Time
    left assumes that the trainings to come take as many epochs as the finished ones did on average.

    Args:
        population: shown in front.
        flop_per_epoch: operations of an epoch of each training to run, by id.
        n_done: trainings finished in an earlier run.
        epoch_cap: bound on epochs.
    """

    def __init__(self, population: str, flop_per_epoch: Mapping[str, float], n_done: int, epoch_cap: int) -> None:
        self._flop_per_epoch = flop_per_epoch
        self._epochs: list[int] = []
        self._guess = min(_GUESSED_EPOCHS, epoch_cap)
        self._flop_done = 0.0
        self._recent: deque[tuple[float, int, float]] = deque([(time.monotonic(), 0, 0.0)])
        self.n_images = 0
        self._population, self._n_done, self._total = population, n_done, n_done + len(self._flop_per_epoch)
        self._terminal = sys.stderr.isatty()
        self._next_line_s = time.monotonic() + _SETTLED_S
        self._bar = tqdm(
            total=self._total,
            initial=n_done,
            desc=population,
            bar_format="{desc} {bar:20} {n_fmt}/{total_fmt} trainings, {elapsed} elapsed{postfix}",
            dynamic_ncols=True,
            disable=not self._terminal,
        )

    def __enter__(self) -> BuildProgress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.close()
        if not self._terminal:
            self._print_line()

    def report(self, message: Progress | Finished) -> None:
        """Take a worker's message."""
        if isinstance(message, Finished):
            self._epochs.append(message.n_epochs)
            self._n_done += 1
            self._bar.update()
            return
        self.n_images += message.n_images
        self._flop_done += message.flop
        now = time.monotonic()
        self._recent.append((now, self.n_images, self._flop_done))
        while now - self._recent[0][0] > _WINDOW_S:
            self._recent.popleft()
        self._bar.set_postfix_str(self._speed(), refresh=False)
        self._bar.update(0)
        if not self._terminal and now >= self._next_line_s:
            self._next_line_s = now + _LINE_EVERY_S
            self._print_line()

    def _print_line(self) -> None:
        speed = f", {self._speed()}" if self._n_done < self._total else ""
        print(f"{self._population}: {self._n_done}/{self._total} trainings{speed}", file=sys.stderr, flush=True)

    def _speed(self) -> str:
        (t0, n0, flop0), (t1, n1, flop1) = self._recent[0], self._recent[-1]
        if t1 - t0 < _SETTLED_S or flop1 <= flop0:
            return "starting"
        left_s = self._flop_left() * (t1 - t0) / (flop1 - flop0)
        return f"{(n1 - n0) / (t1 - t0):,.0f} images x models/s, {_clock(left_s)} left"

    def _flop_left(self) -> float:
        epochs = sum(self._epochs) / len(self._epochs) if self._epochs else self._guess
        return max(0.0, sum(self._flop_per_epoch.values()) * epochs - self._flop_done)


def _clock(seconds: float) -> str:
    """Return hours:minutes:seconds, or days and hours from two days on."""
    minutes, s = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} d {hours % 24} h"
    return f"{hours}:{minutes:02}:{s:02}" if hours else f"{minutes}:{s:02}"
