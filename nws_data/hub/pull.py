"""Fetching a tier of a dataset from the hub: the metadata, and the shards that the tier needs and that are not here yet.

Everything comes from one commit, and every file's SHA-256 is checked before it counts as here.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from nws_data.atomic import make_folder, sync_folder
from nws_data.errors import BuildError, DownloadError, FormatError, SelectionError, check_one_of
from nws_data.format.manifest import MANIFEST, Manifest, ShardEntry
from nws_data.format.partial import Pulled
from nws_data.format.root import CHECKSUMS, LOCK, OPTIONAL_FILES, README, read_checksums
from nws_data.format.tiers import FULL, NAMED_TIERS, choose_tier, tier_bytes, tier_name
from nws_data.format.untrusted import MAX_FILE_NBYTES, MAX_TABLE_NBYTES
from nws_data.hashing import file_sha256
from nws_data.hub.repository import Received, Repository, fetch, find_commit, parse_repository
from nws_data.lock import locked
from nws_data.progress import Progress
from nws_data.space.hyperparameters import Population
from nws_data.space.identity import Split
from nws_data.write.folder import refuse_links

STAGING = ".pull"
"""Hidden folder beside the dataset's files, where they are downloaded and checked."""


@dataclass(frozen=True, kw_only=True)
class PullReport:
    """What :func:`pull` did."""

    repository: str
    commit: str
    tier: str
    populations: tuple[str, ...]
    split: str | None  # None: all
    n_shards: int  # of the tier
    n_bytes: int
    n_fetched: int  # shards that were not here before
    n_bytes_fetched: int


def pull(
    repository: str,
    out: str | Path,
    *,
    tier: str,
    populations: Sequence[Population] = (),
    split: Split | None = None,
    progress: Progress | None = None,
) -> PullReport:
    """Download a tier of a dataset into a folder. Stopped at any time and run again, it resumes with the first missing file.

    A folder stays at the commit that it was first filled from, so that metadata and shards belong together.

    Args:
        repository: ``owner/name`` on the Hugging Face hub, or ``owner/name@revision``.
        out: a new or empty folder, or one that was filled from the same repository.
        tier: of each population: ``"1GB"``, ``"10GB"``, ``"full"`` or any size such as ``"500MB"``.
        populations: ``"fixed"``, ``"random"``; by default all that the dataset has.
        split: ``"train"``, ``"validation"``, ``"test"``, ``"none"``: the tier's shards of this split; by default all.
        progress: called with (path of the file, bytes of shards so far, bytes of all shards to fetch).

    Raises:
        DownloadError: not a repository's name, no such repository, no network, no space, something else in the folder,
            damaged files.
        BuildError: another process writes there, or a folder inside is a link.
        SelectionError: a tier that is not a size, or a population or split that the dataset does not hold.
    """
    parsed = parse_repository(repository)
    if parsed is None:
        raise DownloadError(f"a repository is owner/name or owner/name@revision, got {repository!r}")
    tier, out = tier_name(tier), Path(out).expanduser()
    known = _owned(out, parsed)
    make_folder(out)
    with _claimed(out) as staging:
        _check_commit(parsed, known, out)
        pulled = known or Pulled(repository=parsed.name, commit=find_commit(parsed)[0], shards=())
        pulled.save(out)
        source = _Source(parsed, pulled.commit, out, staging)
        manifest = source.manifest()
        shards = tier_shards(manifest, tier, populations, parsed, split)
        missing = source.add(manifest, shards, progress)
    return PullReport(
        repository=parsed.name,
        commit=pulled.commit,
        tier=tier,
        populations=tuple(populations or manifest.populations),
        split=split,
        n_shards=len(shards),
        n_bytes=sum(shard.nbytes for shard in shards),
        n_fetched=len(missing),
        n_bytes_fetched=sum(shard.nbytes for shard in missing),
    )


def format_report(report: PullReport, out: Path) -> str:
    """Return what was done, for people, and the next step."""
    names = ", ".join(report.populations) + (f", split {report.split}" if report.split else "")
    which = f"tier={report.tier!r}" if report.split is None else f"split={report.split!r}"
    call = f"{str(out)!r}, {report.populations[0]!r}, {which}"
    return (
        f"{out}: tier {report.tier} of {names}, {report.n_shards:,} shards, {report.n_bytes / 1e6:,.1f} MB, at commit "
        f"{report.commit[:12]}; fetched {report.n_fetched:,} of them, {report.n_bytes_fetched / 1e6:,.1f} MB\n"
        f"Next: nws info {out}, or in Python: nws_data.open({call})"
    )


