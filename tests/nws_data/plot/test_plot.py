"""``nws trajectory`` and ``nws weights``: their numbers by hand, their files, and what they refuse."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from nws_data.cli import main
from nws_data.plot import style
from nws_data.plot.training import caption, distances, load_training, percentiles
from nws_data.plot.trajectory import draw_trajectory
from nws_data.plot.weights import BINS, draw_weights, filter_images, histograms
from tests.conftest import NON_FINITE, TinyDataset

NAMES = ("trajectory", "weights")


@pytest.mark.parametrize("training", ["fixed-000002", "random-000011"])
def test_a_training_is_read_as_it_was_staged(tiny_dataset: TinyDataset, training: str) -> None:
    found, staged = load_training(tiny_dataset.root, training), tiny_dataset.record(training)
    assert found.vectors.tobytes() == staged.weights.tobytes() and found.hyperparameters == staged.hyperparameters
    assert found.epochs.tolist() == list(staged.snapshot_epochs)
    assert found.row["test_accuracy"].tolist() == pytest.approx(staged.test_accuracy)
    kernel = found.layers[0]["kernel"]
    assert found.kernels(found.layers[0]).tobytes() == np.ascontiguousarray(staged.weights[:, kernel.slice]).tobytes()
    assert staged.hyperparameters.optimizer in caption(found) and f"{staged.test_accuracy[-1]:.1%}" in caption(found)


def test_distances_and_percentiles_by_hand() -> None:
    kernels = np.array([[3, 4, 0], [3, 4, 5], [6, 8, 0], [3, np.nan, 0]], np.float32)
    assert distances(kernels)[:3].tolist() == [0, 1, 1] and np.isnan(distances(kernels)[3])
    assert np.isnan(distances(np.zeros((2, 3), np.float32))).all()
    values = np.arange(101, dtype=np.float32)
    assert percentiles(np.stack([values, values * 2])).tolist() == [[1, 25, 50, 75, 99], [2, 50, 100, 150, 198]]
    assert percentiles(np.array([[1, np.inf, np.nan]], np.float32)).tolist() == [[1] * 5]
    assert np.isnan(percentiles(np.array([[np.nan, np.inf]], np.float32))).all()


def test_filters_and_histograms_by_hand() -> None:
    kernel = np.zeros((2, 3, 3, 3), np.float32)
    kernel[1, 0, 2, 1], kernel[0, 2, 0, 0] = 4, -2
    images, scale = filter_images(kernel)
    assert images.shape == (2, 3, 3, 3) and scale == 4
    assert images[1, 2, 1].tolist() == [1, 0.5, 0.5] and images[0, 0, 0].tolist() == [0.5, 0.5, 0.25]
    edges, before, after = histograms(np.array([0.0, 0, 0, 1]), np.array([1.0, 1, np.nan, 1]))
    assert (edges[0], edges[-1], len(edges)) == (0, 1, BINS + 1)
    assert (before[0], before[-1], before.sum()) == (0.75, 0.25, 1) and (after[-1], after.sum()) == (0.75, 0.75)
    assert histograms(np.ones(4), np.ones(4))[1].sum() == 1


@pytest.mark.parametrize("training", ["fixed-000002", NON_FINITE[0]])
def test_lines_of_the_pictures_are_the_numbers(tiny_dataset: TinyDataset, training: str) -> None:
    found, staged = load_training(tiny_dataset.root, training), tiny_dataset.record(training)
    with style.theme():
        trajectory, weights = draw_trajectory(found), draw_weights(found)
        trajectory.canvas.draw()
        weights.canvas.draw()
    panels = {axes.get_title(): axes for figure in (trajectory, weights) for axes in figure.get_axes()}
    assert ("not finite from snapshot 19" in caption(found)) == (training in NON_FINITE)
    curves = {line.get_label(): line for line in panels["Accuracy"].get_lines()}
    assert curves["test"].get_ydata() == pytest.approx(100 * np.array(staged.test_accuracy))
    lines = panels["Distance of the kernels from their initialisation"].get_lines()
    assert [line.get_label() for line in lines] == [layer.name for layer in found.layers]
    for line, layer in zip(lines, found.layers, strict=True):
        own = staged.weights[:, layer["kernel"].slice].astype(np.float64)
        expected = [np.sqrt(((w - own[0]) ** 2).sum() / (own[0] ** 2).sum()) for w in own]
        assert np.asarray(line.get_ydata())[:-1] == pytest.approx(expected[:-1])
        assert np.isfinite(line.get_ydata()[-1]) == np.isfinite(own[-1]).all()
        median = panels[f"{layer.name} kernel"].get_lines()[0].get_ydata()
        assert median[3] == pytest.approx(np.median(own[3]))
        assert f"{layer.name} kernel ({own.shape[1]:,})" in panels


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_commands_write_a_png(
    tiny_dataset: TinyDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([name, "fixed-000002", "--data", str(tiny_dataset.root)]) == 0
    assert f"Picture: fixed-000002-{name}.png" in capsys.readouterr().out
    assert Path(f"fixed-000002-{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_same_training_gives_the_same_svg(tiny_dataset: TinyDataset, tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        assert main(["weights", "random-000011", "--data", str(tiny_dataset.root), "--out", str(tmp_path / name)]) == 0
    svg = (tmp_path / "a.svg").read_bytes()
    assert b"<svg" in svg and svg == (tmp_path / "b.svg").read_bytes()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fixed-2"], "not a training id"),
        (["fixed-000099"], "holds no weights of fixed-000099, but of 8 trainings from fixed-000000 to fixed-000007"),
        (["fixed-000002", "--out", "x.jpg"], "choose one of .png, .svg"),
    ],
)
def test_what_is_refused(
    tiny_dataset: TinyDataset, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(["weights", *words, "--data", str(tiny_dataset.root)]) == 2
    assert message in capsys.readouterr().err


def test_without_matplotlib_it_says_what_to_install(
    tiny_dataset: TinyDataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["trajectory", "fixed-000002", "--data", str(tiny_dataset.root)]) == 2
    assert "pip install 'nws-data[plot]'" in capsys.readouterr().err
