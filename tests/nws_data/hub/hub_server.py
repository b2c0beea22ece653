"""A small Hugging Face hub on the loopback interface: real HTTP, the endpoints that downloads use, and a log.

``GET /api/datasets/<repo>/revision/<rev>``, ``GET /api/datasets/<repo>/tree/<commit>`` and ``HEAD`` or ``GET``
``/datasets/<repo>/resolve/<rev>/<path>`` with ``ETag`` (SHA-256), ``X-Repo-Commit`` and byte ranges.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

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
        self.log: list[tuple[str, str, int]] = []  # method, path in the repository (or in the API), bytes sent
        self.cut: dict[str, int] = {}  # path: the connection breaks after so many bytes, once
        self.hold: dict[str, threading.Event] = {}  # path: set when its first piece is out; then the server waits
        self.released = threading.Event()
        self.altered: set[str] = set()  # paths of which one byte arrives flipped
        self.endless: set[str] = set()  # paths that are sent again and again, in chunks without a total
        self.retry_after_s = 0  # what a refusal asks to wait
        self.status = 200  # what everything is answered with, if it is not 200

    def publish(self, folder: Path) -> str:
        """Make a folder the commit that ``main`` is."""
        self.main = hashlib.sha1(str(folder).encode()).hexdigest()
        self.commits[self.main] = folder
        return self.main

    def commit(self, revision: str) -> str | None:
        """Return the commit of a revision."""
        return self.main if revision == "main" else revision if revision in self.commits else None

    def fetched(self) -> list[str]:
        """Return the paths of all files whose bytes were asked for since the log was cleared."""
        return [path for method, path, _ in self.log if method == "GET" and not path.startswith("/")]


@contextmanager
def serve() -> Iterator[Hub]:
    """Run a hub; its ``url`` is for HF_ENDPOINT."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, body: bool) -> None:
            if hub.status != 200:
                self._refuse(hub.status, "")
            elif match := _RESOLVE.fullmatch(self.path):
                self._file(match, body)
            elif match := _TREE.fullmatch(self.path) or _REVISION.fullmatch(self.path):
                self._api(match, tree="/tree/" in self.path)
            else:
                self._refuse(404, "RepoNotFound")

        def _refuse(self, status: int, code: str) -> None:
            hub.log.append((self.command, self.path, 0))
            self.send_response(status)
            if code:
                self.send_header("X-Error-Code", code)
            if hub.retry_after_s:
                self.send_header("Retry-After", str(hub.retry_after_s))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _api(self, match: re.Match[str], tree: bool) -> None:
            commit = hub.commit(match["revision"] or "main")
            if match["repo"] != REPOSITORY or commit is None:
                return self._refuse(404, "RepoNotFound" if match["repo"] != REPOSITORY else "RevisionNotFound")
            root = hub.commits[commit]
            paths = [p for p in sorted(root.rglob("*")) if p.is_file()]
            if tree:
                about = [
                    {"type": "file", "path": p.relative_to(root).as_posix(), "size": p.stat().st_size, **_lfs(p)}
                    for p in paths
                ]
            else:
                files = [{"rfilename": p.relative_to(root).as_posix()} for p in paths]
                about = {"id": REPOSITORY, "sha": commit, "siblings": files, "tags": [], "private": False}
            content = json.dumps(about).encode()
            hub.log.append((self.command, self.path, len(content)))
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            return None

        def _file(self, match: re.Match[str], body: bool) -> None:
            commit = hub.commit(match["revision"])
            if match["repo"] != REPOSITORY or commit is None:
                return self._refuse(404, "RepoNotFound" if match["repo"] != REPOSITORY else "RevisionNotFound")
            file, path = hub.commits[commit] / match["path"], match["path"]
            if not file.is_file():
                return self._refuse(404, "EntryNotFound")
            content, total = file.read_bytes(), file.stat().st_size
            start = int(m[1]) if (m := re.match(r"bytes=(\d+)-", self.headers.get("Range") or "")) else 0
            self.send_response(206 if start else 200)
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", commit)
            self.send_header("Accept-Ranges", "bytes")
            if endless := body and path in hub.endless:
                self.send_header("Transfer-Encoding", "chunked")
            else:
                self.send_header("Content-Length", str(total - start))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
            self.end_headers()
            if path in hub.altered:
                content = content[:-1] + bytes([content[-1] ^ 1])
            if endless:
                return self._send_without_end(path, content)
            hub.log.append((self.command, path, self._send(path, content[start:]) if body else 0))
            return None

        def _send_without_end(self, path: str, content: bytes) -> None:
            n_bytes = 0
            with suppress(OSError):
                while n_bytes < 100 * len(content):
                    self.wfile.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")
                    n_bytes += len(content)
            hub.log.append((self.command, path, n_bytes))
            self.close_connection = True

        def _send(self, path: str, content: bytes) -> int:
            stop = hub.cut.pop(path, len(content))
            for i in range(0, stop, _PIECE):
                try:
                    self.wfile.write(content[i : min(i + _PIECE, stop)])
                except OSError:
                    break
                if path in hub.hold:
                    hub.hold.pop(path).set()
                    hub.released.wait(30)
            self.close_connection = stop < len(content)
            return stop

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
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


def _lfs(path: Path) -> dict[str, object]:
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"oid": sha256[:40], "lfs": {"oid": sha256, "size": path.stat().st_size, "pointerSize": 130}}
