"""A small Hugging Face hub on the loopback interface: real HTTP, the endpoints of downloads and uploads, and a log.

``GET /api/datasets/<repo>/revision/<rev>``, ``GET /api/datasets/<repo>/tree/<commit>`` and ``HEAD`` or ``GET``
``/datasets/<repo>/resolve/<rev>/<path>`` with ``ETag`` (SHA-256), ``X-Repo-Commit`` and byte ranges. What changes a
repository is answered by ``hub_uploads``.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from tests.nws_data.hub import hub_uploads

REPOSITORY = "owner/nws"
_RESOLVE = re.compile(r"/datasets/(?P<repo>[\w.-]+/[\w.-]+)/resolve/(?P<revision>[^/]+)/(?P<path>[^?]+)(\?.*)?")
_REVISION = re.compile(r"/api/datasets/(?P<repo>[\w.-]+/[\w.-]+)(/revision/(?P<revision>[^/?]+))?(\?.*)?")
_TREE = re.compile(r"/api/datasets/(?P<repo>[\w.-]+/[\w.-]+)/tree/(?P<revision>[^/?]+)(?P<folder>/[^?]*)?(\?.*)?")
_PIECE = 256 * 1024


class Hub:
    """Commits of one repository, each a folder, and every request that came."""

    def __init__(self) -> None:
        self.commits: dict[str, Path] = {}
        self.main = ""
        self.url = ""
        self.repository = REPOSITORY
        self.tags: dict[str, str] = {}
        self.store = Path()  # where uploads go
        self.summaries: list[tuple[str, list[tuple[str, str]]]] = []  # of each commit sent: message, kinds and paths
        self.log: list[tuple[str, str, int]] = []  # method, path in the repository (or in the API), bytes sent
        self.cut: dict[str, int] = {}  # path: the connection breaks after so many bytes, once
        self.hold: dict[str, threading.Event] = {}  # path: set when its first piece is out; then the server waits
        self.released = threading.Event()
        self.altered: set[str] = set()  # paths of which one byte arrives flipped
        self.endless: set[str] = set()  # paths that are sent again and again, in chunks without a total
        self.retry_after_s = 0  # what a refusal asks to wait
        self.status = 200  # what everything is answered with, if it is not 200
        self.n_refusals = 10**9  # how often
        self.has_ranges = True
        self.moves = False  # whether somebody else commits before each commit

    def publish(self, folder: Path) -> str:
        """Make a folder the commit that ``main`` is."""
        self.main = hashlib.sha1(str(folder).encode()).hexdigest()
        self.commits[self.main] = folder
        return self.main

    def commit_files(self, files: dict[str, Path], folder: Path) -> str:
        """Make a commit of files in a new folder."""
        hub_uploads.link_files(files, folder)
        return self.publish(folder)

    def commit(self, revision: str) -> str | None:
        """Return the commit of a branch, a tag or a commit."""
        revision = self.main if revision == "main" else self.tags.get(revision, revision)
        return revision if revision in self.commits else None

    def fetched(self) -> list[str]:
        """Return the paths of all files whose bytes were asked for since the log was cleared."""
        return [path for method, path, _ in self.log if method == "GET" and not path.startswith("/")]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        if self.hub.status != 200 and self.hub.n_refusals > 0:
            self.hub.n_refusals -= 1
            self._refuse(self.hub.status, "")
        elif self.path == f"/api/datasets/{REPOSITORY}/refs":
            self._json(200, hub_uploads.refs(self.hub))
        elif match := _RESOLVE.fullmatch(self.path):
            self._file(match, body)
        elif match := _TREE.fullmatch(self.path) or _REVISION.fullmatch(self.path):
            self._api(match, tree="/tree/" in self.path)
        else:
            self._refuse(404, "RepoNotFound")

    def do_POST(self) -> None:
        n_bytes = int(self.headers.get("Content-Length", 0))
        if self.path in self.hub.cut:
            self.hub.log.append((self.command, self.path, len(self.rfile.read(self.hub.cut.pop(self.path)))))
            self.close_connection = True
            return None
        body = self.rfile.read(n_bytes)
        if self.hub.status != 200:
            return self._refuse(self.hub.status, "")
        if self.path in self.hub.hold:
            self.hub.hold.pop(self.path).set()
            self.hub.released.wait(30)
        self._json(*hub_uploads.answer(self.hub, self.command, self.path, body), n_bytes=len(body))
        return None

    do_PUT = do_DELETE = do_POST

    def _json(self, status: int, about: object, n_bytes: int | None = None) -> None:
        content = json.dumps(about).encode()
        self.hub.log.append((self.command, self.path, len(content) if n_bytes is None else n_bytes))
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        with suppress(OSError):  # the client was killed
            self.end_headers()
            self.wfile.write(content)

    def _refuse(self, status: int, code: str) -> None:
        self.hub.log.append((self.command, self.path, 0))
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        if self.hub.retry_after_s:
            self.send_header("Retry-After", str(self.hub.retry_after_s))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _commit(self, match: re.Match[str]) -> str | None:
        """Return the commit that is asked for, or refuse and return None."""
        ours = match["repo"] == REPOSITORY
        if found := self.hub.commit(match["revision"] or "main") if ours else None:
            return found
        return self._refuse(404, "RevisionNotFound" if ours and self.hub.commits else "RepoNotFound")

    def _api(self, match: re.Match[str], tree: bool) -> None:
        if not (commit := self._commit(match)):
            return None
        root = self.hub.commits[commit]
        paths = [p for p in sorted(root.rglob("*")) if p.is_file()]
        if tree:
            if not (root / unquote(match["folder"] or "").strip("/")).is_dir():
                return self._refuse(404, "EntryNotFound")
            about = _tree(root, unquote(match["folder"] or "").strip("/"), "recursive=true" in self.path.lower())
        else:
            files = [{"rfilename": p.relative_to(root).as_posix()} for p in paths]
            about = {"id": REPOSITORY, "sha": commit, "siblings": files, "tags": [], "private": False}
        self._json(200, about)
        return None

    def _file(self, match: re.Match[str], body: bool) -> None:
        if not (commit := self._commit(match)):
            return None
        path = unquote(match["path"])
        file = self.hub.commits[commit] / path
        if not file.is_file():
            return self._refuse(404, "EntryNotFound")
        content, total = file.read_bytes(), file.stat().st_size
        asked = self.hub.has_ranges and re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        start = int(asked[1]) if asked else 0
        stop = min(int(asked[2]) + 1, total) if asked and asked[2] else total
        self.send_response(206 if asked else 200)
        self.send_header("ETag", f'"{_sha256(file, file.stat().st_mtime_ns)}"')
        self.send_header("X-Repo-Commit", commit)
        self.send_header("Accept-Ranges", "bytes")
        if endless := body and path in self.hub.endless:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(stop - start))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{total}")
        self.end_headers()
        if path in self.hub.altered:
            content = content[:-1] + bytes([content[-1] ^ 1])
        if endless:
            return self._send_without_end(path, content)
        content = content[start:stop]
        n_bytes = min(self.hub.cut.pop(path, len(content)), len(content)) if body else 0
        self.hub.log.append((self.command, path, n_bytes))  # before it is sent: the client may look at once
        self._send(path, content[:n_bytes])
        self.close_connection = body and n_bytes < len(content)
        return None

    def _send_without_end(self, path: str, content: bytes) -> None:
        n_bytes = 0
        with suppress(OSError):
            while n_bytes < 100 * len(content):
                self.wfile.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")
                n_bytes += len(content)
        self.hub.log.append((self.command, path, n_bytes))
        self.close_connection = True

    def _send(self, path: str, content: bytes) -> None:
        for i in range(0, len(content), _PIECE):
            try:
                self.wfile.write(content[i : i + _PIECE])
            except OSError:
                break
            if path in self.hub.hold:
                self.hub.hold.pop(path).set()
                self.hub.released.wait(30)

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def serve() -> Iterator[Hub]:
    """Run a hub; its ``url`` is for HF_ENDPOINT."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        hub.released.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _tree(root: Path, folder: str, recursive: bool) -> list[dict[str, object]]:
    """Return what lies in a folder, as the hub lists it."""
    entries: list[dict[str, object]] = []
    for path in sorted((root / folder).rglob("*") if recursive else (root / folder).iterdir()):
        name = path.relative_to(root).as_posix()
        if path.is_dir():
            entries.append({"type": "directory", "path": name, "oid": "0" * 40, "size": 0})
        else:
            entries.append({"type": "file", "path": name, "size": path.stat().st_size, **_oids(path)})
    return entries


@cache
def _sha256(path: Path, mtime_ns: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _oids(path: Path) -> dict[str, object]:
    """Return a file's git blob id, and of what is stored as LFS its SHA-256."""
    if path.suffix not in (".safetensors", ".parquet"):
        content = path.read_bytes()
        return {"oid": hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()}
    sha256 = _sha256(path, path.stat().st_mtime_ns)
    return {"oid": sha256[:40], "lfs": {"oid": sha256, "size": path.stat().st_size, "pointerSize": 130}}
