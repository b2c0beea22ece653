"""Is a tier a fair sample? Sizes, trainings and p-values of tiers of a whole dataset that is only planned.

    python -m benchmarks.tiers [--tiers 500MB 1GB 10GB] [--seed 0] [--repeats 100] [--json]

Plans the paper's 3,000 fixed and 13,000 random trainings, divides them into shards by the writer's rule and takes tiers by
FORMAT.md's. Of each tier's trainings every column of the plan is tested: the classed hyper-parameters by chi-square against
equal shares and, in a second test, against the trainings left out; learning_rate by Kolmogorov-Smirnov against uniform
and, in two samples, against the others. A fair sample's p-values are uniform in [0, 1]: the smallest of k is above 0.01 / k
in 99 of 100 datasets.

A shard is closed when a size is reached, so how many trainings it holds depends on how large they are. That is a stopping
rule, and by Wald's identity the expected number of trainings of any kind stays the expected number of trainings times
the kind's share. The last table shows it: over many build seeds, the share of trainings of the widest networks in the
smallest tier of ``random`` that is asked for, and their mean length against that of the architectures. Takes a minute.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import chi2_contingency, chisquare, ks_2samp, kstest, uniform

from builders.config import PRESETS
from builders.plan.trainings import plan_trainings
from nws_data.format.tiers import choose_tier, tier_bytes
from nws_data.space.architecture import Architecture, all_architectures
from nws_data.space.hyperparameters import CLASSES, FIXED_ARCHITECTURE, IMAGE_SETS, LEARNING_RATE
from nws_data.space.identity import SPLITS, split_of
from nws_data.terminal import align
from nws_data.write.planned_shards import PlannedShard, planned_shards

N_BIAS = 400
"""Trainings of ``random`` that hold its 1GB tier with room to spare."""

Shards = Mapping[str, tuple[PlannedShard, ...]]


@dataclass(frozen=True)
class Planned:
    """The trainings of one population that a build would train, in plan order."""

    population: str
    ids: np.ndarray  # (n,) text
    lengths: np.ndarray  # int64 (n,), values of a weight vector
    columns: dict[str, np.ndarray]  # each (n,): the hyper-parameters that the population draws


def plan_population(population: str, n: int, seed: int) -> Planned:
    """Plan the first ``n`` trainings of the paper's dataset."""
    trainings = list(plan_trainings(population, n, seed, IMAGE_SETS))
    values = [training.hyperparameters.to_dict() for training in trainings]
    drawn = [name for name in CLASSES if population == "random" or name not in FIXED_ARCHITECTURE]
    return Planned(
        population,
        np.array([training.id for training in trainings]),
        np.array([Architecture.of(training.hyperparameters).n_weights for training in trainings]),
        {name: np.array([value[name] for value in values]) for name in (*drawn, "learning_rate")},
    )


def tier_shards(planned: Planned, tier: str) -> Shards:
    """Return the shards of a tier by split, as the writer would write them."""
    return choose_tier(planned_shards(zip(planned.ids.tolist(), planned.lengths.tolist(), strict=True)), tier_bytes(tier))


def members(planned: Planned, shards: Shards) -> np.ndarray:
    """Return bool ``(n,)``: the trainings in shards, which hold each split from its first to their last training."""
    last = {split: found[-1].last for split, found in shards.items() if found}
    splits = split_column(planned)
    return np.array([training <= last.get(split, "") for training, split in zip(planned.ids, splits, strict=True)])


def split_column(planned: Planned) -> list[str]:
    """Return each training's split."""
    return [split_of(training) for training in planned.ids.tolist()]


def p_values(columns: Mapping[str, np.ndarray], inside: np.ndarray) -> dict[str, dict[str, float]]:
    """Test every column of a sample.

    Args:
        columns: each ``(n,)``, of all trainings.
        inside: bool ``(n,)``, the sample.

    Returns:
        By column: ``law``, the p-value against the law that the plan draws from, and, unless all is inside, ``rest``, the
        one against the trainings outside.
    """
    found = {}
    for name, column in columns.items():
        sample, rest = column[inside], column[~inside]
        low, high = LEARNING_RATE
        if name == "learning_rate":
            p = {"law": kstest(sample, uniform(low, high - low).cdf).pvalue}
            p |= {"rest": ks_2samp(sample, rest).pvalue} if len(rest) else {}
        else:
            counts = [[int((part == value).sum()) for value in CLASSES[name]] for part in (sample, rest)]
            p = {"law": chisquare(counts[0]).pvalue}
            p |= {"rest": chi2_contingency(counts, correction=False).pvalue} if len(rest) else {}
        found[name] = {key: float(value) for key, value in p.items()}
    return found


