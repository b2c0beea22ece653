"""The name of a compute path: what has to be equal for equal bits."""

from __future__ import annotations

import pytest

from builders.compute.compute_path import backend_of, path_of
from nws_data.machine import processor


@pytest.mark.parametrize(("maker", "end"), [("GenuineIntel", ""), ("AuthenticAMD", "+AuthenticAMD"), (None, "")])
def test_makers_of_processors_are_paths_of_their_own(monkeypatch, maker, end):
    here = path_of("plain", "float32").removesuffix(f"+{processor('vendor_id')}")
    monkeypatch.setattr("builders.compute.compute_path.processor", {"vendor_id": maker}.get)
    path = path_of("plain", "float32")
    assert path == here + end and backend_of(path) == "plain"
