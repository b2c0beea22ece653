"""The dataset card: dataset_card.md filled with the dataset's figures, under a YAML header that ``datasets`` reads.

The header names the exact files and row counts. Names hold digests, so whatever changes the data changes the header, and
with it the key under which ``datasets`` caches a local folder: a rebuilt dataset never shows old rows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from nws_data.errors import FormatError, check_one_of
from nws_data.format.describe import DatasetInfo, PopulationInfo, describe, image_set_rows, plan_text, range_text, split_rows
from nws_data.format.manifest import MANIFEST, Manifest
from nws_data.format.metadata import SNAPSHOT_SCHEMA, TRAINING_SCHEMA, read_table
from nws_data.space.identity import SPLITS
from nws_data.space.image_sets import ImageSet

TITLE = "NWS: the neural weight space dataset"
TAGS = ("weight-space-learning", "neural-network-weights", "training-trajectories")

_HEADER = re.compile(rb"---\r?\n(.*?)\r?\n---", re.DOTALL)
_MAX_HEADER_NBYTES, _MAX_NESTED = 100_000, 500  # ours has 14 KB
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_SIZE_CATEGORIES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def render_card(root: Path, manifest: Manifest, template: str, tables: Mapping[str, pa.Table] = MappingProxyType({})) -> str:
    """Return README.md: a YAML header and the template with its ``{placeholders}`` replaced.

    The header has licence, one config per population and ``trainings``, with files, features and row counts. ``tables`` are
    those of the metadata files that are at hand, by path; others are read. Raises ``FormatError`` for a placeholder that has
    no value.
    """
    import yaml  # type: ignore[import-untyped]

    info = describe(root, manifest, tables=tables)
    size = next((name for limit, name in _SIZE_CATEGORIES if info.n_snapshots < limit), "1M<n<10M")
    header = {
        "license": "cc-by-4.0",
        "pretty_name": TITLE,
        "tags": list(TAGS),
        "size_categories": [size],
        "configs": _configs(manifest),
        "dataset_info": _dataset_info(root, manifest, tables),
    }
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # the one in C takes a tenth of the time
    text = yaml.dump(header, Dumper=dumper, sort_keys=False, allow_unicode=True).rstrip()
    values = _values(info, manifest.default_population)
    for name in _PLACEHOLDER.findall(template):
        check_one_of("dataset card: unknown placeholder", name, values, FormatError)
    return f"---\n{text}\n---\n\n{_PLACEHOLDER.sub(lambda match: values[match[1]], template).lstrip()}"


def header_problems(raw: bytes, manifest: Manifest) -> list[str]:
    """Return what in README.md's YAML header contradicts the manifest: configs, features, row counts; [] when nothing."""
    try:
        header = _parsed_header(raw)
        described = {
            info["config_name"]: (info["features"], {split["name"]: split["num_examples"] for split in info["splits"]})
            for info in header["dataset_info"]
        }
        configs = header["configs"]
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        return [f"README.md: no readable YAML header ({str(error)[:200]!r}); fetch it again or rebuild the dataset"]
    problems = []
    if configs != _texts(_configs(manifest)):
        problems.append(f"README.md: the configs of its YAML header are not those of {MANIFEST}; fetch it again")
    if described != {name: _texts(_description(manifest, name)) for name in _files(manifest)}:
        problems.append("README.md: features or row counts of its YAML header are wrong; fetch it again")
    return problems


