"""Sending a dataset to the hub: shards in commits of fewer than 100 files, and in one last commit everything else.

Until that last commit the repository holds the dataset that it held before, or none, and shards that nothing names yet. Only
the files of FORMAT.md are sent, whatever else lies in the folder, and of these only what is not there already.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nws_data.check.verify import verify
from nws_data.errors import UploadError
from nws_data.format.manifest import MANIFEST, Manifest
from nws_data.format.partial import Pulled
from nws_data.format.root import CHECKSUMS, OPTIONAL_FILES, README, is_data_file
from nws_data.hashing import file_sha256
from nws_data.hub.repository import Repository, parse_repository, translated_errors
from nws_data.progress import Progress

if TYPE_CHECKING:
    from huggingface_hub import HfApi

COMMIT_FILES = 50
"""Files of a commit; the hub asks for fewer than 100."""


@dataclass(frozen=True, kw_only=True)
class PushPlan:
    """What a push has to do."""

    repository: str
    commit: str | None  # what the repository's main is now; None: there is no such repository
    files: dict[str, int]  # bytes of what is to be sent, by path, in this order
    removed: tuple[str, ...]  # tables that the dataset replaced
    n_there: int  # files that are there already
    n_bytes_there: int
    tag: str  # of the newest commit in this version of the format, such as format-1
    is_tagged: bool

    @property
    def n_bytes(self) -> int:
        """Bytes to send."""
        return sum(self.files.values())


def plan_push(repository: str, root: str | Path, *, deep: bool = False) -> PushPlan:
    """Check a dataset and return what sending it would do; nothing is sent.

    Args:
        repository: ``owner/name`` on the Hugging Face hub; it need not exist.
        root: the dataset's folder.
        deep: check every byte of it, as :func:`push` does; otherwise its metadata and the headers of its shards.

    Raises:
        UploadError: no repository's name, a dataset that is not sound or not whole, a repository that holds other shards,
            no network.
    """
    parsed, root = parse_repository(repository), Path(root)
    if parsed is None or parsed.revision is not None:
        raise UploadError(f"a repository to send to is owner/name, got {repository!r}")
    report = verify(root, deep=deep)
    if not report.ok:
        more = f" and {len(report.problems) - 1:,} more" if len(report.problems) > 1 else ""
        raise UploadError(f"{root} is not sound: {report.problems[0]}{more}; see `nws verify {root}`")
    if report.n_shards_left:
        name = pulled.repository if (pulled := Pulled.load(root)) else repository
        raise UploadError(f"{root} holds a part only; `nws pull {name} --tier full --out {root}` fetches the rest")
    manifest = Manifest.load(root)
    with translated_errors(parsed, "", sending=True):
        commit, there, is_tagged = _remote(parsed.name, tag := f"format-{manifest.format_version}")
    local = _local_files(root, manifest)
    missing = [path for path in local if path not in there or not _is_same(root, manifest, path, there[path])]
    surplus = [path for path in there if is_data_file(path) and path not in local]
    foreign = [path for path in (*missing, *surplus) if path in there and path.startswith("weights/")]
    if foreign:
        raise UploadError(
            f"{parsed.name} holds {foreign[0]} of other data; published shards stay as they are: give another repository, "
            "or a dataset that extends the one there"
        )
    sizes = {path: (root / path).stat().st_size for path in local}
    return PushPlan(
        repository=parsed.name,
        commit=commit,
        files={path: sizes[path] for path in missing},
        removed=tuple(sorted(surplus)),
        n_there=len(local) - len(missing),
        n_bytes_there=sum(sizes.values()) - sum(sizes[path] for path in missing),
        tag=tag,
        is_tagged=is_tagged,
    )


def push(
    repository: str,
    root: str | Path,
    *,
    private: bool = False,
    progress: Progress | None = None,
) -> PushPlan:
    """Send a dataset. Stopped at any time and run again, it sends what is missing; a second run sends nothing.

    Args:
        repository: ``owner/name`` on the Hugging Face hub; it is made if there is none.
        root: the dataset's folder. Every byte of it is checked first.
        private: whether a repository that is made is private.
        progress: called with (path of the file, bytes sent so far, bytes of all files to send).

    Returns:
        What was to do and is done; ``commit`` is the one that holds the dataset.

    Raises:
        UploadError: as :func:`plan_push`; no right to write, or another one wrote meanwhile.
    """
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    plan, root = plan_push(repository, root, deep=True), Path(root)
    were_disabled = are_progress_bars_disabled()
    disable_progress_bars()  # the bar is ours
    try:
        with translated_errors(Repository(plan.repository), "", sending=True):
            commit = _send(plan, root, Manifest.load(root), private, progress)
    finally:
        if not were_disabled:
            enable_progress_bars()
    return replace(plan, commit=commit, is_tagged=True)


def format_plan(plan: PushPlan, root: Path, done: bool = False) -> str:
    """Return a plan for people, and the next step."""
    verb = "sent" if done else "to send"
    shards = [path for path in plan.files if path.startswith("weights/")]
    n_shard_bytes = sum(plan.files[path] for path in shards)
    others = [path for path in plan.files if path not in shards]
    state = "a new repository" if plan.commit is None else f"at commit {plan.commit[:12]}"
    lines = [f"{root} to {plan.repository}, {state}"]
    if shards:
        span = f": {shards[0]} to {shards[-1]}" if len(shards) > 1 else f": {shards[0]}"
        lines.append(f"  {verb}: {len(shards):,} shards, {n_shard_bytes / 1e6:,.1f} MB{span}")
    lines += [f"  {verb}: {path}, {plan.files[path] / 1e6:,.3f} MB" for path in others]
    lines += [f"  {'removed' if done else 'to remove'}: {path}" for path in plan.removed]
    lines.append(f"  there already: {plan.n_there:,} files, {plan.n_bytes_there / 1e6:,.1f} MB")
    if done:
        lines.append(f"Tagged {plan.tag}. Next: nws pull {plan.repository} --tier 1GB")
    elif plan.files or plan.removed or not plan.is_tagged:
        lines.append("Nothing was sent. Next: the same with --yes, which checks every byte first and sends")
    else:
        lines.append("Nothing is left to send.")
    return "\n".join(lines)


def _send(plan: PushPlan, root: Path, manifest: Manifest, private: bool, progress: Progress | None) -> str:
    """Send what a plan names; return the commit that holds all."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api, head, n_sent = HfApi(), plan.commit, 0
    if head is None:
        api.create_repo(plan.repository, repo_type="dataset", private=private)
        head = str(api.repo_info(plan.repository, repo_type="dataset").sha)

    def commit(operations: list[Any], message: str) -> None:
        nonlocal head
        head = api.create_commit(
            plan.repository, operations, commit_message=message, repo_type="dataset", parent_commit=head
        ).oid

    def uploaded(path: str) -> Any:
        nonlocal n_sent
        operation = CommitOperationAdd(path, root / path)
        expected = manifest.file_sha256.get(path)
        if expected not in (None, operation.upload_info.sha256.hex()):
            raise UploadError(f"{root / path} was changed since it was checked; run the same again")
        api.preupload_lfs_files(plan.repository, [operation], repo_type="dataset", free_memory=False)
        n_sent += plan.files[path]
        if progress:
            progress(path, n_sent, plan.n_bytes)
        return operation

    shards = [path for path in plan.files if path.startswith("weights/")]
    for i in range(0, len(shards), COMMIT_FILES):
        batch = shards[i : i + COMMIT_FILES]
        commit([uploaded(path) for path in batch], f"Shards {i + 1} to {i + len(batch)} of {len(shards)}")
    last = [uploaded(path) for path in plan.files if path not in shards]
    last += [CommitOperationDelete(path) for path in plan.removed]
    if last:
        n_trainings = sum(population.n_trainings for population in manifest.populations.values())
        commit(last, f"{n_trainings} trainings, data {manifest.data_digest[:12]}")
    if last or shards or not plan.is_tagged:
        if _tags(api, plan.repository).get(plan.tag, head) != head:
            api.delete_tag(plan.repository, tag=plan.tag, repo_type="dataset")
        api.create_tag(plan.repository, tag=plan.tag, revision=head, repo_type="dataset", exist_ok=True)
    return head


