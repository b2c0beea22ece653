"""What the views give, against the staged trainings."""

import os
import pickle
import resource
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import nws_data.read.dataset as nws
from nws_data.errors import ArgumentError, SelectionError, WindowError
from nws_data.read.views import FixedWindows, GlobalVectors, LayerTensors, RandomWindows, WeightView, deciding_columns
from nws_data.space.architecture import KINDS, all_architectures


@pytest.fixture(scope="module")
def random_data(tiny_dataset: Any) -> nws.NWSDataset:
    return nws.open(tiny_dataset.root, "random").select(last=3)


@pytest.fixture(scope="module")
def fixed_data(tiny_dataset: Any) -> nws.NWSDataset:
    return nws.open(tiny_dataset.root, "fixed").select(last=2)


def batch_of(view: WeightView, indices: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    batch = view.__getitems__(indices)
    return batch.weights, batch.labels


def test_global_vectors(fixed_data: nws.NWSDataset) -> None:
    view = GlobalVectors(fixed_data, target="optimizer")
    weights, labels = batch_of(view, [9, 0, 5])
    assert weights.shape == (3, 92868) and weights.dtype == torch.float32 and labels.dtype == torch.int64
    for i, row in enumerate((9, 0, 5)):
        assert torch.equal(weights[i], fixed_data.vector(row))
        assert view.classes[labels[i]] == fixed_data["optimizer"][row]


def test_labels_of_numbers_and_rows(fixed_data: nws.NWSDataset) -> None:
    labels = GlobalVectors(fixed_data, target="learning_rate").__getitems__([3, 1]).labels
    assert labels.dtype == torch.float32
    np.testing.assert_array_equal(labels, fixed_data["learning_rate"][[3, 1]].astype(np.float32))
    view = GlobalVectors(fixed_data)
    assert view.__getitems__([3, 1]).labels.tolist() == [3, 1]
    with pytest.raises(SelectionError, match="no target"):
        _ = view.classes
    with pytest.raises(SelectionError, match="column: got 'colour'"):
        GlobalVectors(fixed_data, target="colour")


def test_global_vectors_of_different_lengths(random_data: nws.NWSDataset) -> None:
    n = random_data["n_weights"]
    with pytest.raises(SelectionError, match=f"have {n.min()} to {n.max()} values: give length="):
        GlobalVectors(random_data)
    rows = [0, 1, 2, int(n.argmin()), int(n.argmax())]
    for length, expected in (("max", n.max()), (int(n.min()) + 5, n.min() + 5), (100, 100)):
        weights, _ = batch_of(GlobalVectors(random_data, length=length), rows)
        assert weights.shape == (5, expected)
        for i, row in enumerate(rows):
            vector = random_data.vector(row)[:expected]
            np.testing.assert_array_equal(weights[i], np.pad(vector, (0, expected - len(vector))))
    with pytest.raises(ArgumentError, match="length must be at least 1, got 0"):
        GlobalVectors(random_data, length=0)
    with pytest.raises(ArgumentError, match=r"length must be at least 1, got 3\.7: give a whole number"):
        GlobalVectors(random_data, length=3.7)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="length must be a whole number or \"max\", got 'foo'"):
        GlobalVectors(random_data, length="foo")  # type: ignore[arg-type]
    assert GlobalVectors(random_data, length=np.int64(5)).length == 5  # type: ignore[arg-type]


def test_items_equal_batches(random_data: nws.NWSDataset) -> None:
    for view in (RandomWindows(random_data, 500, target="activation"), GlobalVectors(random_data, length="max")):
        weights, labels = batch_of(view, [4, 2])
        item = view[4]
        assert type(item) is tuple
        np.testing.assert_array_equal(item[0], weights[0])
        assert item[1] == labels[0]
        assert torch.equal(view[-1][1], view[len(view) - 1][1])
        with pytest.raises(IndexError, match=f"this view has {len(view)} items"):
            view[len(view)]
        with pytest.raises(IndexError):
            view.__getitems__([len(view)])
    assert sum(1 for _ in GlobalVectors(random_data, length=2)) == len(random_data)


