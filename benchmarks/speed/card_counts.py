"""Kernels launched and bytes moved by a training step on a card, counted without one.

    python -m benchmarks.speed.card_counts [--architecture smallest fixed largest] [--batch 64] [--json]

A step is Triton's launches alone. They run on the CPU, the first program of each in the interpreter: a launch moves what its
first program touches, times its programs, but of no tensor more than all. Caches and repeated reads are left out.

The floor is what a step has to move whoever computes it with these convolutions: the image as uint8 and its bfloat16 copy,
each convolution's tensors once for each of its passes, and 28 bytes a weight for the optimizer. Goal: 1.6 times that, and at
most 100 kernels a step of the fixed architecture. Hours are an estimate: the larger of bytes over --terabytes-s and kernels
over --kernels-s, for all images of the dataset; nothing of it was timed.
"""

from __future__ import annotations

import os

if __name__ == "__main__":
    os.environ["TRITON_INTERPRET"] = "1"  # before triton is imported

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.speed.alternate import command_line, count, show
from builders.compute.backend import CARD_PRECISIONS
from builders.compute.cards.bank import DeviceBank
from builders.compute.cards.fleet import DeviceFleet
from builders.compute.cards.self_check import made_up
from builders.images.bank import ImageBank, random_bank
from builders.plan.shape import Shape
from builders.recipe.initialization import initial_vector
from nws_data.space.architecture import IMAGE_SHAPE, Architecture, all_architectures
from nws_data.space.hyperparameters import CLASSES

ARCHITECTURES = {
    "smallest": Architecture(3, 3, 3, 16, 64),
    "fixed": Architecture(5, 3, 3, 32, 128),
    "largest": Architecture(7, 5, 5, 48, 192),
}
SET = "random"
GOAL, GOAL_KERNELS = 1.6, 100
TRAIN_IMAGES = {"fixed": 5.4e9, "random": 2.33e10}
"""Training images x models of the whole dataset, if trainings take 50 epochs on average."""


def floor_bytes(architecture: Architecture, batch_size: int) -> float:
    """Return the bytes an image that a step has to move."""
    area, total = IMAGE_SHAPE[1] * IMAGE_SHAPE[2], IMAGE_SHAPE[0] * IMAGE_SHAPE[1] * IMAGE_SHAPE[2] + 8.0 * 1024
    for layer in (layer for layer in architecture.layers if layer.is_conv):
        x, z = 2 * area * (layer.n_in + -layer.n_in % 4), 2 * area * layer.n_out
        area //= 4 if layer.pool_after else 1
        y = 2 * area * layer.n_out
        forward = x + z + z + y
        backward = (y + z if layer.has_norm else 0) + (y + z + z) + (x + z) + (0 if layer.n_in == 3 else z + x)
        total += forward + backward
    return total + 28 * architecture.n_weights / batch_size


