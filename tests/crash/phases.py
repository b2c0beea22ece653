"""How far a build had come: from a file operation, or from what stands in its folder after a kill."""

from __future__ import annotations

from pathlib import Path

from tests.crash.files import files_of

PHASES = ("start", "images", "training", "staging", "shard", "metadata", "manifest", "cleanup", "end")
_SMALL = (".README", ".SHA256SUMS", ".manifest.json")  # while they have their temporary names


def phase_of_operation(text: str) -> str:
    """Return the phase of a file operation of the parent process, as :mod:`tests.crash.processes` names them."""
    event, path = text.split(" ", 1)
    name = path.rsplit("/", 1)[-1]
    if event in ("os.remove", "os.rmdir"):
        return "training" if name.startswith("token-") else "cleanup"
    if path.startswith(".build/images"):
        return "images"
    if path.startswith((".build/trainings/", ".build/plans", ".build/.plans")):
        return "training"
    if path.startswith("metadata"):
        return "metadata"
    if name.startswith(_SMALL):
        return "manifest"
    if path.startswith("weights") or "nws-unfinished" in name:
        return "shard"
    return "start"


def phase_of_folder(out: Path, goal: bytes) -> str:
    """Return the phase in which a killed build was; ``goal`` is the manifest's data digest at the end."""
    if not out.exists():
        return "start"
    build = out / ".build"
    manifest = out / "manifest.json"
    complete = manifest.exists() and goal in manifest.read_bytes()
    if complete and not build.exists() and not (out / ".nws-unfinished").exists():
        return "end"
    if complete:
        return "cleanup"
    if (out / ".nws-unfinished").exists():
        names = [path.relative_to(out).as_posix() for path in files_of(out) if ".tmp-" in path.name]
        if any(name.startswith(_SMALL) for name in names):
            return "manifest"
        return "metadata" if any(name.startswith("metadata") for name in names) else "shard"
    if any(path.parent == build / "trainings" and ".tmp-" in path.name for path in files_of(out)):
        return "staging"
    if (build / "plans.json").exists():
        return "training"
    return "images" if (build / "images").exists() else "start"
