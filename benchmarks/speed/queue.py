"""A mixed random queue on one core: the builder against sequential eager PyTorch, weighted by time.

    python -m benchmarks.speed.queue [--trainings 20] [--rounds 5] [--json]

The queue is the beginning of the plan of the random population: every architecture, batch size, optimizer, activation and
augmentation as drawn, three of five image sets in colour. Each training runs its first epochs with all that belongs to
them: batches, augmentation, steps, and evaluations whose images are half as many as those of training, as in the paper.
The baseline is plain PyTorch, one network after another (``eager.py``), on the same batches and images. Contenders run in
turns; the ratio is how many times faster than the baseline, the median of whole queues, so that the large architectures
have the weight of their time.

Beside each ratio stands the ``share`` of this machine's measured peak of matrix products that the contender's convolutions
and products reach, everything else included in the time.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import product
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.speed.alternate import Setup, Work, alternate, command_line, compared, count, show
from benchmarks.speed.eager import Eager
from builders.compute.backend import CPU_BACKENDS, CPU_PRECISIONS
from builders.compute.compute_path import enter_compute_path
from builders.compute.lane import Member
from builders.compute.trainer import open_backend
from builders.images.bank import ImageBank, random_bank
from builders.plan.shape import Shape, forward_flop, training_flop
from builders.plan.trainings import PlannedTraining, plan_trainings
from builders.recipe.epochs import split_images
from builders.recipe.initialization import initial_vector
from nws_data.space.architecture import Architecture
from nws_data.space.hyperparameters import IMAGE_SETS

N_EPOCHS = 2
N_TRAIN, N_TEST = 2_000, 250
GRAY = ("mnist", "fashion_mnist")
BUILD_SEED = 0
_EVALUATION_BATCH = 256


def write_images(folder: Path) -> None:
    """Write a bank with random images under the paper's names, two of them gray."""
    random_bank(folder, dict.fromkeys(IMAGE_SETS, (N_TRAIN, N_TEST)), GRAY)


def queue(n: int) -> list[PlannedTraining]:
    """Return the first ``n`` trainings of the random population's plan."""
    return list(plan_trainings("random", n, BUILD_SEED, IMAGE_SETS))


def contender(bank: Path, n: int, backend: str, precision: str) -> Work:
    """Return the queue by a backend of the builder, one training after another, or by the baseline ``eager``."""
    if backend == "eager":
        torch.set_num_threads(1)
    else:
        enter_compute_path()
    opened = ImageBank.open(bank)

    def work() -> None:
        for planned in queue(n):
            if backend == "eager":
                _train_eager(planned, opened)
            else:
                _train_epochs(planned, opened, precision, backend)

    return work


def _train_eager(planned: PlannedTraining, bank: ImageBank) -> None:
    name, eager = planned.hyperparameters.dataset, Eager(planned)
    member = Member(planned, bank, N_EPOCHS, torch.device("cpu"))

    def batches(part: str, positions: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        images, labels = bank.images(name, part), bank.labels(name, part)
        return ((images[rows], labels[rows]) for rows in positions)

    for epoch in range(N_EPOCHS + 1):
        if epoch:
            eager.train(batches("train", member.next_epoch()[0]))
        for part, positions in member.scored.values():
            eager.score(batches(part, positions.split(_EVALUATION_BATCH)))


def _train_epochs(planned: PlannedTraining, bank: ImageBank, precision: str, backend: str) -> None:
    hp = planned.hyperparameters
    fleet = open_backend(backend, bank, precision).fleet(Shape.of(hp), 0, 1)
    member = Member(planned, bank, N_EPOCHS, fleet.device)
    fleet.load(0, planned, initial_vector(hp, planned.seed), member.scored)
    member.pending.append(fleet.evaluate(0))
    for _ in range(N_EPOCHS):
        rows, rates = member.next_epoch()
        fleet.set_epoch(0, rows, rates)
        fleet.run(len(rows))
        member.pending.append(fleet.evaluate(0))
        member.collect()


def queue_flop(bank: Path, n: int) -> float:
    """Return the operations of the queue's convolutions and products, training and evaluation."""
    opened, total = ImageBank.open(bank), 0.0
    split = split_images(N_TRAIN, 0)
    scored = (len(split.validation) + len(split.train_scored) + N_TEST) * (N_EPOCHS + 1)
    for planned in queue(n):
        architecture = Architecture.of(planned.hyperparameters)
        trained = Member(planned, opened, N_EPOCHS, torch.device("cpu")).next_epoch()[0].numel() * N_EPOCHS
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
    for multiply, flop in ((lambda: a @ b, 2 * 1024**3), (lambda: F.conv2d(x, kernel), 2 * 16**3 * 512**2)):
        multiply()
        stop = time.perf_counter() + seconds / 2
        while (started := time.perf_counter()) < stop:
            multiply()
            best = max(best, flop / (time.perf_counter() - started))
    return best


def measure(n: int, rounds: int, backends: list[str]) -> list[dict[str, object]]:
    """Time the queue by every contender; return a row each."""
    with tempfile.TemporaryDirectory() as folder:
        bank = Path(folder)
        write_images(bank)
        paths = [("eager", "float32"), *product(backends, CPU_PRECISIONS)]
        contenders: dict[str, Setup] = {" ".join(path): partial(contender, bank, n, *path) for path in paths}
        times, flop = alternate(contenders, rounds), queue_flop(bank, n)
    peaks = {precision: gemm_peak(precision) for precision in CPU_PRECISIONS}
    rows: list[dict[str, object]] = []
    for name, own in times.items():
        found, peak = compared(times["eager float32"], own), peaks[name.split()[1]]
        rate = flop / found["median_s"]
        rows.append({"contender": name, **found, "gflops": rate / 1e9, "gemm_gflops": peak / 1e9, "share": rate / peak})
    return rows


def main() -> None:
    """Print the table."""
    parser = command_line(__doc__)
    parser.add_argument("--trainings", type=count, default=20, help="length of the queue (default: %(default)s)")
    parser.add_argument("--backend", choices=CPU_BACKENDS, nargs="+", default=["native"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    show(measure(options.trainings, options.rounds, options.backend), options.json)


if __name__ == "__main__":
    main()