def cached(
    repository: Repository,
    tier: str | None,
    population: str | None = None,
    split: str | None = None,
    progress: Progress | None = None,
    *,
    stream: bool = False,
) -> Path:
    """Return the folder of a commit in the hub's cache that holds a tier of one population, or of one split of it.

    With ``stream`` it holds the metadata, and such shards as were there; a tier is not needed then. Files that are there are
    not fetched again, nor asked for; without a network what is there is enough. Raises as :func:`pull`.
    """
    if tier is None and not stream:
        raise SelectionError(
            f"{repository} is not a folder here; of the hub's dataset of that name say how much to fetch, as in tier='1GB': "
            f"{', '.join(NAMED_TIERS)} or another size; or read it from there by stream=True"
        )
    tier = tier_name(tier or FULL)
    commit, path = find_commit(repository)
    root = path.parent
    source = _Source(repository, commit, root, None)
    manifest = source.manifest()
    shards = tier_shards(manifest, tier, [population or manifest.default_population], repository, split)
    if stream:
        shards = []
    source.add(manifest, shards, progress)
    return root


def fetch_shards(root: Path, paths: Collection[str], progress: Progress | None = None) -> None:
    """Fetch these shards, by their paths in the dataset, into a folder that was filled from the hub, or one of its cache.

    Raises ``DownloadError`` and ``BuildError`` as :func:`pull`.
    """
    pulled, manifest = Pulled.load(root), Manifest.load(root)
    if pulled is None:
        raise DownloadError(f"{root} was not filled from the hub, so nobody knows where its other shards are")
    shards = [shard for shard in manifest.shards if shard.path in paths]
    with nullcontext() if root.name == pulled.commit else _claimed(root) as staging:  # without: the hub's cache
        _Source(Repository(pulled.repository, pulled.commit), pulled.commit, root, staging).add(manifest, shards, progress)


def tier_shards(
    manifest: Manifest, tier: str, populations: Sequence[str], repository: Repository, split: str | None = None
) -> list[ShardEntry]:
    """Return the shards of a tier of each population, or of one split; raises ``SelectionError``."""
    found = []
    for name in populations or manifest.populations:
        check_one_of(f"{repository}: population", name, manifest.populations)
        splits = manifest.populations[name].splits
        if split is not None:
            check_one_of(f"{repository}: split of {name}", split, splits)
        chosen = choose_tier({key: stored.shards for key, stored in splits.items()}, tier_bytes(tier))
        found += [shard for key, shards in chosen.items() if split in (None, key) for shard in shards]
    return found


@contextmanager
def _claimed(out: Path) -> Iterator[Path]:
    """Claim a folder and yield where its files are put before they are checked, which is empty, and gone in the end.

    Raises ``BuildError`` for a link in it, or when another process writes there.
    """
    refuse_links(out, STAGING)
    with locked(out / LOCK, f"{out}: another process writes in this folder; wait until it has finished"):
        staging = out / STAGING
        if not staging.is_dir():  # rmtree would wait for a writer of a FIFO
            staging.unlink(missing_ok=True)
        shutil.rmtree(staging, ignore_errors=True)
        try:
            yield staging
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _owned(out: Path, repository: Repository) -> Pulled | None:
    """Return what was pulled into a folder before, None into a new one; raises ``DownloadError`` for others."""
    if out.exists() and not out.is_dir():
        raise DownloadError(f"{out} is a file; give a folder")
    known = Pulled.load(out)
    foreign = sorted({path.name for path in out.iterdir()} - {LOCK, STAGING}) if out.is_dir() and known is None else []
    if foreign:
        raise DownloadError(f"{out} holds what was not pulled from the hub ({', '.join(foreign[:3])}); give a new folder")
    if known is not None and known.repository != repository.name:
        raise DownloadError(f"{out} was filled from {known.repository}, not from {repository.name}; give another folder")
    return known


def _check_commit(repository: Repository, known: Pulled | None, out: Path) -> None:
    """Raise ``DownloadError`` when a revision is asked for that is not the commit in the folder."""
    if known is None or repository.revision in (None, known.commit):
        return
    commit = find_commit(repository)[0]
    if commit != known.commit:
        raise DownloadError(
            f"{out} holds commit {known.commit[:12]} of {repository.name}, and {repository.revision} is {commit[:12]} now; "
            f"give another folder, or leave @{repository.revision} away to continue with the commit that is here"
        )


