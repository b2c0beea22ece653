"""Where the native CPU path spends its time, over the mixed random queue of benchmarks/speed/queue.py.

    python -m benchmarks.speed.profile [--trainings 12] [--precision float32 bfloat16] [--json]

A second run measures the shares; the first fills caches. Clocks around some thirty calls a step cost less than 1 %.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from benchmarks.speed.queue import builder_queue, write_images
from builders.compute.backend import CPU_PRECISIONS
from builders.compute.native import training
from builders.compute.native.convolution import Convolution
from builders.compute.native.kernels import required_kernels
from builders.compute.single import SingleFleet

LABELS = {
    "conv_forward": "norm, pool and activation, forward",
    "conv_backward": "norm, pool and activation, backward",
    "hidden_forward": "hidden layers' norm, activation, dropout, forward",
    "hidden_backward": "hidden layers' norm, activation, dropout, backward",
    "cross_entropy": "loss",
    "update": "optimizer",
    "dropout_mask": "dropout's random words",
    "images_in": "images to the network's input",
}
REST = "Python, small copies, matrix products"


class Stopwatch:
    """Adds up the time of calls by label; a call inside another timed one counts for the outer one alone."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._busy = False

    def wrap(self, label: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return the call with a clock around it."""

        def timed(*arguments: Any, **named: Any) -> Any:
            if self._busy:
                return call(*arguments, **named)
            self._busy, started = True, time.perf_counter()
            try:
                return call(*arguments, **named)
            finally:
                self.seconds[label] += time.perf_counter() - started
                self._busy = False

        return timed


def profile(bank: Path, n: int, precision: str) -> dict[str, float]:
    """Return seconds by label, the rest among them."""
    work = builder_queue(bank, n, precision, "native")
    watch, library = Stopwatch(), required_kernels(torch.float32)
    timed: list[tuple[Any, str, str]] = [
        (Convolution, "forward", "convolutions, forward"),
        (Convolution, "backward", "convolutions, backward"),
        (SingleFleet, "evaluate", "evaluation"),
        (training, "augment", "augmentation"),
        *((library, name, label) for name, label in LABELS.items()),
    ]
    with ExitStack() as stack:
        for owner, name, label in timed:
            stack.enter_context(patch.object(owner, name, watch.wrap(label, getattr(owner, name))))
        work()
        watch.seconds.clear()
        started = time.perf_counter()
        work()
        total = time.perf_counter() - started
    return dict(watch.seconds) | {REST: total - sum(watch.seconds.values())}


def main() -> None:
    """Print the shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainings", type=int, default=12, help="length of the queue (default 12)")
    parser.add_argument("--precision", choices=CPU_PRECISIONS, nargs="+", default=list(CPU_PRECISIONS))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = {}
    for precision in options.precision:
        with tempfile.TemporaryDirectory() as folder:
            write_images(Path(folder))
            found[precision] = profile(Path(folder), options.trainings, precision)
    if options.json:
        print(json.dumps(found, indent=1))
        return
    for precision, seconds in found.items():
        total = sum(seconds.values())
        print(f"{precision}: {total:.1f} s")
        for label, value in sorted(seconds.items(), key=lambda item: -item[1]):
            print(f"  {value / total:6.1%}  {label}")


if __name__ == "__main__":
    main()
