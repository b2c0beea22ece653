"""Heals a dataset that was damaged after its build, as by a power cut: trains again what cannot be derived from the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from builders.config import BuildConfig
from builders.plan.trainings import PlannedTraining, plan_training
from builders.run.workspace import Workspace
from nws_data.errors import BuildError
from nws_data.format.plan import plan_differences
from nws_data.space.identity import parse_id
from nws_data.space.image_sets import ImageSet
from nws_data.terminal import say
from nws_data.write.mend import Damage, find_damage, mend, restore_manifest

Train = Callable[[BuildConfig, Workspace, dict[str, Any], str, Sequence[PlannedTraining], int], int]
"""Trains and stages: configuration, workspace, plan, population, trainings, how many others are finished."""


def mend_dataset(
    config: BuildConfig, workspace: Workspace, image_sets: tuple[ImageSet, ...], train: Train, card_template: str
) -> None:
    """Put a damaged dataset right again; a sound one, or none, is left alone.

    Raises:
        BuildError: the damaged trainings were built with other options; trained again they have other bytes.
        FormatError: manifest.json is lost, and its copy too.
    """
    out = config.out
    if restore_manifest(out):
        say(f"{out}: manifest.json was damaged or missing; written again from its copy", error=True)
    if (damage := find_damage(out)) is None:
        return
    names = damage.trainings
    again = f"; {len(names)} trainings are trained again" if names else ""
    say(f"{out}: {len(damage.files)} damaged files are written again{again}: {', '.join(damage.files)}", error=True)
    for population in damage.manifest.populations:
        if lost := [name for name in names if parse_id(name)[0] == population]:
            _train_again(config, workspace, image_sets, damage, population, lost, train)
    mend(out, damage, {name: workspace.path_of(name) for name in names}, card_template)
    workspace.remove_staged(names)


def _train_again(
    config: BuildConfig,
    workspace: Workspace,
    image_sets: tuple[ImageSet, ...],
    damage: Damage,
    population: str,
    lost: Sequence[str],
    train: Train,
) -> None:
    """Train and stage the lost trainings of one population; those that are staged already are taken."""
    stored = damage.manifest.populations[population]
    config = config.continuing(stored.plan.get("compute_path"))
    identity = config.identity(image_sets)
    if different := plan_differences(stored.plan, identity):
        raise BuildError(
            f"{config.out}: {', '.join(damage.files)} damaged; the trainings in them were built with other options: "
            f"{'; '.join(different)}. Give those to train them again, or fetch the files again"
        )
    workspace.claim_plan(population, identity)
    staged = workspace.staged(population)
    sets = [item.name for item in image_sets]
    plan = [plan_training(population, parse_id(name)[1], config.seed, sets, config.batch_norm) for name in lost]
    todo = [planned for planned in plan if planned.id not in staged]
    train(config, workspace, identity, population, todo, stored.n_trainings - len(todo))
