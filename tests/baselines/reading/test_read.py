"""A planted signal is read, and "cannot tell" is said where it should be."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from baselines.reading.checkpoint import Checkpoint, load_checkpoint
from baselines.reading.read import read_network, usable
from baselines.reading.saved import Classifier, save
from nws_data.cli import main
from nws_data.errors import NWSError
from nws_data.space.hyperparameters import HyperParameters
from tests.baselines.reading.conftest import fitted

Network = tuple[dict[str, torch.Tensor], np.ndarray, HyperParameters]


def test_a_planted_signal_is_read(planted_classifiers: list[Classifier], planted_network: Network) -> None:
    _, vector, truth = planted_network
    augmentation, optimizer = read_network(Checkpoint(vector, 1688, ()), planted_classifiers)
    assert augmentation.answer == str(truth.augmentation) and augmentation.agreement == 1 and not augmentation.why
    assert augmentation.probabilities[augmentation.answer] > 0.9 and augmentation.distance is not None
    assert sum(augmentation.probabilities.values()) == pytest.approx(1)
    assert optimizer.answer is None and optimizer.why.startswith("the most likely has")


def test_a_far_network_gives_cannot_tell(planted_classifiers: list[Classifier], planted_network: Network) -> None:
    _, vector, _ = planted_network
    for far in (vector * 100, np.sort(vector), np.zeros_like(vector)):
        for reading in read_network(Checkpoint(far, 1688, ()), planted_classifiers, confidence=0):
            assert reading.answer is None and reading.why.startswith("far from the training networks"), reading
            assert reading.distance is not None and reading.distance > 1


def test_windows_that_disagree_and_short_networks(planted_classifiers: list[Classifier], planted_network: Network) -> None:
    _, vector, truth = planted_network
    other = vector.copy()
    middle = len(vector) // 2
    other[middle:] *= 0.05 / 0.08 if truth.augmentation else 0.08 / 0.05  # as of the other class
    (reading, _) = read_network(Checkpoint(other, 1688, ()), planted_classifiers)
    assert reading.answer is None and reading.why.startswith("windows disagree: only 50% are for"), reading
    (reading, _) = read_network(Checkpoint(vector[:499], 0, ()), planted_classifiers)
    assert reading.answer is None and reading.probabilities == {} and "499 values, a window 500" in reading.why


@pytest.mark.slow
def test_the_classifier_of_least_loss_is_used(planted_root: Path, planted_classifiers: list[Classifier]) -> None:
    others = [fitted(name, "local/optimizer@500", planted_root) for name in ("svm-linear-16", "boosting-16")]
    whole = fitted("logistic-16", "global/augmentation", planted_root)
    every = [whole, *others, *planted_classifiers]
    losses = {one.name: one.calibration.log_loss for one in every[1:] if one.spec.target == "optimizer" and one.calibration}
    chosen = {one.spec.target: one for one in usable(every)}
    assert set(chosen) == {"optimizer", "augmentation"} and chosen["optimizer"].name == min(losses, key=losses.__getitem__)
    with pytest.raises(NWSError, match="no calibrated classifier of windows"):
        usable([whole])


def test_the_command(
    planted_classifiers: list[Classifier], planted_network: Network, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state, vector, truth = planted_network
    save_file({name: value.contiguous() for name, value in state.items()}, tmp_path / "a.safetensors")
    assert main(["read", str(tmp_path / "a.safetensors"), "--classifiers", str(tmp_path)]) == 2
    assert "holds no classifiers" in capsys.readouterr().err
    for i, classifier in enumerate(planted_classifiers):
        save(classifier, tmp_path / f"{i}.skops")
    call = ["read", str(tmp_path / "a.safetensors"), "--classifiers", str(tmp_path)]
    assert main(call) == 0
    text = capsys.readouterr().out
    assert text.startswith("6 layers, 21,260 values, 1,688 of them convolutional\n")
    assert f"augmentation  {truth.augmentation}" in text and "optimizer     cannot tell  the most likely has" in text
    assert main([*call, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["network"]["n_weights"] == len(vector) and found["network"]["layers"][0] == "conv1 4x3x3x3, norm"
    (expected, _) = read_network(load_checkpoint(tmp_path / "a.safetensors"), planted_classifiers)
    assert found["readings"][0] == vars(expected)
    assert main([*call, "--confidence", "2"]) == 2
    assert "confidence must be in [0, 1], got 2" in capsys.readouterr().err
