"""Results on the same data that were published: taken over instead of run again.

They lie in the checkout, in ``benchmarks/results`` and its entries, and under ``results/`` of the repository on the hub that
a dataset was pulled from, each at the place that a run has by its task, method, options and data digest.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from benchmarks.leaderboard.files.against_data import check_against_data
from benchmarks.leaderboard.files.results import Result, ResultError
from benchmarks.leaderboard.runs.environment import CHECKOUT, RESULTS
from nws_data.errors import DownloadError
from nws_data.format.partial import Pulled
from nws_data.format.untrusted import MAX_FILE_NBYTES
from nws_data.hub.repository import Repository, fetch, translated_errors
from nws_data.terminal import plain, say

HUB_FOLDER = "results"


class Published:
    """What was published on a dataset: in the folder ``committed`` of the checkout, and on the hub."""

    def __init__(self, root: Path, committed: Path = CHECKOUT / RESULTS) -> None:
        self.root, self.committed = root, committed

    def find(self, path: Path, seeds: tuple[int, ...]) -> tuple[Result, str] | None:
        """Return a sound result of a run with these seeds, by its path in a folder of results, and where it lies, or None.

        One that is damaged, or was tested on other trainings than the dataset's, is named on stderr and does not count.
        """
        for file, place in self._files(path):
            try:
                result = Result.load(file)
                if result.path != path:
                    raise ResultError(f"it belongs at {result.path}")
                check_against_data(result, self.root)
            except ResultError as error:
                say(plain(f"not reused: {place}: {error}"), error=True)
                continue
            if set(seeds) <= set(result.seeds):
                return result, place
        return None

    def _files(self, path: Path) -> Iterator[tuple[Path, str]]:
        """Yield files that may be a run's, and where each lies in words."""
        for file in [self.committed / path, *sorted(self.committed.glob(f"entries/*/{path.as_posix()}"))]:
            if file.is_file():
                yield file, f"{RESULTS}/{file.relative_to(self.committed).as_posix()}"
        for repository, name in self._on_hub:
            if name.endswith(f"/{path.as_posix()}"):
                yield fetch(repository, None, name, MAX_FILE_NBYTES), f"{repository}/{name}"

    @cached_property
    def _on_hub(self) -> list[tuple[Repository, str]]:
        """The files under ``results/`` now: results may be published later than the commit that the data are of."""
        if (pulled := Pulled.load(self.root)) is None:
            return []
        from huggingface_hub import HfApi

        repository = Repository(pulled.repository)
        try:
            with translated_errors(repository, HUB_FOLDER):
                names = HfApi().list_repo_files(repository.name, repo_type="dataset")
            return [(repository, name) for name in names if name.startswith(f"{HUB_FOLDER}/")]
        except DownloadError as error:
            say(plain(f"published results are not looked up: {error}"), error=True)
            return []
