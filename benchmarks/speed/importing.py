"""How fast the release of 2020 is imported, against a plain read: ``python -m benchmarks.speed.importing``.

The plain read is ``numpy.fromfile`` of every file of a made-up release of the fixed architecture; the import writes the
dataset beside it, on the same disk. Both in turns, the ratio is the median of the rounds: once with the release in the page
cache (``warm``), once dropped from it before each (``cold``; on systems with ``posix_fadvise``). Takes a minute and 4.5 GB
in a temporary folder (``TMPDIR``).
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.speed.alternate import Setup, Work, alternate, command_line, compared, count, show
from nws_data.convert.original import import_original

_META = {"dataset": "mnist", "lrate": "0.001", "batch_size": "64", "batch_norm": "True", "augmentation": "False"}
_META |= {"optimizer": "0", "activation": "0", "initialization": "2", "filter_size": "5", "depth_conv": "3"}
_META |= {"depth_fc": "2", "width_conv": "8", "width_fc": "128"}
_N, _N_CONV, _N_EVALUATIONS = 92_868, 16_880, 30


def write_release(root: Path, n: int) -> None:
    """Write n trainings with random weights, and their lists."""
    rng = np.random.default_rng(0)
    rows = [_META | {"weightn_conv": _N_CONV, "weightn_fc": _N - _N_CONV, "path": f"/x/nws_fixed/{i:04d}"} for i in range(n)]
    for i in range(n):
        folder = root / "nws_fixed" / f"{i:04d}"
        (folder / "weights").mkdir(parents=True)
        pd.DataFrame([_META]).to_csv(folder / "meta.csv", index=False)
        for k in range(1, 21):
            rng.standard_normal(_N, np.float32).astype(np.float64).tofile(folder / "weights" / f"{k:03d}.bin")
        errors = np.full((_N_EVALUATIONS, 5), 50.0)
        errors[:, 0] = np.arange(_N_EVALUATIONS)
        errors.tofile(folder / "error.bin")
        np.array([_N_EVALUATIONS, _N_EVALUATIONS - 1.0, _N_EVALUATIONS - 1.0, 1]).tofile(folder / "stat.bin")
    n_train = max(1, n * 2 // 3)
    pd.DataFrame(rows[:n_train]).to_csv(root / "nws_fixed_train.csv", index=False)
    pd.DataFrame(rows[n_train:]).to_csv(root / "nws_fixed_test.csv", index=False)


def read(files: Sequence[Path]) -> None:
    """Read all files plainly."""
    for path in files:
        np.fromfile(path)


def reset(out: Path, files: Sequence[Path], cold: bool) -> None:
    """Remove the dataset and wait for the disk, so that nothing of earlier rounds is written in the next; drop files."""
    shutil.rmtree(out, ignore_errors=True)
    os.sync()
    for path in files if cold else ():
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the comparison."""
    parser = command_line(__doc__)
    parser.add_argument("--trainings", type=count, default=200, help="folders of the release (default: %(default)s)")
    options = parser.parse_args(arguments)
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        root, out = Path(temporary) / "release", Path(temporary) / "nws"
        write_release(root, max(2, options.trainings))
        files = sorted(root.rglob("*.bin"))
        gigabytes = sum(path.stat().st_size for path in files) / 1e9
        works: dict[str, Work] = {"read": partial(read, files), "import": partial(import_original, root, out)}
        contenders: dict[str, Setup] = {name: partial(partial, work) for name, work in works.items()}
        for cold in (False, True) if hasattr(os, "posix_fadvise") else (False,):
            times = alternate(contenders, options.rounds, partial(reset, out, files, cold))
            row = {"cache": "cold" if cold else "warm", "read_s": statistics.median(times["read"])}
            rows.append(row | compared(times["read"], times["import"]) | {"gigabytes": gigabytes})
    show(rows, options.json)


if __name__ == "__main__":
    main()
