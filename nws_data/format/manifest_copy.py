"""The hidden second copy of manifest.json, for a power cut or a bad disk that takes the files written last.

It is written before README.md, SHA256SUMS and manifest.json, so that all three may be lost. No reader needs it.
"""

from __future__ import annotations

from pathlib import Path

from nws_data.atomic import write_bytes
from nws_data.errors import FormatError
from nws_data.format.manifest import Manifest, parse_manifest
from nws_data.format.untrusted import read_file

MANIFEST_COPY = ".nws-manifest"


def write_copy(root: Path, manifest: Manifest) -> None:
    """Write the copy; raises ``BuildError``."""
    write_bytes(root / MANIFEST_COPY, manifest.to_bytes())


def copied_manifest(root: Path) -> Manifest | None:
    """Return the manifest by its copy; None where there is none, or a damaged one, or no file that it names.

    The last is a folder that somebody has emptied, but for hidden files.
    """
    try:
        manifest = parse_manifest(read_file(root / MANIFEST_COPY), MANIFEST_COPY)
    except (OSError, FormatError):
        return None
    sound = manifest.digest() == manifest.data_digest
    return manifest if sound and any((root / path).is_file() for path in manifest.file_sha256) else None
