"""``nws bench methods``: the list of methods, made without loading what they compute with."""

from __future__ import annotations

import argparse
import textwrap

from baselines.registry import METHODS, options_of
from nws_data.terminal import say

_LIMITS = {"vector": "whole vectors", "windows": "windows", "classification": "classes", "regression": "numbers"}


def methods(options: argparse.Namespace) -> int:
    """Print the registered methods, what they are and their options with defaults, in lines of 80 characters."""
    lines, of_options = ["method              what it is"], dict[str, list[str]]()
    for name, entry in METHODS.items():
        limits = [_LIMITS[words[0]] for words in (entry.inputs, entry.kinds) if len(words) == 1]
        about = f"{entry.help} (only {', '.join(limits)})" if limits else entry.help
        lines.append(textwrap.fill(about, 80, initial_indent=f"{name:<20}", subsequent_indent=" " * 20))
        shown = ", ".join(f"{key}={option.default}" for key, option in options_of(name).items())
        of_options.setdefault(shown or "none", []).append(name)
    lines += ["", "options (--option KEY=VALUE) with their defaults"]
    for shown, names in of_options.items():
        lines += [*textwrap.wrap(", ".join(names), 80), textwrap.indent(textwrap.fill(shown, 76), "    ")]
    own = "A class of your own: --method package.module:Class or file.py:Class, see CONTRIBUTING.md"
    say("\n".join([*lines, "", *textwrap.wrap(own, 80)]))
    return 0
