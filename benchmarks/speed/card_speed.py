"""Tasks of ``benchmarks.speed.cards`` that show how fast a card is, and where the time goes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.speed.card_checks import Job
from benchmarks.speed.card_counts import ARCHITECTURES, SET, TRAIN_IMAGES, floor_bytes
from benchmarks.speed.eager import Eager
from builders.compute.cards.card import MAX_FLEETS, find_device, open_card
from builders.compute.lane import Member
from builders.estimate.calibration import rates
from builders.plan.shape import Shape, forward_flop
from builders.plan.trainings import plan_trainings
from builders.recipe.initialization import initial_vector


def ceilings(job: Job) -> None:
    """What the card can do: copies, and products of large matrices."""
    a = torch.randint(0, 255, (4 << 30,), dtype=torch.uint8, device=job.device)
    b = torch.empty_like(a)
    job.emit(copy_terabytes_s=2 * a.numel() / job.median_s(lambda: b.copy_(a)) / 1e12)
    for dtype, tf32 in ((torch.bfloat16, False), (torch.float32, True), (torch.float32, False)):
        torch.backends.cuda.matmul.allow_tf32 = tf32
        x, y = (torch.randn(8192, 8192, device=job.device).to(dtype) for _ in range(2))
        job.emit(dtype=str(dtype), tf32=tf32, teraflop_s=2 * 8192**3 / job.median_s(partial(torch.mm, x, y)) / 1e12)


def launches(job: Job) -> None:
    """Small kernels a second in graphs, by streams; and how long the host is held while it queues them."""
    for n in (1, 2, 4, 8, 16):
        runs = []
        for _ in range(n):
            stream, x, captured = torch.cuda.Stream(), torch.randn(4096, device=job.device), torch.cuda.CUDAGraph()
            with torch.cuda.stream(stream):
                x.add_(1)
                job.sync()
                with torch.cuda.graph(captured, stream=stream):
                    for _ in range(500):
                        x.add_(1)
            runs.append((stream, captured))
        queued_s = 0.0

        def replay(runs: list[Any] = runs) -> None:
            nonlocal queued_s
            started_s = time.perf_counter()
            for _ in range(20):
                for stream, captured in runs:
                    with torch.cuda.stream(stream):
                        captured.replay()
            queued_s = time.perf_counter() - started_s

        seconds = job.median_s(replay, 3)
        job.emit(streams=n, million_kernels_s=n * 10_000 / seconds / 1e6, queued_share=queued_s / seconds)


def step(job: Job, name: str, batch: str, slots: str, precision: str) -> None:
    """Milliseconds a step, time of the host to enqueue it, memory; then of one replay each kernel's microseconds."""
    images = job.bank()
    fleet, n = job.fleet_of(name, int(batch), int(slots), precision, images), int(batch) * int(slots)
    with fleet.turn():
        fleet.run(10)
        for steps in (20, 100):  # does the launch queue take them, or does the host wait?
            queued: list[float] = []

            def enqueue(steps: int = steps, queued: list[float] = queued) -> None:
                fleet.state.rewind()
                started_s = time.perf_counter()
                fleet.run(steps)
                queued.append((time.perf_counter() - started_s) / steps)

            seconds = job.median_s(enqueue, 5) / steps
            bound = floor_bytes(ARCHITECTURES[name], int(batch)) * n
            job.emit(steps=steps, ms=seconds * 1e3, ns_image=seconds / n * 1e9, host_us=statistics.median(queued) * 1e6,
                 floor_terabytes_s=bound / seconds / 1e12, reserved_gb=torch.cuda.max_memory_reserved() / 1e9)  # fmt: skip
        fleet.state.rewind()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            fleet.run(1)
            job.sync()
    rows = [(e.self_device_time_total, e.count, e.key) for e in profile.key_averages() if e.self_device_time_total]
    job.emit(kernels=sum(count for _, count, _ in rows), busy_us=sum(us for us, _, _ in rows))
    for us, count, kernel in sorted(rows, reverse=True)[:25]:
        job.emit(kernel=kernel[:70], count=count, us=us)


def evaluation(job: Job, name: str) -> None:
    """An evaluation of one member: on the card, and to enqueue."""
    fleet = job.fleet_of(name, 64, 2, "bfloat16", job.bank())
    n = sum(len(rows) for rows in fleet.scored(0))
    queued = []

    def evaluate() -> None:
        started_s = time.perf_counter()
        fleet.evaluate(0)
        queued.append(time.perf_counter() - started_s)

    with fleet.turn():
        seconds = job.median_s(evaluate)
    flop = forward_flop(ARCHITECTURES[name]) * n
    job.emit(images=n, ns_image=seconds / n * 1e9, host_ms=statistics.median(queued) * 1e3, teraflop_s=flop / seconds / 1e12)


