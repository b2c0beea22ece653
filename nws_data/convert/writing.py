"""Writing several populations into one new folder by the one writer, so that an interrupted call goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nws_data.errors import BuildError
from nws_data.format.manifest import Manifest
from nws_data.format.metadata import read_table
from nws_data.format.shards import tensor_nbytes
from nws_data.space.image_sets import ImageSet
from nws_data.space.trajectory import SNAPSHOTS
from nws_data.write.sources import Source
from nws_data.write.writer import check_appendable, write_population

Progress = Callable[[str, int, int], None]
"""Called as (what, bytes so far, bytes in all)."""


def write_populations(
    out: Path,
    image_sets: Sequence[ImageSet],
    populations: Mapping[str, tuple[Mapping[str, Any], Sequence[Source]]],
    card_template: str,
    progress: Progress | None,
    snapshots: Sequence[int] = SNAPSHOTS,
) -> Manifest:
    """Write the plan and the trainings of each population as a dataset, or go on with one that was interrupted.

    ``snapshots`` are the numbers of those that the weights of the sources hold. Raises ``BuildError`` where ``out`` holds
    anything else.
    """
    wanted = {source.facts.training for _, sources in populations.values() for source in sources}
    old = check_appendable(out, snapshots=snapshots)
    stored: set[str] = set()
    if old is not None:
        for path in old.trainings.values():
            stored |= set(read_table(out, old, path, ["training"])["training"].to_pylist())
        for name, (plan, _) in populations.items():
            check_appendable(out, name, plan, image_sets, snapshots)
        if others := sorted(stored - wanted):
            raise BuildError(f"{out} holds another dataset, with {', '.join(others[:3])}; give a new folder")
    sizes = {
        name: sum(tensor_nbytes(source.facts.architecture.n_weights, len(snapshots)) for source in sources)
        for name, (_, sources) in populations.items()
    }
    done, total = 0, sum(sizes.values())

    def advance(nbytes: int) -> None:
        nonlocal done
        done += nbytes
        if progress:
            progress("weights", done, total)

    for name, (plan, sources) in populations.items():
        # A complete population is left alone: writing would clear what is finished of the next. The last one clears up.
        if name != list(populations)[-1] and {source.facts.training for source in sources} <= stored:
            advance(sizes[name])
            continue
        write_population(
            out,
            population=name,
            plan=plan,
            image_sets=image_sets,
            records=sources,
            card_template=card_template,
            snapshots=snapshots,
            progress=advance,
        )
    return Manifest.load(out)
