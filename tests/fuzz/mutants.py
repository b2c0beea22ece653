"""Hostile variants of a dataset's folder, each a function of a seed; re-signed ones too, so that no checksum hides them."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nws_data.format.manifest import MANIFEST, data_digest
from nws_data.format.metadata import parquet_bytes
from nws_data.format.root import CHECKSUMS, README

TEXTS = (
    "",
    "x",
    ".bashrc",
    "../outside/secret",
    "/etc/passwd",
    "a" * 300,
    "\x1b[8m\x07",
    "\u202egnp",
    "b" * 2_000_000,
    "\0",
    "|`$(x)",
)
NUMBERS = (-1, 0, 1, 19, 20, 255, 2**31, 2**53, 2**63, 10**19, 10**310, 0.5, 1e308, float("inf"), float("nan"))
YAML = (
    "a: !!timestamp q",
    "a: !!int ''",
    "a: !!python/object/apply:os.system [touch ../outside/run]",
    "a: &a [*a]",
    "a: " + "[" * 5_000,
    "- x: {",
    "\x1b[8m",
    "---",
    "a: !!binary '='",
    "b: " + "x" * 200_000,
)
OTHERS: tuple[Any, ...] = (None, True, [], {}, [[]], {"a": 1}, [0] * 3, ["x", "y"])
_MOST_READ = 100_000_000  # bytes; a sparse file of 3 GB costs the examining process nothing, and this one 10 s


def copy(base: Path, folder: Path) -> Path:
    """Copy a dataset; shards are links to the same file: change them by :func:`write`, which leaves the other as it is."""
    return shutil.copytree(
        base, folder, copy_function=lambda a, b: os.link(a, b) if a.endswith(".safetensors") else shutil.copy(a, b)
    )


def read(path: Path) -> bytes:
    """Read what an earlier step may have replaced: a FIFO would be waited for, /dev/zero has no end."""
    if not path.is_file() or path.stat().st_size > _MOST_READ:
        raise OSError(f"{path} is no file, or one of those that are sparse and huge")
    return path.read_bytes()


def write(path: Path, content: bytes) -> None:
    """Write a file anew, whatever else leads to the old one."""
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def mutate(root: Path, seed: int) -> str:
    """Alter a copy of a dataset; return what was done."""
    rng = random.Random(seed)
    signs = rng.random() < 0.7
    kinds = rng.choices(MUTATIONS, k=rng.choice((1, 1, 1, 2, 3)))
    done = []
    for kind in kinds:
        try:
            done.append(f"{kind.__name__}: {kind(root, rng)}")
        except (
            OSError,
            ArithmeticError,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
            RuntimeError,
            pa.ArrowException,
        ) as error:
            done.append(f"{kind.__name__} not possible any more ({type(error).__name__})")
    if signs:
        done.append("signed" if sign(root) else "cannot be signed")
    return "; ".join(done)


def files(root: Path, suffix: str = "") -> list[Path]:
    return sorted(path for path in root.rglob(f"*{suffix}") if path.is_file() and not path.is_symlink())


def hostile(rng: random.Random) -> Any:
    if rng.random() < 0.03:
        nested: Any = []
        for _ in range(rng.choice((60, 900))):
            nested = [nested]
        return nested
    return rng.choice(rng.choice((TEXTS, NUMBERS, OTHERS)))


def change_bytes(root: Path, rng: random.Random) -> str:
    path = rng.choice(files(root))
    content = bytearray(read(path))
    # A shard's first bytes tell where the rest is; the end of a Parquet file does.
    span = min(len(content), rng.choice((64, 4096, len(content))))
    at = rng.randrange(span) if rng.random() < 0.5 else len(content) - 1 - rng.randrange(span)
    what = rng.choice(("flip", "cut", "insert", "zeros", "double"))
    if what == "flip":
        content[at] ^= 1 << rng.randrange(8)
    elif what == "cut":
        del content[at:]
    elif what == "insert":
        content[at:at] = rng.randbytes(rng.choice((1, 8, 1000)))
    elif what == "zeros":
        content[at : at + 16] = bytes(len(content[at : at + 16]))
    else:
        content[at:at] = content[at : at + 1000]
    write(path, bytes(content))
    return f"{what} at {at} of {path.relative_to(root)}"


def change_json(content: Any, rng: random.Random) -> str:
    """Change one value, key or length somewhere in nested lists and dicts."""
    way: list[Any] = []
    node = content
    while isinstance(node, dict | list) and len(node) and (not way or rng.random() < 0.8):
        key = rng.choice(list(node) if isinstance(node, dict) else range(len(node)))
        parent, node = node, node[key]
        way.append(key)
    what = rng.choice(("replace", "replace", "remove", "double"))
    if what == "remove":
        del parent[key]
    elif what == "double" and isinstance(parent, list):
        parent.insert(key, node)
    elif what == "double":
        parent[str(hostile(rng))[:300]] = node
    else:
        parent[key] = node + rng.choice((-1, 1)) if type(node) is int and rng.random() < 0.3 else hostile(rng)
    return f"{what} {'/'.join(map(str, way))[:80]}"


def change_manifest(root: Path, rng: random.Random) -> str:
    content = json.loads(read(root / MANIFEST))
    done = change_json(content, rng)
    text = json.dumps(content)
    if rng.random() < 0.05:
        text = text.replace("[", "[" * 100_000, 1)
    write(root / MANIFEST, text.encode(errors="surrogatepass"))
    return done


def change_header(root: Path, rng: random.Random) -> str:
    path = rng.choice(files(root, ".safetensors"))
    raw = read(path)
    length = int.from_bytes(raw[:8], "little")
    content = json.loads(raw[8 : 8 + length])
    if rng.random() < 0.1:
        content["t000000"] = {"dtype": "F32", "shape": [10**400] * 200, "data_offsets": [0, 8]}
        done = "huge shape"
    else:
        done = change_json(content, rng)
    text = json.dumps(content, separators=(",", ":")).encode(errors="surrogatepass")
    text += b" " * (-len(text) % 8)
    write(path, len(text).to_bytes(8, "little") + text + raw[8 + length :])
    return f"{done} in {path.name}"


def change_table(root: Path, rng: random.Random) -> str:
    path = rng.choice(files(root, ".parquet"))
    table = pq.read_table(path)
    name, what = (
        rng.choice(table.column_names),
        rng.choice(("cell", "cell", "cell", "row", "column", "type", "many", "long")),
    )
    if what == "cell":
        rows = table.to_pylist()
        change_json(rows[rng.randrange(len(rows))], rng)
        keep = table.schema if rng.random() < 0.7 else None
        table = pa.Table.from_pylist(rows, schema=keep)
    elif what == "row":
        order = list(range(len(table)))
        order[rng.randrange(len(order))] = rng.randrange(len(order))
        table = table.take(order if rng.random() < 0.5 else order[:-1])
    elif what == "column":
        table = table.drop_columns([name]) if rng.random() < 0.5 else table.append_column(name, table[name])
    elif what == "type":
        table = table.set_column(table.column_names.index(name), name, pa.array([str(v) for v in table[name].to_pylist()]))
    elif what == "many":
        table = table.slice(0, 1).take([0] * rng.choice((1000, 20_000)))
    else:
        table = table.set_column(table.column_names.index("training"), "training", pa.array(["t" * 500_000] * len(table)))
    write(path, parquet_bytes(table))
    return f"{what} of {name} in {path.parent.name}"


def change_readme(root: Path, rng: random.Random) -> str:
    lines = read(root / README).decode().split("\n")
    at = rng.randrange(1, 200)
    new = rng.choice(YAML)
    lines.insert(at, new) if rng.random() < 0.7 else lines.__setitem__(at, new)
    write(root / README, "\n".join(lines).encode())
    return f"line {at}: {new[:30]!r}"


def change_checksums(root: Path, rng: random.Random) -> str:
    lines = read(root / CHECKSUMS).decode().splitlines()
    new = f"{'0' * 64}  {rng.choice(TEXTS)}"
    lines[rng.randrange(len(lines))] = rng.choice((new, "", "x" * 2_000_000))
    write(root / CHECKSUMS, "\n".join(lines).encode())
    return new[60:100]


def change_files(root: Path, rng: random.Random) -> str:
    """Something else in the place of a file, or beside it."""
    path = rng.choice(files(root))
    if rng.random() < 0.4:
        hidden = (
            ".nws-pulled",
            ".nws-unfinished",
            ".nws-lock",
            "croissant.json",
            ".features/vector/x.block",
        )
        beside = (path.parent / "other.safetensors", path.parent / "\x1b[8m.parquet", *(root / name for name in hidden))
        path = rng.choice(beside)
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    what = rng.choice(("none", "folder", "fifo", "zero", "outside", "loop", "pulled", "sparse"))
    if what == "folder":
        path.mkdir()
    elif what == "fifo":
        os.mkfifo(path)
    elif what in ("zero", "outside", "loop"):
        path.symlink_to({"zero": "/dev/zero", "outside": root.parent / "outside" / "secret", "loop": path}[what])
    elif what == "pulled":
        values = {"repository": "o/n", "commit": "0" * 40, "shards": ["weights/random/train-00000.safetensors"]}
        change_json(values, rng)
        path.write_bytes(json.dumps(values).encode(errors="surrogatepass"))
    elif what == "sparse":
        with path.open("wb") as stream:
            stream.truncate(3_000_000_000)
    return f"{what} at {path.relative_to(root)!r}"


MUTATIONS: tuple[Callable[[Path, random.Random], str], ...] = (
    change_bytes,
    change_manifest,
    change_manifest,
    change_header,
    change_table,
    change_table,
    change_readme,
    change_checksums,
    change_files,
)


def sign(root: Path) -> bool:
    """Make names, checksums and digests fit to what the files hold now, as far as the manifest can still be read."""
    try:
        text = read(root / MANIFEST).decode()
        for path in files(root / "metadata", ".parquet"):
            old, sha256 = path.relative_to(root).as_posix(), _sha256(path)
            named = re.search(r"^(.*-)[0-9a-f]{12}\.parquet$", old)
            if named and old in text:
                new = f"{named[1]}{sha256[:12]}.parquet"
                path.rename(root / new)
                text = text.replace(old, new)
                write(root / README, read(root / README).decode().replace(old, new).encode())
        content = json.loads(text)
        content["sha256"] = {p: _sha256(root / p) if (root / p).is_file() else v for p, v in content["sha256"].items()}
        shards = [s for p in content["populations"].values() for split in p["splits"].values() for s in split["shards"]]
        for shard in shards:
            if (root / shard["path"]).is_file():
                shard |= {"sha256": _sha256(root / shard["path"]), "nbytes": (root / shard["path"]).stat().st_size}
        sums = content["sha256"] | {shard["path"]: shard["sha256"] for shard in shards}
        content["data_digest"] = data_digest(sums, content["provenance"])
        write(root / MANIFEST, json.dumps(content).encode())
        sums |= {name: _sha256(root / name) for name in (README, MANIFEST)}
        write(root / CHECKSUMS, "".join(f"{sums[path]}  {path}\n" for path in sorted(sums)).encode())
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return False
    return True


def _sha256(path: Path) -> str:
    if path.stat().st_size > _MOST_READ:
        return "0" * 64
    return hashlib.sha256(read(path)).hexdigest()
