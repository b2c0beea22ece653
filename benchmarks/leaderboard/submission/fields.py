"""What a person says of an entry; apart, since the help of ``nws bench submit`` loads nothing else."""

from __future__ import annotations

from pathlib import Path

ENTRIES = Path("benchmarks/results/entries")
"""The folder of entries in a checkout."""

NONE = "none"
"""In the place of an address: there is none."""

TEXTS = {
    "who": "names, such as 'A. Author, B. Author (Institute)'",
    "what": "the method in one line",
    "code": f"https address of its code, or {NONE}",
    "paper": f"https address of a paper or page about it, or {NONE}",
    "trained_on": "what it learnt from: 'the train split', or what besides",
}
"""Each field of an entry that nobody can work out, and what it holds."""
