"""Checkpoints of strangers: weights in our order, and files that are hostile, damaged or something else."""

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file
from torch import Tensor, nn

from baselines.reading import checkpoint
from baselines.reading.checkpoint import load_checkpoint, vectorise
from nws_data.errors import FormatError
from nws_data.space.architecture import Architecture
from nws_data.space.network import Network, state_names

PLAIN = nn.Sequential(
    *(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 5, bias=False), nn.Flatten()),
    *(nn.Linear(6 * 2 * 2, 5), nn.LayerNorm(5), nn.Linear(5, 3)),
)


def test_our_own_networks_give_their_weight_vector(tmp_path: Path) -> None:
    for architecture in (Architecture(3, 3, 3, 16, 64), Architecture(5, 5, 5, 32, 128, batch_norm=False)):
        state = Network(architecture, "relu").state_dict()
        expected = torch.cat([state[name].flatten() for name, _ in state_names(architecture)]).numpy()
        save_file(state, tmp_path / "a.safetensors")
        torch.save({"epoch": 3, "state_dict": state}, tmp_path / "a.ckpt")
        for name in ("a.safetensors", "a.ckpt"):
            found = load_checkpoint(tmp_path / name)
            np.testing.assert_array_equal(found.vector, expected)
            assert found.n_conv == architecture.n_weights_conv and len(found.layers) == len(architecture.layers)


def test_other_networks_are_put_into_our_order() -> None:
    state = {name: torch.randn_like(value.float()) for name, value in PLAIN.state_dict().items()}
    found = vectorise(state)
    first = state["5.weight"].numpy().reshape(5, 6, 2, 2).transpose(0, 2, 3, 1)  # height, width, channel
    norm = [state[f"1.{kind}"] for kind in ("bias", "weight", "running_mean", "running_var")]
    conv = [state["0.weight"], state["0.bias"], *norm, state["3.weight"]]
    fc = [first, state["5.bias"], state["6.bias"], state["6.weight"], state["7.weight"], state["7.bias"]]
    np.testing.assert_array_equal(found.vector, np.concatenate([np.asarray(value).ravel() for value in [*conv, *fc]]))
    assert found.n_conv == sum(value.numel() for value in conv)
    assert found.layers == ("0 4x3x3x3, norm", "3 6x4x5x5", "5 5x24, norm", "7 3x5")


def test_norms_that_stand_elsewhere_go_to_the_layer_of_their_width() -> None:
    names = {"0": "conv1", "1": "bn1", "3": "conv2", "5": "fc1", "6": "norm_fc", "7": "fc10"}
    state = PLAIN.state_dict()
    renamed = {name.replace(name[0], names[name[0]], 1): value for name, value in state.items()}
    in_other_order = dict(sorted(renamed.items()))  # bn1 first, fc10 before norm_fc
    np.testing.assert_array_equal(vectorise(in_other_order).vector, vectorise(state).vector)


def test_half_precision_and_ten_layers_by_name(tmp_path: Path) -> None:
    network = nn.Sequential(*(nn.Linear(4, 4) for _ in range(12))).to(torch.bfloat16)
    save_file(network.state_dict(), tmp_path / "a.safetensors")  # sorted 0, 1, 10, 11, 2
    found = load_checkpoint(tmp_path / "a.safetensors")
    expected = torch.cat([value.float().ravel() for layer in network for value in (layer.weight, layer.bias)])
    np.testing.assert_array_equal(found.vector, expected.detach().numpy())


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_no_code_of_a_file_is_run(tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "a.pt"
    torch.save({"weight": Evil(victim)}, path)
    with pytest.raises(FormatError, match="cannot be read as plain tensors"):
        load_checkpoint(path)
    path.write_bytes(pickle.dumps(Evil(victim)))
    with pytest.raises(FormatError, match="not a zip file"):
        load_checkpoint(path)
    assert not victim.exists()
    torch.load(io.BytesIO(torch_bytes(Evil(victim))), weights_only=False)  # it would have
    assert victim.exists()


def torch_bytes(content: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def unpacking_to_much() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", bytes(2**21))
    return stream.getvalue()


KERNEL = torch.ones(2, 2)
HOSTILE: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "folder of zeros": (".pt", unpacking_to_much, "unpacks to over"),
    "strides of 0": (".pt", lambda: torch_bytes({"a.weight": torch.ones(1, 1).expand(2**20, 2**20)}), "values, the most"),
    "large": (".safetensors", lambda: bytes(2**20 + 1), "larger than the 1,048,576 bytes that it may have"),
    "header": (".safetensors", lambda: (2**62).to_bytes(8, "little") + b"{}", "cannot be read as plain tensors"),
    "truncated": (".safetensors", lambda: save({"a.weight": KERNEL})[:-3], "cannot be read as plain tensors"),
    "cut zip": (".pt", lambda: torch_bytes({"a.weight": KERNEL})[:-30], "cannot be read as plain tensors"),
    "sparse": (".pt", lambda: torch_bytes({"a.weight": KERNEL.to_sparse()}), "no plain tensor"),
    "number": (".pt", lambda: torch_bytes({"a.weight": 3}), "no plain tensor"),
    "list": (".pt", lambda: torch_bytes([KERNEL]), "not a state_dict"),
    "empty": (".pt", lambda: torch_bytes({}), "not a state_dict"),
    "whole numbers": (".safetensors", lambda: save({"a.weight": KERNEL.long()}), "floating point"),
    "other names": (".safetensors", lambda: save({"a.in_proj": KERNEL}), "names end in"),
    "many": (".safetensors", lambda: save({f"{i}.bias": torch.ones(1) for i in range(51)}), "51 tensors, at most 50"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "MAX_BYTES", 2**20)
    monkeypatch.setattr(checkpoint, "MAX_TENSORS", 50)
    suffix, content, message = HOSTILE[name]
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content())
    with pytest.raises(FormatError, match=message) as caught:
        load_checkpoint(path)
    assert str(path) in str(caught.value)


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"a checkpoint is a file \.safetensors, \.pt.*got '\.pkl'"):
        load_checkpoint(tmp_path / "a.pkl")


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a.weight": torch.ones(2, 3), "b.weight": torch.ones(2, 4)}, "'b' takes 4 inputs, 'a' before it gives 2"),
        ({"a.weight": torch.ones(4, 3, 1, 1), "b.weight": torch.ones(2, 6)}, "'b' takes 6 inputs, 'a' before it gives 4"),
        ({"a.weight": torch.ones(2, 3, 4)}, "no convolution of images and no linear layer"),
        ({"a.weight": torch.ones(2, 3), "a.bias": torch.ones(3)}, r"its bias has shape \(3,\)"),
        ({"a.weight": torch.ones(2, 0)}, "no convolution of images"),
        ({"a.weight": torch.ones(2, 3), "b.weight": torch.ones(3), "b.bias": torch.ones(3)}, "'b' fits no layer"),
        ({"a.weight": torch.ones(3)}, "holds no convolution and no linear layer"),
        ({"a.weight": torch.tensor([[1.0, np.nan]])}, "not finite"),
        ({"a.weight": torch.tensor([[1.0, 1e300]], dtype=torch.float64)}, "not finite"),
    ],
)
def test_what_is_no_sequence_of_layers_is_refused(state: dict[str, Tensor], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        vectorise(state)