def host(job: Job) -> None:
    """What the one thread of the host does for a training and for an epoch, in milliseconds."""
    images = job.bank()
    started_s = time.perf_counter()
    fleet = job.fleet_of("fixed", 64, 4, "bfloat16", images)
    job.emit(open_ms=(time.perf_counter() - started_s) * 1e3)
    planned = next(plan_trainings("fixed", 1, 0, [SET]))
    with fleet.turn():
        member = Member(planned, images.host, 1000, fleet.device)
        vector = initial_vector(planned.hyperparameters, planned.seed)
        rows, rates = member.next_epoch()
        rows = rows.flatten()[: len(rows) // 8 * 64].view(-1, 64)
        parts: dict[str, Callable[[], object]] = {
            "member": lambda: Member(planned, images.host, 1000, fleet.device),
            "load": lambda: fleet.load(0, planned, vector, member.scored),
            "next_epoch": member.next_epoch,
            "set_epoch": lambda: fleet.set_epoch(0, rows, rates[: len(rows)]),
            "clear": lambda: fleet.clear(0),
        }
        for part, work in parts.items():
            job.emit(part=part, ms=job.median_s(work, 3) * 1e3)


def lanes(job: Job, n: str) -> None:
    """Fleets side by side, as many streams: the population's mix."""
    images = job.bank()
    mix = [("smallest", 32), ("fixed", 64), ("fixed", 128), ("largest", 64)] if int(n) > 1 else [("fixed", 64)]
    fleets = [job.fleet_of(*mix[i % len(mix)], 8, "bfloat16", images) for i in range(int(n))]
    work = 20 * 4 * sum(8 * mix[i % len(mix)][1] for i in range(int(n)))

    def run() -> None:
        for fleet in fleets:
            fleet.state.rewind()
        for _ in range(20):
            for fleet in fleets:
                with fleet.turn():
                    fleet.run(4)

    seconds = job.median_s(run, 3)
    job.emit(lanes=int(n), images_s=work / seconds, ns_image=seconds / work * 1e9)


def queue(job: Job, population: str, precision: str) -> None:
    """A build's own trainer on trainings of the plan, evaluations included; ``hours`` are those of its population."""
    plan = list(plan_trainings(population, 13_000 if population == "random" else 3_000, 0, [SET]))
    some = {Shape.of(one.hyperparameters) for one in plan[: 2 * MAX_FLEETS]}  # shapes with all their trainings: slots refill
    todo = [one for one in plan if Shape.of(one.hyperparameters) in some]
    card = open_card("triton", job.host_bank(50_000, 18_500), precision, job.device)
    images_s, _ = rates(todo, card, 25)
    job.emit(images_s=images_s, hours=TRAIN_IMAGES[population] / images_s / 3600)


def eager(job: Job, population: str) -> None:
    """The baseline: plain PyTorch on the device, one network after another, on the same trainings and without evaluation."""
    images, device = job.bank(), find_device(job.device)
    for planned in plan_trainings(population, 8 if job.on_card else 1, 0, [SET]):
        model, batch = Eager(planned, device), planned.hyperparameters.batch_size
        rows = torch.arange(20 * batch if job.on_card else batch, device=device).split(batch)

        def work(model: Eager = model, rows: Sequence[Tensor] = rows) -> None:
            model.train(map(images.gather, rows))

        seconds = job.median_s(work, 3)
        job.emit(training=planned.id, images_s=len(rows) * batch / seconds)


def tiles(job: Job, which: str) -> None:
    """Tile depth, stages, warps and split of the products of one architecture: milliseconds of its slowest launches."""
    import builders.compute.cards.program as program

    shapes = [("fixed", 64), ("largest", 64), ("fixed", 256), ("largest", 256), ("smallest", 64), ("smallest", 256)]
    name, batch = shapes[int(which)]
    images, defaults = job.bank(6_000, 100), (program.conv_tiles, program.gradient_tiles)
    changes: dict[str, list[dict[str, int]]] = {
        "conv": [{"BLOCK_K": k, "num_warps": w, "num_stages": s} for k in (32, 64, 128) for w in (4, 8) for s in (1, 3)],
        "gradient": [{"SPLIT": n, "BLOCK_P": p, "num_stages": s} for n in (512, 2048) for p in (64, 128) for s in (1, 3)],
    }
    for i, kernel in enumerate(changes):
        for change in [{}, *changes[kernel]]:
            tile = {option: value for option, value in change.items() if option != "SPLIT"}
            program.SPLIT = change.get("SPLIT", 2048)
            setattr(program, f"{kernel}_tiles", lambda *sizes, tile=tile, i=i: defaults[i](*sizes) | tile)
            try:
                fleet = job.fleet_of(name, batch, 8, "bfloat16", images)
                with fleet.turn():
                    seconds = job.median_s(partial(fleet.run, 1))
                job.emit(kernel=kernel, architecture=name, batch=batch, **change, ms_step=seconds * 1e3)
            except Exception as problem:  # noqa: BLE001 - too much shared memory and the like: the next one
                job.emit(kernel=kernel, **change, failed=str(problem)[:100])
        setattr(program, f"{kernel}_tiles", defaults[i])
