"""``nws merge``: two datasets as one."""

from __future__ import annotations

from pathlib import Path

from nws_data.convert.diff import different_weights
from nws_data.convert.stored import StoredDataset, write_copy
from nws_data.errors import BuildError
from nws_data.format.manifest import Manifest
from nws_data.format.plan import plan_differences
from nws_data.progress import Progress
from nws_data.space.identity import parse_id
from nws_data.space.trajectory import snapshots_text


def merge(a: str | Path, b: str | Path, out: str | Path, *, progress: Progress | None = None) -> Manifest:
    """Write the trainings of two datasets as one; return its manifest.

    They may hold different populations, or different or overlapping parts of one that was built with one plan. Interrupted,
    the same call goes on.

    Raises:
        BuildError: plans or image sets contradict each other, snapshots or a training of both differ, or ``out`` holds
            another dataset.
        FormatError: a dataset is damaged, or its shards are not here.
    """
    one, two = StoredDataset(a), StoredDataset(b)
    if one.manifest.snapshots != two.manifest.snapshots:
        held = [snapshots_text(data.manifest.snapshots) for data in (one, two)]
        raise BuildError(f"{a} holds {held[0]} of each training, {b} {held[1]}; make them equal by `nws subset --snapshots`")
    image_sets = {image_set.name: image_set for image_set in one.manifest.image_sets}
    for image_set in two.manifest.image_sets:
        if image_sets.setdefault(image_set.name, image_set) != image_set:
            raise BuildError(f"image set {image_set.name} of {a} and {b} differs (`nws diff`); they cannot be one dataset")
    for name in [name for name in one.rows if name in two.rows]:
        plans = [data.manifest.populations[name].plan for data in (one, two)]
        if different := plan_differences(*plans):
            raise BuildError(f"population {name} has other plans in {a} and {b}: {'; '.join(different)}; keep them apart")
    _check_shared(one, two)
    chosen = {}
    for name in {**one.rows, **two.rows}:
        origins = dict.fromkeys(two.rows.get(name, ()), two) | dict.fromkeys(one.rows.get(name, ()), one)
        plan = next(iter(origins.values())).manifest.populations[name].plan
        chosen[name] = (plan, [data.source(training) for training, data in origins.items()])
    return write_copy(Path(out), tuple(image_sets.values()), chosen, progress)


def _check_shared(one: StoredDataset, two: StoredDataset) -> None:
    """Raise ``BuildError`` where a training that both hold is not the same."""
    shared = [
        training for rows in one.rows.values() for training in rows if training in two.rows.get(parse_id(training)[0], ())
    ]
    different = [t for t in shared if one.rows[parse_id(t)[0]][t] != two.rows[parse_id(t)[0]][t]]
    different = different or different_weights(one, two, shared, None)
    if different:
        raise BuildError(
            f"{different[0]} is not the same training in {one.root} and {two.root}; "
            f"`nws diff {one.root} {two.root}` says more"
        )
