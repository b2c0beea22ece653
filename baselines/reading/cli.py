"""The command ``nws read``."""

from __future__ import annotations

import argparse
from pathlib import Path

from nws_data.commands import JSON, Commands, add_command, arg
from nws_data.terminal import align, say, say_json

CLASSIFIERS = Path("nws-classifiers")
_EXAMPLES = """\
examples:
  nws bench run --task 'local/*' --method boosting-16 --seeds 1 \\
    --keep nws-classifiers
  nws read model.safetensors

"cannot tell" is an answer: docs/reading.md says what it rests on.
"""


def add_commands(commands: Commands) -> None:
    """Add the command to the ``nws`` parser."""
    folder = f"folder of nws bench run --keep (default: {CLASSIFIERS})"
    add_command(
        commands,
        "read",
        _run_read,
        "how was a network trained? its hyper-parameters, read off a checkpoint's weights",
        arg("checkpoint", type=Path, help="a state dict: .safetensors, or of torch.save"),
        arg("--classifiers", type=Path, default=CLASSIFIERS, metavar="DIR", help=folder),
        arg("--confidence", type=float, default=0.7, metavar="P", help="least probability of an answer (default 0.7)"),
        JSON,
        examples=_EXAMPLES,
    )


def _run_read(options: argparse.Namespace) -> int:
    from baselines.reading.checkpoint import load_checkpoint
    from baselines.reading.read import read_network, usable
    from baselines.reading.saved import load_folder

    checkpoint = load_checkpoint(options.checkpoint)
    readings = read_network(checkpoint, usable(load_folder(options.classifiers)), options.confidence)
    if options.json:
        network = {"n_weights": len(checkpoint.vector), "n_weights_conv": checkpoint.n_conv, "layers": checkpoint.layers}
        say_json({"network": network, "readings": [vars(reading) for reading in readings]})
        return 0
    conv = f"{checkpoint.n_conv:,} of them convolutional"
    say(f"{len(checkpoint.layers)} layers, {len(checkpoint.vector):,} values, {conv}")
    rows = [["", "answer", "probabilities, or why not"]]
    for reading in readings:
        likely = sorted(reading.probabilities.items(), key=lambda item: -item[1])
        shares = ", ".join(f"{name} {share:.0%}" for name, share in likely)
        rows.append([reading.target, reading.answer or "cannot tell", reading.why or shares])
    say("\n".join(align(rows)))
    return 0