def test_several_items_at_once(random_data: nws.NWSDataset) -> None:
    view = RandomWindows(random_data, 500, target="activation", windows_per_vector=2)
    n = len(view)
    for index in ([4, 2, -1], np.array([4, 2, n - 1], np.uint16), torch.tensor([4, 2, -1])):
        weights, labels = view[index]
        assert torch.equal(weights, view.__getitems__([4, 2, n - 1]).weights) and labels.shape == (3,)
    for index in (slice(3), slice(None, -n - 1, -100), slice(5, 5)):
        chosen = list(range(n))[index]
        weights, labels = view[index]
        assert torch.equal(weights, view.__getitems__(chosen).weights) and torch.equal(labels, view.labels[chosen])
    assert view[[]][0].shape == (0, 500) and view[np.int64(3)][0].shape == view[torch.tensor(3)][0].shape == (500,)
    with pytest.raises(IndexError, match=f"index {n} is out of range: this view has {n} items"):
        view[[0, n]]
    for wrong in (1.5, [True] * n, "a", [[1]], None):
        with pytest.raises(SelectionError, match="whole numbers, a list of them or a slice, got"):
            view[wrong]  # type: ignore[index]


@pytest.mark.parametrize("part", ["all", "conv", "fc"])
def test_windows_are_where_starts_say(random_data: nws.NWSDataset, part: str) -> None:
    view = RandomWindows(random_data, 800, part=part, target="dataset", seed=4, windows_per_vector=3)
    assert len(view) == 3 * len(random_data)
    indices = [0, 1, 2, 100, len(view) - 1]
    weights, labels = batch_of(view, indices)
    for window, label, item in zip(weights, labels, indices, strict=True):
        start = view.starts()[item]
        np.testing.assert_array_equal(window, random_data.vector(item // 3)[start : start + 800])
        assert label == random_data.labels("dataset")[item // 3]
    n_conv, starts = np.repeat(random_data["n_weights_conv"], 3), view.starts()
    if part == "conv":
        assert (starts + 800 <= n_conv).all()
    if part == "fc":
        assert (starts >= n_conv).all()
    assert view.spill_share == 0


def test_windows_that_spill(random_data: nws.NWSDataset) -> None:
    view = RandomWindows(random_data, 5000, part="conv")
    short = random_data["n_weights_conv"] < 5000
    assert view.spill_share == short.mean() > 0
    assert (view.starts()[short] == 0).all()


def test_window_errors(random_data: nws.NWSDataset) -> None:
    shortest = random_data["n_weights"].min()
    message = rf"window must be in \[1, {shortest}\] \(the shortest vector of this selection\), got 50000"
    for windows in (RandomWindows, FixedWindows):
        with pytest.raises(WindowError, match=message):
            windows(random_data, 50000)
        with pytest.raises(ArgumentError, match="windows_per_vector must be at least 1, got 0"):
            windows(random_data, 100, windows_per_vector=0)
        with pytest.raises(WindowError, match="got '5000': give a whole number"):
            windows(random_data, "5000")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"seed must be in \[0, 2\^63\), got -1"):
        RandomWindows(random_data, 100, seed=-1)
    assert len(RandomWindows(random_data, int(shortest))) == len(random_data)


def test_epochs_draw_new_windows(random_data: nws.NWSDataset) -> None:
    view = RandomWindows(random_data, 1000, seed=9)
    first = view.starts()
    assert view.epoch == 0
    view.set_epoch(1)
    assert view.epoch == 1 and (view.starts() != first).any()
    assert (view.starts(0) == first).all() and (view.starts() == view.starts(1)).all()
    assert (RandomWindows(random_data, 1000, seed=9).starts(1) == view.starts()).all()
    with pytest.raises(ArgumentError, match="epoch must be in"):
        view.set_epoch(-1)


def test_official_windows(random_data: nws.NWSDataset) -> None:
    view = FixedWindows(random_data, 1000, part="fc", target="optimizer")
    assert len(view) == 10 * len(random_data)
    row = 7
    n, n_conv = int(random_data["n_weights"][row]), int(random_data["n_weights_conv"][row])
    expected = [round(float(x)) for x in np.linspace(n_conv, n - 1000, 10)]
    assert view.starts()[70:80].tolist() == expected
    weights, labels = batch_of(view, list(range(70, 80)))
    for window, start in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(window, random_data.vector(row)[start : start + 1000])
    assert set(labels.tolist()) == {random_data.labels("optimizer")[row]}


def test_layer_tensors(tiny_dataset: Any, random_data: nws.NWSDataset) -> None:
    for kind in KINDS:
        view = LayerTensors(random_data, "conv2", kind, target="initialization")
        weights, _ = batch_of(view, [0, 30])
        for i, row in enumerate((0, 30)):
            record = tiny_dataset.record(random_data["training"][row].item())
            tensor = record.architecture.layer("conv2")[kind]
            expected = record.weights[random_data["snapshot"][row], tensor.slice].reshape(tensor.shape)
            np.testing.assert_array_equal(weights[i], expected)
        assert view[30][0].shape == view.shape


def test_layer_tensors_need_one_shape(random_data: nws.NWSDataset) -> None:
    with pytest.raises(
        SelectionError, match=r"fc3 kernel has 2 shapes in this selection, such as \(16, 32\) and \(20, 32\): select"
    ):
        LayerTensors(random_data, "fc3")
    assert LayerTensors(random_data.select(depth_fc=4), "fc3").shape == (16, 32)
    with pytest.raises(SelectionError, match=r"select one value of depth_fc, such as data\.select\(depth_fc=3\)"):
        LayerTensors(random_data, "fc3")
    with pytest.raises(SelectionError, match="layer: got 'fc4'; choose one of conv1"):
        LayerTensors(random_data, "fc4")
    with pytest.raises(SelectionError, match="conv1: got 'norm'; choose one of kernel"):
        LayerTensors(random_data, kind="norm")


def test_empty_selection(random_data: nws.NWSDataset) -> None:
    with pytest.raises(SelectionError, match="the selection is empty"):
        GlobalVectors(random_data.take(np.array([], int)))


def test_an_epoch_needs_no_shared_file(random_data: nws.NWSDataset) -> None:
    """Neither a descriptor nor /dev/shm, where no process is started: files of more than 0 bytes cannot be made here."""
    limits, before = resource.getrlimit(resource.RLIMIT_FSIZE), len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        views = [pickle.loads(pickle.dumps(RandomWindows(random_data, 300))) for _ in range(3)]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(os.listdir("/proc/self/fd")) == before
    views[0].set_epoch(4)
    assert [view.epoch for view in views] == [4, 0, 0]


def test_views_pickle_with_their_epoch(random_data: nws.NWSDataset) -> None:
    view = RandomWindows(random_data, 300, seed=2)
    view.set_epoch(5)
    again = pickle.loads(pickle.dumps(view))
    assert again.epoch == 5
    assert torch.equal(again.__getitems__([8, 1]).weights, view.__getitems__([8, 1]).weights)


ALL = all_architectures()


@pytest.mark.parametrize(
    ("layer", "kind", "columns"),
    [
        ("conv1", "kernel", ["filter_size", "width_conv"]),
        ("conv3", "kernel", ["filter_size", "depth_conv", "width_conv"]),
        ("conv2", "bias", ["width_conv"]),
        ("fc1", "kernel", ["width_conv", "width_fc"]),
        ("fc1", "bias", ["width_fc"]),
        ("fc3", "kernel", ["depth_fc", "width_fc"]),
    ],
)
def test_columns_that_decide_a_shape(layer: str, kind: str, columns: list[str]) -> None:
    assert deciding_columns(ALL, layer, kind) == columns
    for chosen in ALL[:: len(ALL) // 7]:
        same = [a for a in ALL if all(getattr(a, name) == getattr(chosen, name) for name in columns)]
        assert len({a.layer(layer)[kind].shape for a in same}) == 1
    narrow = [a for a in ALL if a.width_conv == 16 and a.width_fc == 64]
    assert deciding_columns(narrow, layer, kind) == [name for name in columns if not name.startswith("width")]


def test_views_show_what_they_are(random_data: nws.NWSDataset) -> None:
    n = f"{len(random_data):,} items"
    assert repr(RandomWindows(random_data, 500, part="fc", target="optimizer", windows_per_vector=50)) == (
        f"RandomWindows({50 * len(random_data):,} items, length=500, part='fc', target='optimizer')"
    )
    assert repr(FixedWindows(random_data, 500)).endswith("length=500, part='all', target=None)")
    assert repr(GlobalVectors(random_data, length=9)) == f"GlobalVectors({n}, length=9, target=None)"
    assert repr(LayerTensors(random_data, "fc1", "bias")) == (
        f"LayerTensors({n}, layer='fc1', kind='bias', shape=(64,), target=None)"
    )


def test_rows_and_labels_of_all_items(random_data: nws.NWSDataset) -> None:
    view = FixedWindows(random_data, 100, target="optimizer", windows_per_vector=3)
    batch = view.__getitems__(list(range(len(view))))
    assert torch.equal(view.labels, batch.labels) and view.labels.dtype == torch.int64
    assert [random_data["optimizer"][row] for row in view.rows] == [view.classes[label] for label in view.labels]
    assert view.rows[:7].tolist() == [0, 0, 0, 1, 1, 1, 2]


def test_other_labels(fixed_data: nws.NWSDataset) -> None:
    view = GlobalVectors(fixed_data, target="optimizer")
    other = view.with_row_labels(view.row_labels.flip(0))
    assert torch.equal(other.labels, view.labels.flip(0)) and other[1][1] == view[len(view) - 2][1]
    assert torch.equal(view[1][0], other[1][0]) and not torch.equal(view.labels, other.labels)
    with pytest.raises(SelectionError, match=r"labels must have shape \(16,\), got \(3,\)"):
        view.with_row_labels(view.labels[:3])


def test_a_transform_changes_weights_and_not_labels(random_data: nws.NWSDataset) -> None:
    views: list[tuple[WeightView, WeightView]] = [
        (make(random_data, **options, target="optimizer"), make(random_data, **options, target="optimizer", transform=f))
        for f in (torch.Tensor.asinh_, lambda weights: weights.reshape(len(weights), -1)[:, ::7].double())
        for make, options in (
            (GlobalVectors, {"length": "max"}),
            (FixedWindows, {"length": 100, "windows_per_vector": 3}),
            (RandomWindows, {"length": 100, "seed": 3}),
            (LayerTensors, {"layer": "fc1", "kind": "bias"}),
        )
    ]
    for plain, view in views:
        weights, labels = batch_of(view, [4, 0, 1])
        expected, expected_labels = batch_of(plain, [4, 0, 1])
        assert view.transform is not None
        assert torch.equal(weights, view.transform(expected.clone())) and torch.equal(labels, expected_labels)
        assert torch.equal(view[4][0], weights[0]) and torch.equal(view[[4, 0, 1]][0], weights)
        loaded, _ = next(iter(DataLoader(view, batch_size=5)))
        assert torch.equal(loaded, batch_of(view, list(range(5)))[0]) and loaded.dtype == weights.dtype


def test_a_transform_sees_batches_of_its_own(fixed_data: nws.NWSDataset) -> None:
    seen: list[torch.Tensor] = []
    view = GlobalVectors(fixed_data, transform=lambda weights: seen.append(weights) or weights.zero_())  # type: ignore[func-returns-value]
    assert not view[2][0].any() and not view[:3][0].any()
    assert [tuple(weights.shape) for weights in seen] == [(1, 92868), (3, 92868)]
    assert torch.equal(GlobalVectors(fixed_data)[2][0], fixed_data.vector(2)) and fixed_data.vector(2).any()
    assert "transform=<function" in repr(view)


@pytest.mark.parametrize(
    ("transform", "got"),
    [
        (lambda weights: weights.mean(), r"\(\)"),
        (lambda weights: weights[:1], r"\(1, 92868\)"),
        (lambda weights: weights.numpy(), "ndarray"),
    ],
)
def test_a_transform_returns_one_row_an_item(fixed_data: nws.NWSDataset, transform: Any, got: str) -> None:
    view = GlobalVectors(fixed_data, transform=transform)
    with pytest.raises(ArgumentError, match=rf"transform must return a tensor \(3, \.\.\.\), one row an item, got {got}"):
        view.__getitems__([0, 1, 2])


def test_targets_are_given_by_name(fixed_data: nws.NWSDataset) -> None:
    for view in (GlobalVectors, lambda data, target: LayerTensors(data, "conv1", "kernel", target)):
        with pytest.raises(TypeError, match="positional"):
            view(fixed_data, "optimizer")  # type: ignore[arg-type, misc]
