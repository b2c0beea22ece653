"""The device path's name, and what is said where there is no card."""

from __future__ import annotations

import pytest
import torch

from builders.compute.backend import CPU_BACKENDS
from builders.compute.cards.card import card_path, enter_device_path, find_device
from builders.compute.compute_path import backend_of, path_of
from nws_data.errors import BuildError


def test_the_name_says_backend_card_and_precision():
    path = card_path(torch.device("cpu"), "triton", "float32")
    assert path == "cuda-fleet-3/triton/cpu/float32"
    assert backend_of(path) == "triton"
    assert backend_of("cuda-fleet-3/triton/NVIDIA-H100-80GB-HBM3/bfloat16") == "triton"
    assert [backend_of(path_of(name, "float32")) for name in CPU_BACKENDS] == list(CPU_BACKENDS)
    for path in (
        "cpu-fleet-1/AVX512",
        "cpu-fleet-2/AVX2",
        "cuda-fleet-2/rows/H100/float32",
        "cuda-fleet-2/triton/H100/x",
    ):
        assert backend_of(path) is None  # of versions before


def test_a_card_that_is_not_there_is_refused_with_the_next_step():
    with pytest.raises(BuildError, match=r"--device cuda:99: .*(nvidia-smi|counted from 0)"):
        find_device("cuda:99")
    assert find_device("cpu") == torch.device("cpu")


def test_a_process_of_the_device_path_repeats_itself(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.deterministic
    try:
        enter_device_path(torch.device("cpu"))
        assert torch.are_deterministic_algorithms_enabled() and torch.backends.cudnn.deterministic
        assert not torch.utils.deterministic.fill_uninitialized_memory
        assert torch.get_float32_matmul_precision() == "highest" and not torch.backends.cudnn.allow_tf32
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.deterministic = before[1]