def _remote(name: str, tag: str) -> tuple[str | None, dict[str, Any], bool]:
    """Return a repository's commit, its files by path, and whether the commit has the tag; None without one."""
    from huggingface_hub import HfApi, errors

    api = HfApi()
    try:
        commit = str(api.repo_info(name, repo_type="dataset").sha)
    except errors.GatedRepoError:
        raise
    except errors.RepositoryNotFoundError:
        return None, {}, False
    entries = api.list_repo_tree(name, recursive=True, revision=commit, repo_type="dataset")
    return commit, {e.path: e for e in entries if hasattr(e, "blob_id")}, _tags(api, name).get(tag) == commit


def _tags(api: HfApi, name: str) -> dict[str, str]:
    return {tag.name: tag.target_commit for tag in api.list_repo_refs(name, repo_type="dataset").tags}


def _local_files(root: Path, manifest: Manifest) -> list[str]:
    """Return the paths that are sent, shards first and manifest.json last."""
    shards = [shard.path for shard in manifest.shards]
    optional = [name for name in OPTIONAL_FILES if (root / name).is_file()]
    return [*shards, *sorted(manifest.sha256), README, *optional, CHECKSUMS, MANIFEST]


def _is_same(root: Path, manifest: Manifest, path: str, remote: Any) -> bool:
    """Whether a file of the hub has the bytes of ours: by SHA-256, or by git's SHA-1 where it is stored in git itself."""
    file = root / path
    if remote.lfs is not None:
        return bool(remote.lfs.sha256 == (manifest.file_sha256.get(path) or file_sha256(file)))
    content = file.read_bytes()
    return bool(remote.blob_id == hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest())