def _check_space(root: Path, shards: Iterable[ShardEntry]) -> None:
    needed, free = sum(shard.nbytes for shard in shards), shutil.disk_usage(root).free
    if needed > free:
        raise DownloadError(
            f"{needed / 1e6:,.1f} MB are to be fetched, {root} has {free / 1e6:,.1f} MB free; free some or take a smaller "
            "tier"
        )


@dataclass(frozen=True)
class _Source:
    """One commit, and where its files go."""

    repository: Repository
    commit: str
    root: Path  # of the dataset
    staging: Path | None  # where files are put before they are checked; None: root is the hub's cache

    def manifest(self) -> Manifest:
        """Return the manifest, which is not placed yet if it is not here; raises ``DownloadError``."""
        file = self._local(MANIFEST)
        try:
            manifest, sums = Manifest.load(file.parent), read_checksums(self._local(CHECKSUMS).parent)
        except FormatError as error:
            raise DownloadError(f"{self.repository}: {error}") from error
        if sums.get(MANIFEST) != file_sha256(file):
            raise DownloadError(
                f"{self.repository}: {MANIFEST} is not the one that {CHECKSUMS} names; remove both from {self.root} if they "
                "are there, and try again"
            )
        return manifest

    def add(self, manifest: Manifest, shards: Sequence[ShardEntry], progress: Progress | None) -> list[ShardEntry]:
        """Fetch metadata that is not here or damaged, and shards that are not here; note and return those that came.

        A shard of the right size counts as here: reading a whole dataset for its SHA-256 takes minutes, see ``nws verify``.
        """
        paths = [(shard, self.root / shard.path) for shard in shards]
        missing = [shard for shard, path in paths if not path.is_file() or path.stat().st_size != shard.nbytes]
        _check_space(self.root, missing)
        sums = read_checksums(self._local(CHECKSUMS).parent)
        described = {README: sums.get(README, "")} | {name: sums[name] for name in OPTIONAL_FILES if name in sums}
        for path, sha256 in (manifest.sha256 | described).items():
            if not (self.root / path).is_file() or file_sha256(self.root / path) != sha256:
                self._get(path, sha256, MAX_FILE_NBYTES if path in described else MAX_TABLE_NBYTES)
        for name in (CHECKSUMS, MANIFEST):
            self._place(self._local(name), name)
        done, total = 0, sum(shard.nbytes for shard in missing)
        for shard in missing:

            def received(n: int, shard: ShardEntry = shard, before: int = done) -> None:
                if progress:
                    progress(shard.path, before + min(n, shard.nbytes), total)

            self._get(shard.path, shard.sha256, shard.nbytes, received)
            received(shard.nbytes)
            done += shard.nbytes
        known = Pulled.load(self.root)
        held = {*(known.shards if known else ()), *(shard.path for shard in shards)}
        here = tuple(shard.path for shard in manifest.shards if shard.path in held)
        now = Pulled(repository=self.repository.name, commit=self.commit, shards=here)
        if now != known:
            # A cache that others own may be read-only; it holds what was asked for.
            with suppress(BuildError) if self.staging is None else nullcontext():
                now.save(self.root)
        return missing

    def _local(self, name: str) -> Path:
        """Return a file of the dataset that is here, or else was fetched and is not placed yet."""
        here = self.root / name
        return here if here.is_file() else fetch(self.repository, self.commit, name, MAX_FILE_NBYTES, self.staging)

    def _get(self, path: str, sha256: str, limit: int, received: Received | None = None) -> None:
        """Fetch a file that is not here or damaged, and check it before it is here."""
        if self.staging is None:
            _drop(self.root / path)
        file = fetch(self.repository, self.commit, path, limit, self.staging, received)
        if file_sha256(file) != sha256:
            _drop(file)
            raise DownloadError(
                f"{path} of {self.repository} came damaged: its SHA-256 is not the recorded one; run the same again; if "
                "that does not help, the file was changed there: name an earlier commit as owner/name@COMMIT"
            )
        self._place(file, path)

    def _place(self, file: Path, path: str) -> None:
        target = self.root / path
        if self.staging is None or file == target:
            return
        make_folder(target.parent)
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
        os.replace(file, target)
        sync_folder(target.parent)


def _drop(file: Path) -> None:
    """Remove a file, and what it is a link to: a pointer of the hub's cache leads to the file itself."""
    if file.is_symlink():
        file.resolve().unlink(missing_ok=True)
    file.unlink(missing_ok=True)