def describe_tier(planned: Planned, tier: str) -> dict[str, Any]:
    """Return a tier's size, its trainings by split, and its p-values."""
    shards = tier_shards(planned, tier)
    inside = members(planned, shards)
    return {
        "population": planned.population,
        "tier": tier,
        "n_bytes": sum(shard.nbytes for found in shards.values() for shard in found),
        "n_shards": sum(map(len, shards.values())),
        "n_trainings": {split: sum(s.n_trainings for s in shards.get(split, ())) for split in SPLITS},
        "p_values": p_values(planned.columns, inside),
    }


def stopping_bias(tier: str, seeds: range) -> dict[str, Any]:
    """Return how the stopping rule shows over many datasets: pooled share of wide nets, and mean length, with their errors.

    ``share`` is that of ``width_conv`` 48 among the tier's trainings of all seeds (1/3 by the law), ``length`` the mean
    vector length relative to that of the 243 architectures; ``_error`` is the standard error over seeds (of the ratio).
    """
    mean = float(np.mean([architecture.n_weights for architecture in all_architectures()]))
    rows = []
    for seed in seeds:
        planned = plan_population("random", N_BIAS, seed)
        inside = members(planned, tier_shards(planned, tier))
        wide = planned.columns["width_conv"][inside] == max(CLASSES["width_conv"])
        rows.append((inside.sum(), wide.sum(), planned.lengths[inside].sum() / mean))
    n, wide, length = np.array(rows, float).T
    result: dict[str, Any] = {"tier": tier, "seeds": len(seeds), "trainings": int(n.sum())}
    for name, total in (("share", wide), ("length", length)):
        ratio = total.sum() / n.sum()
        result[name] = float(ratio)
        result[f"{name}_error"] = float(np.std(total - ratio * n, ddof=1) / np.mean(n) / np.sqrt(len(seeds)))
    return result


def format_tiers(tiers: list[dict[str, Any]]) -> list[str]:
    """Return the table of tiers as lines."""
    rows = [["population", "tier", "MB", "shards", *SPLITS, "tests", "smallest p", "times tests"]]
    for tier in tiers:
        found = [p for column in tier["p_values"].values() for p in column.values()]
        counts = [f"{tier['n_trainings'][split]:,}" for split in SPLITS]
        size = [f"{tier['n_bytes'] / 1e6:,.0f}", f"{tier['n_shards']:,}"]
        smallest = min(found)
        tested = [str(len(found)), f"{smallest:.3f}", f"{min(1, smallest * len(found)):.2f}"]
        rows.append([tier["population"], tier["tier"], *size, *counts, *tested])
    return align(rows)


def format_columns(tiers: list[dict[str, Any]]) -> list[str]:
    """Return the p-values against the law, a line a column, as lines."""
    names = list(dict.fromkeys(name for tier in tiers for name in tier["p_values"]))
    rows = [["p against the law", *(f"{tier['population']} {tier['tier']}" for tier in tiers)]]
    for name in names:
        found = [tier["p_values"].get(name) for tier in tiers]
        rows.append([name, *("" if p is None else f"{p['law']:.3f}" for p in found)])
    return align(rows)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiers", nargs="+", default=["500MB", "1GB", "10GB", "full"])
    parser.add_argument("--seed", type=int, default=0, help="of the build")
    parser.add_argument("--repeats", type=int, default=100, help="build seeds for the stopping rule")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    sizes: dict[str, int] = PRESETS["paper"]["trainings"]
    plans = [plan_population(population, n, options.seed) for population, n in sizes.items()]
    tiers = [describe_tier(planned, tier) for planned in plans for tier in options.tiers]
    bias = stopping_bias("1GB", range(options.repeats))
    if options.json:
        print(json.dumps({"tiers": tiers, "stopping_rule": bias}, indent=1))
        return
    print(*format_tiers(tiers), "", *format_columns(tiers), "", sep="\n")
    print(
        f"stopping rule, random 1GB, {bias['seeds']} build seeds, {bias['trainings']:,} trainings: share of width_conv 48 "
        f"{bias['share']:.4f} ± {bias['share_error']:.4f} (law 0.3333); mean length {bias['length']:.4f} ± "
        f"{bias['length_error']:.4f} of the architectures'"
    )


if __name__ == "__main__":
    main()
