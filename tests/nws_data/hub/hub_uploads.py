"""What a hub does with uploads: repositories, the check of a card, LFS objects, commits and tags."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from tests.nws_data.hub.hub_server import Hub

Answer = tuple[int, dict[str, Any]]
_REPO = r"(?P<repo>[\w.-]+/[\w.-]+)"
_LFS = (".safetensors", ".parquet")


def answer(hub: Hub, method: str, path: str, body: bytes) -> Answer:
    """Return status and JSON of a request that changes something."""
    path = path.partition("?")[0]
    if path == "/api/repos/create":
        if hub.commits:
            return 409, {"url": hub.url}
        hub.commit_files({}, hub.store / "empty")
        return 200, {"url": f"{hub.url}/datasets/{hub.repository}"}
    if path == "/api/validate-yaml":
        return _check_card(json.loads(body)["content"])
    if match := re.fullmatch(r"/lfs/([0-9a-f]{64})", path):
        return _store(hub, match[1], body)
    kinds = {
        f"/datasets/{_REPO}.git/info/lfs/objects/batch": _batch,
        f"/api/datasets/{_REPO}/preupload/main": _preupload,
        f"/api/datasets/{_REPO}/commit/main": _commit,
    }
    for pattern, function in kinds.items():
        if (match := re.fullmatch(pattern, path)) and match["repo"] == hub.repository and hub.commits:
            return function(hub, body)
    if match := re.fullmatch(f"/api/datasets/{_REPO}/tag/(?P<name>[^/]+)", path):
        if method == "DELETE":
            del hub.tags[match["name"]]
        else:
            hub.tags[json.loads(body)["tag"]] = match["name"]
        return 200, {}
    return 404, {}


def refs(hub: Hub) -> dict[str, Any]:
    """Return branches and tags."""
    tags = [{"name": name, "ref": f"refs/tags/{name}", "targetCommit": commit} for name, commit in hub.tags.items()]
    main = {"name": "main", "ref": "refs/heads/main", "targetCommit": hub.main}
    return {"branches": [main], "converts": [], "tags": tags}


def _check_card(text: str) -> Answer:
    """Refuse what the hub refuses of these keys: its own values of licence and size, and names of tasks."""
    header = yaml.safe_load(text.split("---")[1])
    wrong = [key for key, kind in (("tags", list), ("configs", list), ("license", str)) if not isinstance(header[key], kind)]
    if not re.fullmatch("n<1K|1K<n<10K|10K<n<100K|100K<n<1M", header["size_categories"][0]):
        wrong.append("size_categories")
    return (400 if wrong else 200), {"errors": [{"message": f'"{key}" is wrong'} for key in wrong], "warnings": []}


def _preupload(hub: Hub, body: bytes) -> Answer:
    files = json.loads(body)["files"]
    modes = [{"path": f["path"], "uploadMode": "lfs" if f["path"].endswith(_LFS) else "regular"} for f in files]
    return 200, {"files": [mode | {"shouldIgnore": False} for mode in modes]}


def _batch(hub: Hub, body: bytes) -> Answer:
    objects = json.loads(body)["objects"]
    for one in objects:
        if not (hub.store / one["oid"]).exists():  # those that are there need not be sent
            one["actions"] = {"upload": {"href": f"{hub.url}/lfs/{one['oid']}", "header": {}}}
    return 200, {"transfer": "basic", "objects": objects}


def _store(hub: Hub, oid: str, body: bytes) -> Answer:
    if hashlib.sha256(body).hexdigest() != oid:
        return 400, {"error": "other bytes than announced"}
    (hub.store / oid).write_bytes(body)
    return 200, {}


def _commit(hub: Hub, body: bytes) -> Answer:
    lines = [json.loads(line) for line in body.decode().splitlines()]
    header = lines[0]["value"]
    if hub.moves or header.get("parentCommit", hub.main) != hub.main:
        return 412, {"error": "A commit has happened since. Please refresh and try again."}
    changes = lines[1:]
    if not 0 < len(changes) < 100:
        return 400, {"error": f"a commit of {len(changes)} files"}
    parent = hub.commits[hub.main]
    files = {p.relative_to(parent).as_posix(): p for p in parent.rglob("*") if p.is_file()}
    for change in changes:
        value = change["value"]
        if change["key"] == "deletedFile":
            del files[value["path"]]
        elif change["key"] == "lfsFile":
            files[value["path"]] = hub.store / value["oid"]
        else:
            content = base64.b64decode(value["content"])
            files[value["path"]] = hub.store / hashlib.sha256(content).hexdigest()
            files[value["path"]].write_bytes(content)
    hub.summaries.append((header["summary"], [(change["key"], change["value"]["path"]) for change in changes]))
    commit = hub.commit_files(files, hub.store / f"commit-{len(hub.commits)}")
    return 200, {"commitUrl": f"{hub.url}/datasets/{hub.repository}/commit/{commit}", "commitOid": commit}


def link_files(files: dict[str, Path], folder: Path) -> None:
    """Make a folder of a commit's files."""
    folder.mkdir(parents=True)
    for path, source in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        os.link(source, folder / path)
