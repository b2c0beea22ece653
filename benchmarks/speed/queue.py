"""A mixed random queue on one core: the builder against sequential eager PyTorch, weighted by time.

    python -m benchmarks.speed.queue [--trainings 20] [--rounds 5] [--json]

The queue is the beginning of the plan of the random population: every architecture, batch size, optimizer, activation and
augmentation as drawn, three of five image sets in colour. Each training runs its first epochs with all that belongs to
them: batches, augmentation, steps, and evaluations whose images are half as many as those of training, as in the paper.
The baseline is plain PyTorch, one network after another (see benchmarks/speed/build.py). Contenders run in turns; what
counts is the median of the ratios of whole queues, so that the large architectures have the weight of their time.

Beside each ratio stands the share of this machine's measured peak of matrix products that the contender's convolutions
and products reach, everything else included in the time.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F

from benchmarks.speed.alternate import Setup, Timing, Work, alternate, compared
from benchmarks.speed.build import train_eager, train_epochs
from benchmarks.speed.eager import random_bank
from builders.compute.backend import CPU_BACKENDS, CPU_PRECISIONS
from builders.compute.compute_path import enter_compute_path
from builders.images.bank import ImageBank
from builders.plan.cost import forward_flop, training_flop
from builders.plan.trainings import PlannedTraining, plan_trainings
from builders.recipe.epochs import EpochSampler, split_images
from nws_data.space.architecture import Architecture
from nws_data.space.hyperparameters import IMAGE_SETS

N_EPOCHS = 2
N_TRAIN, N_TEST = 2_000, 250
GRAY = ("mnist", "fashion_mnist")
BUILD_SEED = 0


def write_images(folder: Path) -> None:
    """Write a bank with random images under the paper's names, two of them gray."""
    random_bank(folder, dict.fromkeys(IMAGE_SETS, (N_TRAIN, N_TEST)), GRAY)


def queue(n: int) -> list[PlannedTraining]:
    """Return the first ``n`` trainings of the random population's plan."""
    return list(plan_trainings("random", n, BUILD_SEED, IMAGE_SETS))


def eager_queue(bank: Path, n: int) -> Work:
    """The baseline."""
    torch.set_num_threads(1)
    opened = ImageBank.open(bank)

    def work() -> None:
        for planned in queue(n):
            train_eager(planned, opened, N_EPOCHS)

    return work


def builder_queue(bank: Path, n: int, precision: str, backend: str) -> Work:
    """The builder's trainer, one training after another: in a queue this short hardly two share a shape."""
    enter_compute_path()
    opened = ImageBank.open(bank)

    def work() -> None:
        for planned in queue(n):
            train_epochs(planned, opened, N_EPOCHS, precision, backend)

    return work


def queue_flop(bank: Path, n: int) -> float:
    """Return the operations of the queue's convolutions and products, training and evaluation."""
    opened, total = ImageBank.open(bank), 0.0
    for planned in queue(n):
        hp = planned.hyperparameters
        architecture, labels = Architecture.of(hp), opened.labels(hp.dataset, "train")
        split = split_images(len(labels), planned.seed)
        trained = EpochSampler(split, labels, planned.seed, hp.batch_size).batches(0).numel() * N_EPOCHS
        scored = (len(split.validation) + len(split.train_scored) + N_TEST) * (N_EPOCHS + 1)
        total += training_flop(architecture) * trained + forward_flop(architecture) * scored
    return total


def gemm_peak(precision: str, seconds: float = 2.0) -> float:
    """Return this machine's operations per second in one thread's matrix products, the better of PyTorch's two libraries.

    ``torch.mm`` in float32 is MKL, which is slow on some processors; a 1x1 convolution is a product by oneDNN.
    """
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    a, b = torch.randn(2, 1024, 1024, dtype=dtype)
    x = torch.randn(16, 16, 16, 512, dtype=dtype).permute(0, 3, 1, 2)
    kernel = torch.randn(512, 512, 1, 1, dtype=dtype).contiguous(memory_format=torch.channels_last)
    best = 0.0
    for product, flop in ((lambda: a @ b, 2 * 1024**3), (lambda: F.conv2d(x, kernel), 2 * 16**3 * 512**2)):
        product()
        stop = time.perf_counter() + seconds / 2
        while (started := time.perf_counter()) < stop:
            product()
            best = max(best, flop / (time.perf_counter() - started))
    return best


def measure(n: int, rounds: int, backends: list[str]) -> tuple[dict[str, Timing], float]:
    """Time the queue by every contender; return the timings and the queue's operations."""
    with tempfile.TemporaryDirectory() as folder:
        bank = Path(folder)
        write_images(bank)
        contenders: dict[str, Setup] = {"eager float32": partial(eager_queue, bank, n)}
        for backend in backends:
            contenders |= {f"{backend} {name}": partial(builder_queue, bank, n, name, backend) for name in CPU_PRECISIONS}
        return alternate(contenders, rounds), queue_flop(bank, n)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainings", type=int, default=20, help="length of the queue (default 20)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backend", choices=CPU_BACKENDS, nargs="+", default=["native"])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    timings, flop = measure(options.trainings, options.rounds, options.backend)
    peaks = {precision: gemm_peak(precision) for precision in CPU_PRECISIONS}
    rows = []
    for name, timing in timings.items():
        peak, rate = peaks[name.split()[1]], flop / timing.median_s
        rows.append(
            {
                "contender": name,
                **compared(timings["eager float32"], timing),
                "gflops": rate / 1e9,
                "gemm_peak_gflops": peak / 1e9,
                "share_of_peak": rate / peak,
            }
        )
    if options.json:
        print(json.dumps({"trainings": options.trainings, "rounds": options.rounds, "rows": rows}, indent=1))
        return
    print(
        f"the first {options.trainings} random trainings, {N_EPOCHS} epochs each, one core, {options.rounds} rounds in turns"
    )
    print("times faster than sequential eager: median (least to most); operations per second; share of the GEMM peak")
    for row in rows:
        print(
            f"{row['contender']:18} {row['ratio']:5.2f} ({row['least']:.2f} to {row['most']:.2f}) {row['median_s']:7.1f} s"
            f" {row['gflops']:6.0f} GFLOP/s, {row['share_of_peak']:4.0%} of {row['gemm_peak_gflops']:.0f}"
        )


if __name__ == "__main__":
    main()
