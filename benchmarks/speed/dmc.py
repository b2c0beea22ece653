"""What a training step of the DMC costs and what holds it up: ``python -m benchmarks.speed.dmc``.

One process takes turns, so that a noisy machine disturbs all alike: a batch of new random windows through the loader that
trainings use (sampler, gather, collate), a step of the model on it (forward, backward, Adam), and a bare product
of two 2048x2048 matrices. Reports the model's share of the step (the bar is 90 %), windows a second
and the step's GFLOP/s beside those of the bare product. With ``--length 92868`` whole vectors are read. A minute for
windows of 5,000 on one free core, and 200 MB in a temporary folder unless ``--data`` names a dataset.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader

from baselines.dmc.layers import GLOBAL_ABOVE, DMCLayers
from baselines.dmc.network import DMCNetwork
from benchmarks.speed.loading_data import write_random_dataset
from nws_data.errors import SelectionError
from nws_data.machine import keep_freed_memory
from nws_data.read.dataset import open as open_dataset
from nws_data.read.sampler import EpochSampler
from nws_data.read.views import GlobalVectors, RandomWindows, WeightView

BAR = 0.9
"""Share of a local training step that the model must have."""

_GEMM = 2048
_TARGET = "optimizer"


def make_view(root: Path, length: int) -> WeightView:
    """Return random windows of a length, or whole vectors where the global net reads them."""
    if length > GLOBAL_ABOVE:
        return GlobalVectors(open_dataset(root, "fixed"), target=_TARGET, length=length)
    return RandomWindows(open_dataset(root, "random"), length, target=_TARGET)


def batches(view: WeightView, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield whole batches for ever, epoch after epoch, as a training reads them."""
    sampler = EpochSampler(view)
    epoch = 0
    while True:
        sampler.set_epoch(epoch)
        yield from DataLoader(view, batch_size=size, sampler=sampler, drop_last=True)
        epoch += 1


def model_step(layers: DMCLayers) -> Callable[[Tensor, Tensor], None]:
    """Return a function that trains a new network on one batch."""
    network = DMCNetwork(layers)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3, fused=True)

    def step(weights: Tensor, labels: Tensor) -> None:
        optimizer.zero_grad()
        F.cross_entropy(network(weights), labels).backward()
        optimizer.step()
        network.step += 1

    return step


def seconds(work: Callable[..., Any], *arguments: Any) -> float:
    """Return how long a call takes."""
    began_s = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - began_s


def measure(view: WeightView, length: int, batch_size: int, rounds: int) -> dict[str, Any]:
    """Return the medians over the rounds; the first turn of everything is not counted."""
    if len(view) < batch_size:
        raise SelectionError(f"the batch size must be at most {len(view)}, the items of the view, got {batch_size}")
    keep_freed_memory()
    layers = DMCLayers.of(length, len(view.classes))
    source, step, matrix = batches(view, batch_size), model_step(layers), torch.randn(_GEMM, _GEMM)
    turns = []
    for _ in range(rounds + 1):
        began_s = time.perf_counter()
        batch = next(source)
        data_s = time.perf_counter() - began_s
        turns.append((data_s, seconds(step, *batch), seconds(torch.mm, matrix, matrix)))
    data_s, step_s, product_s = (statistics.median(times) for times in zip(*turns[1:], strict=True))
    flop = 3 * batch_size * layers.forward_flop()
    return {
        "length": length,
        "batch_size": batch_size,
        "threads": torch.get_num_threads(),
        "data_s": data_s,
        "step_s": step_s,
        "model_share": statistics.median(model / (model + data) for data, model, _ in turns[1:]),
        "items_a_second": batch_size / (step_s + data_s),
        "gflop_a_step": flop / 1e9,
        "gflops": flop / step_s / 1e9,
        "gflops_of_a_product": 2 * _GEMM**3 / product_s / 1e9,
    }


def render(found: dict[str, Any]) -> str:
    """Return the report as lines of text."""
    return (
        f"windows of {found['length']:,} values, batches of {found['batch_size']}, {found['threads']} thread(s), "
        f"{found['gflop_a_step']:.0f} GFLOP a step; a batch is read in {found['data_s'] * 1e3:.1f} ms\n"
        f"{found['step_s']:.3f} s a step, {found['items_a_second']:.0f} items/s, model {found['model_share']:.1%} of it "
        f"(bar {BAR:.0%}), {found['gflops']:.0f} GFLOP/s; bare product {found['gflops_of_a_product']:.0f}"
    )


def main(arguments: list[str] | None = None) -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a dataset's folder; by default random numbers")
    parser.add_argument("--length", type=int, default=5000, help="values of a window (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    if min(options.rounds, options.threads, options.batch_size - 1) < 1:
        raise SelectionError("--rounds and --threads must be at least 1, --batch-size at least 2")
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        root = options.data or Path(folder) / "nws"
        if options.data is None:
            write_random_dataset(root, 20, "fixed" if options.length > GLOBAL_ABOVE else "random")
        report = measure(make_view(root, options.length), options.length, options.batch_size, options.rounds)
    print(json.dumps(report, indent=1) if options.json else render(report))


if __name__ == "__main__":
    main()
