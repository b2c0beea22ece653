"""The update kernel is the three optimizers' update, as PyTorch computes it in float64."""

from __future__ import annotations

import torch

from builders.compute.cards.update import update
from builders.recipe.optimizers import OPTIMIZERS, FleetOptimizer
from tests.builders.compute.cards.conftest import DEVICES


def test_steps_are_those_of_float64():
    generator, n, names = torch.Generator().manual_seed(0), 2500, [*OPTIMIZERS, "momentum"]  # not a whole number of programs
    fleets = [FleetOptimizer(len(names), n, dtype, DEVICES[-1]) for dtype in (torch.float32, torch.float64)]
    for slot, name in enumerate(names):
        for fleet in fleets:
            fleet.load(slot, name)
    vectors = [torch.zeros(len(names), n, dtype=fleet.m.dtype, device=DEVICES[-1]) for fleet in fleets]
    sums, path = (torch.zeros_like(vectors[1]) for _ in range(2))  # what roundings are relative to: gradients may cancel
    for step in range(3):
        gradients = torch.randn(len(names), n, generator=generator) * 10.0 ** torch.arange(-3, 1)[:, None]
        gradients[:, ::5] = 0
        gradients[2, 3] = 1e30  # its square is infinite, and momentum does without it
        gradients[3] *= step == 1
        rates = torch.tensor([1e-3, 2e-3, 5e-3, 0.0])[:, None]
        update(fleets[0], vectors[0], gradients.to(DEVICES[-1]), rates.to(DEVICES[-1]))
        gradients, rates = (t.double().to(DEVICES[-1]) for t in (gradients, rates))
        fleets[1].update(vectors[1], gradients.clone(), rates)
        sums += gradients.abs()
        path += rates * sums / (fleets[1].v.sqrt() + 1e-8)
        for (found, expected), scale in (
            ((fleets[0].m, fleets[1].m), sums), ((fleets[0].v, fleets[1].v), fleets[1].v), (vectors, path),
        ):  # fmt: skip
            assert ((found - expected).abs() <= 1e-6 * scale).all()
    assert vectors[0][3].eq(0).all() and fleets[0].v[2].eq(1).all() and fleets[0].m[3].any()
