"""Aligned vectors: one vector for all orders of a network, the network's function kept, no better swap left."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.func import functional_call

from baselines.aligned import ORDERS, AlignedLinear, match, sort_units
from baselines.method import MethodError
from baselines.registry import make_method
from nws_data.read.views import PermutedVectors
from nws_data.space.architecture import Architecture
from nws_data.space.hyperparameters import FIXED_ARCHITECTURE
from nws_data.space.identity import split_of
from nws_data.space.network import Network, state_dict_from_vector
from nws_data.space.permutation import permutation_spec, permute, random_permutations
from nws_data.tasks.task import Task, load_task
from tests.baselines.planted import planted_record
from tests.conftest import dataset_folder, write

ARCHITECTURE = Architecture(3, 4, 4, 16, 64)


@pytest.fixture(scope="module")
def task() -> Task:
    """Networks near one of two, by augmentation, each in another order of its hidden units."""
    return load_task("global/augmentation", dataset_folder("aligned", _write) / "nws")


def _write(folder: Path) -> None:
    architecture = Architecture(**FIXED_ARCHITECTURE)
    drawn = np.random.default_rng(0)
    base, direction = drawn.standard_normal((2, architecture.n_weights), dtype=np.float32)
    for group in permutation_spec(architecture):  # units of different norms
        kernel = group.axes[0].tensor
        base[kernel.slice].reshape(group.size, -1)[:] *= np.linspace(0.2, 1, group.size, dtype=np.float32)[:, None]
    staged, seen = [], Counter[str]()
    for index in range(30):
        side = split_of(f"fixed-{index:06d}")
        record = planted_record("fixed", index, seen[side])
        seen[side] += 1
        vector = base + 0.1 * direction * record.hyperparameters.augmentation
        vector = 0.05 * (vector + 0.05 * drawn.standard_normal(len(vector), dtype=np.float32))
        moved = permute(torch.from_numpy(vector), architecture, random_permutations(architecture, index))
        staged.append(folder / f"{record.training}.safetensors")
        replace(record, weights=np.repeat(moved.numpy()[None], 20, axis=0)).save(staged[-1])
    write(folder / "nws", "fixed", staged)
    for path in staged:
        path.unlink()


@pytest.fixture(scope="module")
def vectors() -> torch.Tensor:
    return 0.1 * torch.rand(2, ARCHITECTURE.n_weights, generator=torch.Generator().manual_seed(0))


def test_all_orders_of_a_network_are_sorted_alike(vectors: torch.Tensor) -> None:
    moved = torch.stack([permute(v, ARCHITECTURE, random_permutations(ARCHITECTURE, i)) for i, v in enumerate(vectors)])
    assert not torch.equal(moved, vectors)
    assert torch.equal(sort_units(moved, ARCHITECTURE), sort_units(vectors, ARCHITECTURE))


def test_the_function_stays(vectors: torch.Tensor) -> None:
    network, images = Network(ARCHITECTURE, "tanh").double().eval(), torch.rand(2, 3, 32, 32, dtype=torch.float64)
    for found in (sort_units(vectors, ARCHITECTURE), match(vectors, vectors[1], ARCHITECTURE)):
        assert not torch.equal(found[0], vectors[0])
        for before, after in zip(vectors.double(), found.double(), strict=True):
            outputs = [functional_call(network, state_dict_from_vector(v, ARCHITECTURE), images) for v in (before, after)]
            torch.testing.assert_close(*outputs, rtol=1e-9, atol=1e-11)


def test_matching_leaves_no_swap_of_two_units_that_agrees_more(vectors: torch.Tensor) -> None:
    target = vectors[1]
    (found,) = match(vectors[:1], target, ARCHITECTURE)
    agreement = (found.double() @ target.double()).item()
    assert agreement > (vectors[0].double() @ target.double()).item()
    for group in permutation_spec(ARCHITECTURE):
        for i in range(0, group.size - 1, 5):
            order = torch.arange(group.size)
            order[[i, i + 1]] = order[[i + 1, i]]
            swapped = permute(found, ARCHITECTURE, {group.name: order}).double() @ target.double()
            assert swapped.item() <= agreement + 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("order", ORDERS)
def test_what_hidden_orders_hide_is_found_and_orders_do_not_matter(task: Task, order: str) -> None:
    method = make_method("svm-linear-aligned", order=order)
    method.fit(task)
    found = method.predict(task.test)
    assert method.n_parameters == 92_868 + 1  # two classes have one machine
    moved = method.predict(PermutedVectors(task.test.data, target=task.target, seed=9))
    if order == "none":
        assert task.evaluate(found).accuracy < 0.9 and not np.allclose(moved, found)
    else:
        assert task.evaluate(found).accuracy == 1
        np.testing.assert_allclose(moved, found, rtol=1e-3, atol=1e-3)


def test_other_orders_and_several_architectures_are_refused(planted_root: Path) -> None:
    with pytest.raises(MethodError, match="order must be 'matched' or 'sorted' or 'none', got 'sort'"):
        make_method("svm-linear-aligned", order="sort")
    with pytest.raises(MethodError, match="use a global task"):
        AlignedLinear(order="sorted").fit(load_task("local/dataset", planted_root))