@contextmanager
def counted() -> Iterator[tuple[Counter[str], Counter[str]]]:
    """Give launches and their bytes by kernel, of all of Triton's inside; of each the first program runs alone."""
    from triton.runtime import interpreter  # type: ignore[import-untyped]

    kernels, nbytes = Counter[str](), Counter[str]()
    run, builder = interpreter.InterpretedFunction.run, interpreter.interpreter_builder
    load, store = builder.create_masked_load, builder.create_masked_store
    touched: list[tuple[bool, np.ndarray]] = []

    def masked_load(pointers: Any, mask: Any, *rest: Any) -> Any:
        touched.append((False, pointers.data[mask.data].ravel()))
        return load(pointers, mask, *rest)

    def masked_store(pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
        touched.append((True, pointers.data[mask.data].ravel()))
        return store(pointers, value, mask, *rest)

    def first_program(function: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> None:
        touched.clear()
        with np.errstate(all="ignore"):  # its values mean nothing
            run(function, *args, grid=(1,), warmup=warmup, **kwargs)
        tensors = [value for value in args if isinstance(value, Tensor)]
        kernels[function.fn.__name__] += 1
        nbytes[function.fn.__name__] += _touched_bytes(touched, tensors, int(np.prod(grid)))

    builder.create_masked_load, builder.create_masked_store = masked_load, masked_store
    interpreter.InterpretedFunction.run = first_program
    try:
        yield kernels, nbytes
    finally:
        interpreter.InterpretedFunction.run = run
        builder.create_masked_load, builder.create_masked_store = load, store


def _touched_bytes(touched: Sequence[tuple[bool, np.ndarray]], tensors: Sequence[Tensor], n_programs: int) -> int:
    """Return what all programs move, judged by the addresses that the first one read or wrote (True)."""
    starts = np.array(sorted({tensor.data_ptr() for tensor in tensors}), np.uint64)
    by_start = {tensor.data_ptr(): tensor for tensor in tensors}
    seen: dict[tuple[bool, int], list[np.ndarray]] = {}
    for writes, addresses in touched:
        if len(addresses):
            start = int(starts[np.searchsorted(starts, addresses[:1].astype(np.uint64), side="right")[0] - 1])
            seen.setdefault((writes, start), []).append(addresses)
    total = 0
    for (_, start), parts in seen.items():
        tensor = by_start[start]
        own = len(np.unique(np.concatenate(parts))) * tensor.element_size()
        total += min(tensor.nbytes, own * n_programs)
    return total


def full_fleet(shape: Shape, bank: DeviceBank, precision: str, slots: int, **options: Any) -> DeviceFleet:
    """Return a fleet with a training in every slot, half of them augmenting, at the beginning of an epoch."""
    fleet = DeviceFleet(shape, bank, "triton", precision, slots, **options)
    n_train, n_test = (item := bank.host.sets[SET]).n_train, item.n_test
    scored = {"a": ("train", torch.arange(n_train // 5)), "b": ("test", torch.arange(n_test))}
    steps = max(1, n_train * 9 // 10 // shape.batch_size)
    for slot in range(fleet.slots):
        training = made_up(shape, SET, slot)
        fleet.load(slot, training, initial_vector(training.hyperparameters, slot), scored)
        rows = torch.arange(steps * shape.batch_size, device=bank.device).view(steps, -1) % n_train
        fleet.set_epoch(slot, rows, torch.full((steps,), 1e-3, dtype=torch.float64))
    return fleet


def measure(name: str, batch_size: int, precision: str, slots: int | None) -> dict[str, Any]:
    """Return kernels and kilobytes an image of one augmenting step of a full fleet, and by kernel."""
    shape = Shape(ARCHITECTURES[name], batch_size)
    slots = slots or shape.card_slots
    images = slots * batch_size
    with tempfile.TemporaryDirectory() as folder:
        random_bank(Path(folder), {SET: (2 * images, 10)})
        fleet = full_fleet(shape, DeviceBank(ImageBank.open(Path(folder)), torch.device("cpu")), precision, slots)
        with counted() as (kernels, nbytes):
            fleet.run(1)
    floor, kb_image = floor_bytes(shape.architecture, batch_size) / 1e3, nbytes.total() / images / 1e3
    return {
        "architecture": name,
        "slots": slots,
        "batch": batch_size,
        "kernels": kernels.total(),
        "kb_image": kb_image,
        "floor_kb": floor,
        "times_floor": kb_image / floor,
        "parts": {part: [n, nbytes[part] / images / 1e3] for part, n in kernels.most_common()},
    }


def hours(rows: Sequence[Mapping[str, Any]], bytes_s: float, kernels_s: float) -> dict[str, float]:
    """Return the estimated hours of training of each population.

    Other architectures than the counted ones are taken to move the mean multiple of their floors and to launch the mean
    number of kernels a layer. Fleets in flight share the card's launch rate; slots are taken to be full.
    """
    ratio = float(np.mean([row["times_floor"] for row in rows]))
    a_layer = float(np.mean([row["kernels"] / len(ARCHITECTURES[row["architecture"]].layers) for row in rows]))
    found = {}
    for population, images in TRAIN_IMAGES.items():
        architectures = [ARCHITECTURES["fixed"]] if population == "fixed" else list(all_architectures())
        shapes = [Shape(architecture, batch) for architecture in architectures for batch in CLASSES["batch_size"]]
        seconds = [
            max(
                ratio * floor_bytes(shape.architecture, shape.batch_size) / bytes_s,
                a_layer * len(shape.architecture.layers) / (shape.card_slots * shape.batch_size * kernels_s),
            )
            for shape in shapes
        ]
        found[population] = images * float(np.mean(seconds)) / 3600
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Count and print."""
    parser = command_line(__doc__)
    parser.add_argument("--architecture", choices=ARCHITECTURES, nargs="+", default=list(ARCHITECTURES))
    parser.add_argument("--batch", type=count, default=64, help="images of a batch (default %(default)s)")
    parser.add_argument("--slots", type=count, help="of a fleet (default: as in a build)")
    parser.add_argument("--precision", choices=CARD_PRECISIONS, default="bfloat16")
    parser.add_argument("--terabytes-s", type=float, default=3.6, help="of the card's memory (default %(default)s, an H200)")
    parser.add_argument("--kernels-s", type=float, default=2e6, help="launched by all streams (default %(default)g)")
    options = parser.parse_args(arguments)
    rows = [measure(name, options.batch, options.precision, options.slots) for name in options.architecture]
    estimate = hours(rows, options.terabytes_s * 1e12, options.kernels_s)
    if options.json:
        print(json.dumps({"steps": rows, "estimated_hours": estimate}, indent=1))
        return
    show([{name: value for name, value in row.items() if name != "parts"} for row in rows], False)
    for row in rows:
        print(f"\n{row['architecture']}, by kernel: launches, KB an image")
        show([{"kernel": part, "launches": n, "kb_image": kb} for part, (n, kb) in row["parts"].items()], False)
    both = " + ".join(f"{value:.1f} h {population}" for population, value in estimate.items())
    print(f"\nGoal: {GOAL} times the floor, {GOAL_KERNELS} kernels a step of the fixed architecture.")
    print(f"Estimate, nothing timed: {both} of training")
    print(f"(full slots, {options.terabytes_s:g} TB/s, {options.kernels_s:g} kernels/s).")


if __name__ == "__main__":
    main()
