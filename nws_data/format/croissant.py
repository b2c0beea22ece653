"""croissant.json: the dataset described in Croissant 1.0, with its responsible-AI fields, so that others' tools load it.

Every file is listed with its SHA-256 and a path relative to croissant.json. Each split of each config is a record set,
``fixed/train`` and so on, whose records are the rows of its table. The responsible-AI fields are sections of the card.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa

from nws_data.format.card import TAGS, TITLE
from nws_data.format.manifest import Manifest
from nws_data.format.metadata import SNAPSHOT_SCHEMA, TRAINING_SCHEMA

LICENCE_URL = "https://creativecommons.org/licenses/by/4.0/"

CITATION = (
    "Eilertsen, G., Jönsson, D., Ropinski, T., Unger, J., Ynnerman, A.: Classifying the classifier: dissecting the weight "
    "space of neural networks. European Conference on Artificial Intelligence (ECAI), 2020."
)

RAI_SECTIONS = {
    "rai:dataCollection": "Collection",
    "rai:dataPreprocessingProtocol": "Preprocessing",
    "rai:dataAnnotationProtocol": "Labels",
    "rai:dataBiases": "Biases",
    "rai:dataUseCases": "Uses",
    "rai:dataLimitations": "Limits",
    "rai:dataSocialImpact": "Misuse and social impact",
    "rai:personalSensitiveInformation": "Personal and sensitive information",
    "rai:dataReleaseMaintenancePlan": "Maintenance",
}
"""Which section of the card each responsible-AI field holds, by its heading."""

_OWN_NAMES = (
    "citeAs column conformsTo data dataType equivalentProperty examples extract field fileProperty fileObject fileSet "
    "format includes isLiveDataset jsonPath key md5 parentField path recordSet references regex repeated "
    "replace samplingRate separator source subField transform"
)
_CONTEXT: dict[str, Any] = {name: f"cr:{name}" for name in _OWN_NAMES.split()} | {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "sc": "https://schema.org/",
}
"""The context of Croissant 1.0, as its specification gives it."""

_TYPES = {"bool": "sc:Boolean", "int32": "sc:Integer", "int64": "sc:Integer", "double": "sc:Float", "string": "sc:Text"}


def croissant_json(root: Path, manifest: Manifest, card: str, date: str) -> bytes:
    """Return croissant.json of a dataset whose tables are written.

    ``card`` is README.md, whose sections are quoted; ``date`` the last training's, ISO 8601, or empty where it is not known.
    """
    sections = card_sections(card)
    nbytes = {shard.path: shard.nbytes for shard in manifest.shards}
    files = [path for path in manifest.file_sha256 if path != manifest.provenance]
    tables = {
        f"{population}/{split}": (stored.metadata, SNAPSHOT_SCHEMA)
        for population, entry in manifest.populations.items()
        for split, stored in entry.splits.items()
    } | {f"trainings/{split}": (path, TRAINING_SCHEMA) for split, path in manifest.trainings.items()}
    content = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": "nws",
        "alternateName": TITLE,
        "description": sections.get(TITLE, TITLE),
        "license": LICENCE_URL,
        "citeAs": CITATION,
        "keywords": list(TAGS),
        **({"datePublished": date} if date else {}),
        "version": f"1.0.0+{manifest.data_digest[:12]}",
        **{field: sections[heading] for field, heading in RAI_SECTIONS.items() if heading in sections},
        "distribution": [_file(root, path, manifest.file_sha256[path], nbytes.get(path)) for path in sorted(files)],
        "recordSet": [_record_set(name, path, schema) for name, (path, schema) in tables.items()],
    }
    return (json.dumps(content, ensure_ascii=False) + "\n").encode()


def card_sections(card: str) -> dict[str, str]:
    """Return the text under each heading of a card, on one line."""
    parts = re.split(r"^#+ (.+)$", card, flags=re.MULTILINE)
    return {heading.strip(): " ".join(text.split()) for heading, text in zip(parts[1::2], parts[2::2], strict=True)}


def _file(root: Path, path: str, sha256: str, nbytes: int | None) -> dict[str, Any]:
    is_table = path.endswith(".parquet")
    return {
        "@type": "cr:FileObject",
        "@id": path,
        "name": path,
        "contentUrl": path,
        "contentSize": f"{(root / path).stat().st_size if nbytes is None else nbytes} B",
        "encodingFormat": "application/x-parquet" if is_table else "application/octet-stream",
        "sha256": sha256,
    }


def _record_set(name: str, path: str, schema: pa.Schema) -> dict[str, Any]:
    fields = [_field(name, path, column) for column in schema]
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "field": fields}


def _field(parent: str, path: str, column: pa.Field, within: str = "") -> dict[str, Any]:
    """Return a field; of a struct its parts are sub-fields, found inside the column ``within``."""
    name, kind = f"{parent}/{column.name}", column.type
    repeated = pa.types.is_list(kind)
    if repeated:
        kind = kind.value_type
    source: dict[str, Any] = {"fileObject": {"@id": path}, "extract": {"column": within or column.name}}
    if within:
        source["transform"] = {"jsonPath": column.name}
    about: dict[str, Any] = {"@type": "cr:Field", "@id": name, "name": name}
    if repeated:
        about["repeated"] = True
    if pa.types.is_struct(kind):
        return about | {"subField": [_field(name, path, part, column.name) for part in kind]}
    return about | {"dataType": _TYPES[str(kind)], "source": source}
