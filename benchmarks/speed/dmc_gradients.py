"""Whether a DMC's step computes the loss's gradient, and what that costs: ``python -m benchmarks.speed.dmc_gradients``.

Gradients of one step at initial weights against those in float64: median relative error and cosine over all parameters,
for windows of 5,000 in batches of 64 and whole vectors in batches of 16, raw and asinh, of ``nws_data.batch_norm`` in
float32 and bfloat16 and of PyTorch's ``F.batch_norm`` in the same network. ``flips`` counts the values behind the fully
connected layers' ReLUs that are 0 in one and not in the other: with so few items one of them moves the gradients of all
layers below by a half of a per cent. Then the CPU time of a float32 step, in turns, as a ratio to that with PyTorch's norm.
Needs a dataset with ``fixed`` trainings, ``--data DIR``; ten minutes of a core.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor

from baselines.dmc import network as dmc
from baselines.dmc.layers import GLOBAL_ABOVE, DMCLayers
from benchmarks.speed.dmc import model_step
from nws_data.batch_norm import batch_norm
from nws_data.machine import keep_freed_memory
from nws_data.read.dataset import open as open_dataset
from nws_data.read.views import GlobalVectors, RandomWindows, WeightView

_SIZES = ((5_000, 64), (92_868, 16))
_TARGET = "optimizer"


def pytorch_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float, relu: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Do what ``nws_data.batch_norm`` does with ReLU, as plain PyTorch."""
    mean, variance = torch.zeros_like(weight).detach(), torch.zeros_like(weight).detach()
    y = F.batch_norm(F.relu(x), mean, variance, weight, bias, True, 1.0, eps)
    return y, mean, variance


NORMS: dict[str, Callable[..., tuple[Tensor, Tensor, Tensor]]] = {"ours": batch_norm, "F.batch_norm": pytorch_norm}


def batch(root: Path, length: int, size: int) -> tuple[Tensor, Tensor]:
    """Return ``size`` random items of a dataset and their labels."""
    data = open_dataset(root, "fixed")
    view: WeightView = (
        GlobalVectors(data, target=_TARGET) if length > GLOBAL_ABOVE else RandomWindows(data, length, target=_TARGET)
    )
    chosen = torch.randperm(len(view), generator=torch.Generator().manual_seed(0))[:size].tolist()
    items = [view[i] for i in chosen]
    return torch.stack([weights for weights, _ in items]), torch.tensor([int(label) for _, label in items])


def gradients(network: dmc.DMCNetwork, weights: Tensor, labels: Tensor, bfloat16: bool = False) -> tuple[Tensor, Tensor]:
    """Return the gradient of all parameters in float64, and which values pass the fully connected layers' ReLUs."""
    passed: list[Tensor] = []
    hooks = [layer.register_forward_hook(lambda _, __, out: passed.append(out > 0)) for layer in network.matrices[:-1]]
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        out = network(weights)
    loss = F.cross_entropy(out.float() if bfloat16 else out, labels)
    found = torch.autograd.grad(loss, list(network.parameters()))
    for hook in hooks:
        hook.remove()
    return torch.cat([gradient.double().flatten() for gradient in found]), torch.cat(passed, dim=1)


def compare(root: Path, length: int, size: int, seeds: int) -> None:
    """Print one line for each seed, kind of inputs, norm and precision."""
    weights, labels = batch(root, length, size)
    for inputs in dmc.INPUTS:
        for seed in range(seeds):
            network = dmc.DMCNetwork(DMCLayers.of(length, 3), seed, inputs)
            exact, exact_passed = gradients(copy.deepcopy(network).double(), weights.double(), labels)
            for (name, norm), bfloat16 in ((n, b) for b in (False, True) for n in NORMS.items()):
                with patch.object(dmc, "batch_norm", norm):
                    got, passed = gradients(network, weights, labels, bfloat16)
                kept = exact != 0
                error = ((got - exact)[kept] / exact[kept]).abs().median().item()
                cosine = F.cosine_similarity(got, exact, dim=0).item()
                flips = int((passed != exact_passed).sum())
                what = f"{length:6} x {size} {inputs:5} seed {seed} {'bfloat16' if bfloat16 else 'float32 '} {name:12}"
                print(f"{what} median error {error:.1e}, cosine {cosine:.5f}, {flips} flips", flush=True)


def step_ratio(root: Path, length: int, size: int, rounds: int) -> None:
    """Print the CPU time of a float32 step over that with PyTorch's norm, as the median of the rounds."""
    weights, labels = batch(root, length, size)
    steps = {name: model_step(DMCLayers.of(length, 3)) for name in NORMS}
    times_s: dict[str, list[float]] = {name: [] for name in NORMS}
    for _ in range(rounds + 1):
        for name, norm in NORMS.items():
            with patch.object(dmc, "batch_norm", norm):
                began_s = time.process_time()
                steps[name](weights, labels)
                times_s[name].append(time.process_time() - began_s)
    ours, theirs = (times[1:] for times in times_s.values())
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    medians = f"{statistics.median(ours):.2f} s of CPU time against {statistics.median(theirs):.2f}"
    print(f"{length:6} x {size} a float32 step takes {ratio:.2f} of that with F.batch_norm ({medians})", flush=True)


def main(arguments: list[str] | None = None) -> None:
    """Print gradients and times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a dataset's folder")
    parser.add_argument("--seeds", type=int, default=1, help="initial weights (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    keep_freed_memory()
    for length, size in _SIZES:
        compare(options.data, length, size, options.seeds)
        step_ratio(options.data, length, size, options.rounds)


if __name__ == "__main__":
    main()