def _parsed_header(raw: bytes) -> Any:
    """Return README.md's YAML header with all values as texts: no tag of a stranger's file makes an object."""
    import yaml

    match = _HEADER.match(raw[:_MAX_HEADER_NBYTES])
    if not match:
        raise ValueError(f"none in the first {_MAX_HEADER_NBYTES:,} bytes")
    text = match[1].decode()
    # The library's C code has no limit of its own to what nests.
    if max(map(len, text.splitlines())) > _MAX_NESTED or text.count("[") + text.count("{") > _MAX_NESTED:
        raise ValueError("nested too deep")
    try:
        return yaml.load(text, Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader))
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _texts(value: Any) -> Any:
    """Return a value as YAML gives it without types."""
    if isinstance(value, dict):
        return {key: _texts(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_texts, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _description(manifest: Manifest, config: str) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Return a config's features and rows by split."""
    schema = TRAINING_SCHEMA if config == "trainings" else SNAPSHOT_SCHEMA
    return yaml_features(schema), {split: manifest.n_rows(path) for split, path in _files(manifest)[config].items()}


def _files(manifest: Manifest) -> dict[str, dict[str, str]]:
    """Return config: split: path, the default config first."""
    names = sorted(manifest.populations, key=lambda name: name != manifest.default_population)
    files = {name: {split: e.metadata for split, e in manifest.populations[name].splits.items()} for name in names}
    return files | {"trainings": {split: manifest.trainings[split] for split in SPLITS if split in manifest.trainings}}


def _configs(manifest: Manifest) -> list[dict[str, Any]]:
    configs: list[dict[str, Any]] = []
    for name, files in _files(manifest).items():
        data_files = [{"split": split, "path": path} for split, path in files.items()]
        default = {"default": True} if name == manifest.default_population else {}
        configs.append({"config_name": name, **default, "data_files": data_files})
    return configs


def _dataset_info(root: Path, manifest: Manifest, at_hand: Mapping[str, pa.Table]) -> list[dict[str, Any]]:
    """Return features, row counts and sizes; without any of these ``datasets`` ignores the rest, with a warning."""
    infos = []
    for name, files in _files(manifest).items():
        tables = {split: at_hand.get(path) or read_table(root, manifest, path) for split, path in files.items()}
        splits = [{"name": split, "num_bytes": t.nbytes, "num_examples": len(t)} for split, t in tables.items()]
        sizes = {
            "download_size": sum((root / path).stat().st_size for path in files.values()),
            "dataset_size": sum(table.nbytes for table in tables.values()),
        }
        infos.append({"config_name": name, "features": _description(manifest, name)[0], "splits": splits, **sizes})
    return infos


def yaml_features(schema: pa.Schema) -> list[dict[str, Any]]:
    """Return a schema as ``datasets`` writes features into a card."""
    return [{"name": field.name, **_yaml_type(field.type)} for field in schema]


def _yaml_type(arrow: pa.DataType) -> dict[str, Any]:
    if pa.types.is_struct(arrow):
        return {"struct": yaml_features(arrow)}
    if pa.types.is_list(arrow):
        item = _yaml_type(arrow.value_type)
        return {"list": item.get("dtype") or item["struct"]}
    return {"dtype": {"double": "float64"}.get(str(arrow), str(arrow))}


def _values(info: DatasetInfo, default: str) -> dict[str, str]:
    """Return the text of every placeholder."""
    sets = [["name", "training images", "test images", "threshold %", "source"]]
    for s in info.image_sets:
        sets.append([s.name, f"{s.n_train:,}", f"{s.n_test:,}", f"{100 * s.threshold:.0f}", s.source])
    populations = info.populations
    has_norm = any(p.hyperparameters["batch_norm"].get("True") for p in populations.values())
    return {
        "n_trainings": f"{info.n_trainings:,}",
        "n_snapshots": f"{info.n_snapshots:,}",
        "n_each": str(len(info.snapshots)),
        "size": f"{info.n_bytes / 1e9:,.2f} GB" if info.n_bytes >= 1e9 else f"{info.n_bytes / 1e6:,.1f} MB",
        "data_digest": info.data_digest,
        "default_config": default,
        "image_sets": _markdown(sets),
        "licences": "\n".join(f"- `{s.name}`: {_LICENCES.get(s.name, _UNKNOWN_LICENCE)}." for s in info.image_sets),
        "splits": "\n\n".join(f"`{name}`\n\n{_markdown(split_rows(p))}" for name, p in populations.items()),
        "accuracies": "\n\n".join(f"`{name}`\n\n{_markdown(image_set_rows(p))}" for name, p in populations.items()),
        "training_facts": "\n".join(_facts(name, p) for name, p in populations.items()),
        "builds": "\n".join(_build(name, p, info.image_sets) for name, p in populations.items()),
        "evaluation": " with the running statistics of batch norm" if has_norm else "",
        "original_evaluation": ", with the statistics of the batch, and each evaluation also moved the running statistics"
        if has_norm
        else "",
        "norm_traces": ", the biases before batch norm, batch norm itself" if has_norm else "",
    }


_LICENCES = {
    "mnist": "copyright LeCun and Cortes; commonly stated as CC BY-SA 3.0",
    "fashion_mnist": "MIT (Zalando SE)",
    "cifar10": "no licence stated; its authors ask that Krizhevsky (2009) be cited",
    "svhn": "for non-commercial use only (Netzer and others, 2011)",
    "stl10": "no licence stated; its images are of ImageNet, whose terms allow non-commercial research and education",
    "digits": "CC BY 4.0 (Alpaydin, Kaynak; Optical Recognition of Handwritten Digits)",
}
"""Under which terms the known image sets are given out, as their authors or, where that is said, others state them."""

_UNKNOWN_LICENCE = "unknown to this package: ask who built this dataset"

_PRECISION = {
    "bfloat16": " Products and activations of the training were computed in bfloat16, weights were kept in float32.",
    "tf32": " Products of the training were computed in tf32, everything else in float32.",
}


def _build(name: str, population: PopulationInfo, image_sets: Sequence[ImageSet]) -> str:
    """Return one list item: the plan and the image sets that the trainings used."""
    used = [s for s in image_sets if population.image_sets[s.name].n_trainings]
    sizes = ", ".join(f"{s.name} ({s.n_train:,} training and {s.n_test:,} test images)" for s in used)
    precision = _PRECISION.get(population.plan.get("precision", "float32"), "")
    return f"- `{name}`: {plan_text(population.plan)}; image sets: {sizes}.{precision}"


def _facts(name: str, population: PopulationInfo) -> str:
    """Return one list item: lengths, epochs, why trainings stopped, non-finite ones."""
    reasons = ", ".join(f"{reason} {n:,}" for reason, n in population.stop_reasons.items())
    length = range_text(population.n_weights, median=False)
    return (
        f"- `{name}`: {length} values a snapshot; epochs: {range_text(population.n_epochs)}; "
        f"stopped by: {reasons}; non-finite: {population.n_non_finite:,}."
    )


def _markdown(rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])
