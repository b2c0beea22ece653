"""A build on a real file system that is too small: ``python -m tests.crash.full_disk DISK SIZE ... -- BUILD``.

Mounts DISK with the first size, builds into it, grows it to the next size and runs the same command again, and so on; each
size but the last is too small. To be run by ``unshare -rm``, which lets any user mount.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from nws_data.cli import main


def run(disk: Path, sizes: list[str], command: list[str]) -> None:
    """Raises ``AssertionError`` unless all runs but the last fail and leave no half file."""
    for i, size in enumerate(sizes):
        options = f"remount,size={size}" if i else f"size={size}"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(disk)], check=True)
        assert main(command) == (2 if i + 1 < len(sizes) else 0), size
        assert not list(disk.rglob(".*.tmp-*")), size


if __name__ == "__main__":
    end = sys.argv.index("--")
    run(Path(sys.argv[1]), sys.argv[2:end], sys.argv[end + 1 :])
