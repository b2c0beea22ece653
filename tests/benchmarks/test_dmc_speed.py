"""The DMC's speed benchmark runs and reports what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.speed import dmc, dmc_gradients
from nws_data.errors import SelectionError


@pytest.mark.slow
def test_report_on_a_given_dataset(tiny_dataset, capsys: pytest.CaptureFixture[str]) -> None:
    dmc.main(["--data", str(tiny_dataset.root), "--length", "100", "--batch-size", "4", "--rounds", "1", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert (report["length"], report["batch_size"]) == (100, 4)
    assert report["step_s"] > 0 and 0 < report["model_share"] < 1 and report["gflops"] > 0
    assert "items/s" in dmc.render(report)


def test_batches_go_on_over_epochs_with_new_windows(tiny_dataset) -> None:
    view = dmc.make_view(tiny_dataset.root, 100)
    size = len(view) // 2
    source = dmc.batches(view, size)
    assert [next(source)[0].shape for _ in range(5)] == [(size, 100)] * 5
    assert view.epoch == 2  # type: ignore[attr-defined]


def test_options_are_checked(tiny_dataset, tmp_path: Path) -> None:
    with pytest.raises(SelectionError, match="must be at least 1"):
        dmc.main(["--data", str(tmp_path), "--rounds", "0"])
    with pytest.raises(SelectionError, match="the batch size must be at most"):
        dmc.main(["--data", str(tiny_dataset.root), "--length", "100", "--batch-size", "1000"])


@pytest.mark.slow
def test_gradients_are_compared_with_float64(tiny_dataset, capsys: pytest.CaptureFixture[str]) -> None:
    dmc_gradients.compare(tiny_dataset.root, 1000, 8, seeds=1)
    dmc_gradients.step_ratio(tiny_dataset.root, 1000, 8, rounds=1)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 * 2 * 2 + 1  # inputs, norms, precisions; the time
    cosines = {line.split(" median")[0].split(maxsplit=3)[3]: float(line.split()[-3].rstrip(",")) for line in lines[:-1]}
    assert cosines["raw   seed 0 float32  ours        "] > 0.99 > cosines["raw   seed 0 bfloat16 ours        "]
