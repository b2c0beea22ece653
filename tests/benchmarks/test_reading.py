"""What the measurement of ``nws read`` trains and counts; its readings are tested with the readers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from baselines.reading.checkpoint import load_checkpoint
from benchmarks.reading import _numbers, shown, train_plainly
from builders.images.sources import load_images


def test_numbers_by_hand():
    rows = [
        (np.array([0.6, 0.4]), 0, 0, False),
        (np.array([0.6, 0.4]), 1, None, True),
        (np.array([0.05, 0.95]), 1, 1, False),
        (np.array([0.05, 0.95]), 1, 1, False),
    ]
    found = _numbers(rows)
    assert (found["networks"], found["cannot_tell"], found["far"]) == (4, 0.25, 0.25)
    assert (found["accuracy_of_answers"], found["accuracy_of_all"], found["chance"]) == (1, 0.75, 0.75)
    assert found["calibration_error"] == pytest.approx(
        (2 * 0.1 + 2 * 0.05) / 4
    )  # 0.6 said, half right; 0.95 said, all right
    assert shown({"some": {"optimizer": found}}).splitlines()[-1] == "| optimizer | 4 | 25 | 25 | 100 | 75 | 8 | 75 |"


@pytest.mark.slow
def test_networks_of_plain_pytorch_are_trained_once(tmp_path: Path):
    images = load_images("digits")
    train_plainly(images, tmp_path, 0)
    paths = sorted(tmp_path.glob("*.pt"))
    assert len(paths) == 48 == len(list(tmp_path.glob("*.json")))
    with_norm, without = (load_checkpoint(path) for path in paths[:2])
    assert len(with_norm.layers) == len(without.layers) == 6
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}
    paths[0].unlink()
    train_plainly(images, tmp_path, 0)
    assert all(path.read_bytes() == content for path, (content, _) in before.items())
    assert all(path.stat().st_mtime_ns == when for path, (_, when) in before.items() if path != paths[0])
