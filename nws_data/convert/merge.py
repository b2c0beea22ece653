"""``nws merge``: two datasets as one."""

from __future__ import annotations

from pathlib import Path

from nws_data.convert.diff import compare
from nws_data.convert.stored import StoredDataset, write_copy
from nws_data.errors import BuildError
from nws_data.format.manifest import Manifest
from nws_data.format.plan import plan_differences
from nws_data.progress import Progress
from nws_data.space.trajectory import snapshots_text


def merge(a: str | Path, b: str | Path, out: str | Path, *, progress: Progress | None = None) -> Manifest:
    """Write the trainings of two datasets as one; return its manifest. Interrupted, the same call goes on.

    They may hold different populations, or different or overlapping parts of one that was built with one plan. Raises
    ``BuildError`` where plans or image sets contradict each other, snapshots or a training of both differ, or ``out`` holds
    another dataset; ``FormatError`` where a dataset is damaged, or its shards are not here.
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
    found = compare(one, two)
    if others := (*found.values, *found.weights):
        raise BuildError(f"{others[0]} is not the same training in {a} and {b}; `nws diff {a} {b}` says more")
    chosen = {}
    for name in {**one.rows, **two.rows}:
        origins = dict.fromkeys(two.rows.get(name, ()), two) | dict.fromkeys(one.rows.get(name, ()), one)
        plan = next(iter(origins.values())).manifest.populations[name].plan
        chosen[name] = (plan, [data.source(training) for training, data in origins.items()])
    return write_copy(Path(out), tuple(image_sets.values()), chosen, progress)
