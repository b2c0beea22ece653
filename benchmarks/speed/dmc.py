"""What a training step of the DMC costs and what holds it up: ``python -m benchmarks.speed.dmc``.

One process takes turns, so that a noisy machine disturbs all alike: a batch of new random windows through the loader that
trainings use (sampler, gather, collate), a step of the model on it (forward, backward, Adam) in float32 and in bfloat16, and
a bare product of two 2048x2048 matrices in both. Reports the model's share of the step (the bar is 90 %), windows a second
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

_PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
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


def model_step(layers: DMCLayers, precision: str) -> Callable[[Tensor, Tensor], None]:
    """Return a function that trains a new network on one batch."""
    network = DMCNetwork(layers)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3, fused=True)

    def step(weights: Tensor, labels: Tensor) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            out = network(weights)
        optimizer.zero_grad()
        F.cross_entropy(out.float(), labels).backward()
        optimizer.step()
        network.step += 1

    return step


def seconds(work: Callable[[], Any]) -> float:
    """Return how long a call takes."""
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s


def measure(view: WeightView, length: int, batch_size: int, rounds: int) -> dict[str, Any]:
    """Return the medians over the rounds; the first turn of everything is not counted."""
    if len(view) < batch_size:
        raise SelectionError(f"the batch size must be at most {len(view)}, the items of the view, got {batch_size}")
    keep_freed_memory()
    layers = DMCLayers.of(length, len(view.classes))
    source = batches(view, batch_size)
    steps = {name: model_step(layers, name) for name in _PRECISIONS}
    matrices = {name: torch.randn(_GEMM, _GEMM).to(dtype) for name, dtype in _PRECISIONS.items()}
    data_s: list[float] = []
    times_s: dict[str, list[float]] = {f"{kind} {name}": [] for name in _PRECISIONS for kind in ("step", "product")}
    for _ in range(rounds + 1):
        began_s = time.perf_counter()
        weights, labels = next(source)
        data_s.append(time.perf_counter() - began_s)
        for name in _PRECISIONS:
            times_s[f"step {name}"].append(seconds(lambda step=steps[name], w=weights, y=labels: step(w, y)))  # type: ignore[misc]
            times_s[f"product {name}"].append(seconds(lambda m=matrices[name]: m @ m))  # type: ignore[misc]
    medians = {name: statistics.median(times[1:]) for name, times in times_s.items()}
    flop = 3 * batch_size * layers.forward_flop()
    return {
        "length": length,
        "batch_size": batch_size,
        "threads": torch.get_num_threads(),
        "data_s": statistics.median(data_s[1:]),
        "gflop_a_step": flop / 1e9,
        "precisions": {
            name: {
                "step_s": medians[f"step {name}"],
                "model_share": _share(times_s[f"step {name}"][1:], data_s[1:]),
                "items_a_second": batch_size / (medians[f"step {name}"] + statistics.median(data_s[1:])),
                "gflops": flop / medians[f"step {name}"] / 1e9,
                "gflops_of_a_product": 2 * _GEMM**3 / medians[f"product {name}"] / 1e9,
            }
            for name in _PRECISIONS
        },
    }


def _share(model_s: list[float], data_s: list[float]) -> float:
    return statistics.median(m / (m + d) for m, d in zip(model_s, data_s, strict=True))


def render(report: dict[str, Any]) -> str:
    """Return the report as lines of text."""
    lines = [
        f"windows of {report['length']:,} values, batches of {report['batch_size']}, {report['threads']} thread(s), "
        f"{report['gflop_a_step']:.0f} GFLOP a step; a batch is read in {report['data_s'] * 1e3:.1f} ms"
    ]
    for name, found in report["precisions"].items():
        lines.append(
            f"{name:9} {found['step_s']:.3f} s a step, {found['items_a_second']:.0f} items/s, model "
            f"{found['model_share']:.1%} of it (bar {BAR:.0%}), {found['gflops']:.0f} GFLOP/s; "
            f"bare product {found['gflops_of_a_product']:.0f}"
        )
    return "\n".join(lines)


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
