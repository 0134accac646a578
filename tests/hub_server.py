"""A Hub of the tests' own: a local HTTP server that speaks as much of the Hub's API as fetching and pushing need.

Each repository is public, private (known to some tokens only) or gated (known to all, readable with some tokens), and
can cut its transfers in the middle. An account (token to name) may make repositories of its name and commit to them;
large files go up by Git LFS, as the Hub takes them from clients without Xet. The server remembers which tokens it was
shown.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

SHA = "0123456789abcdef0123456789abcdef01234567"
_API = re.compile(r"^/api/models/(?P<name>.+?)/(?P<what>auth-check|revision/[^/]+|tree/[^/]+)$")
_PUSH = re.compile(r"^/api/models/(?P<name>.+?)/(?P<what>preupload|commit)/(?P<revision>[^/]+)$")
_LFS_BATCH = re.compile(r"^/(?P<name>.+?)\.git/info/lfs/objects/batch$")
_FILE = re.compile(r"^/(?P<name>.+?)/resolve/(?P<revision>[^/]+)/(?P<path>.+)$")


@dataclass
class Repository:
    """A model on the server. ``tokens`` may read it when it is private or gated; a ``cut``
    file ends half-way the first time and fails from then on."""

    files: dict[str, bytes]
    private: bool = False
    gated: bool = False
    tokens: frozenset[str] = frozenset()
    cut: set[str] = field(default_factory=set)
    failing: set[str] = field(default_factory=set)


class HubServer(ThreadingHTTPServer):
    """Serves ``repositories``; ``requests`` lists (method, path), ``tokens`` what came as Authorization."""

    daemon_threads = True

    def __init__(self, repositories: dict[str, Repository]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories = repositories
        self.requests: list[tuple[str, str]] = []
        self.tokens: set[str | None] = set()
        self.accounts: dict[str, str] = {}
        self.large: dict[str, bytes] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def downloads(self) -> list[str]:
        """Paths of the files that were asked for whole."""
        return [
            path.split("/resolve/")[1].split("/", 1)[1]
            for verb, path in self.requests
            if verb == "GET" and "/resolve/" in path
        ]


class _Handler(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.0"  # a connection for each request, so that a closed server is down at once

    def log_message(self, *_: object) -> None:
        """Tests read no access log."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append((self.command, path))
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        self.server.tokens.add(token)
        api, file = _API.match(path), _FILE.match(path)
        match = api or file
        repository = self.server.repositories.get(match["name"]) if match else None
        allowed = repository is not None and (token in repository.tokens)
        if match is None or repository is None or (repository.private and not allowed):
            self._refuse(404 if token else 401, "RepoNotFound", "Repository not found")
        elif repository.gated and not allowed and (file or match["what"] == "auth-check"):
            self._refuse(403 if token else 401, "GatedRepo", "Access to this model is restricted.")
        elif api:
            self._api(api["what"], repository, api["name"])
        elif file:
            self._file(repository, file["path"], body=body)

    def do_POST(self) -> None:
        path = unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        account = self._account(path)
        push, batch = _PUSH.match(path), _LFS_BATCH.match(path)
        name = (push or batch)["name"] if push or batch else ""
        if path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif account is None:
            self._refuse(401, "", "Invalid credentials")
        elif path == "/api/repos/create":
            self._create(json.loads(body), account)
        elif name.partition("/")[0] != account or name not in self.server.repositories:
            self._refuse(403, "", "Forbidden: you have no write access")
        elif batch:
            self._lfs_batch(json.loads(body))
        elif push and push["what"] == "preupload":
            self._preupload(json.loads(body))
        elif push:
            self._commit(self.server.repositories[name], name, [json.loads(line) for line in body.splitlines()])
        else:
            self._refuse(404, "", "Not found")

    def do_PUT(self) -> None:
        """A large file. It goes to a storage address, which the Hub signs: no token is shown there."""
        self.server.requests.append((self.command, self.path))
        data = self.rfile.read(int(self.headers["Content-Length"]))
        assert hashlib.sha256(data).hexdigest() == self.path.rpartition("/")[2]
        assert self.headers.get("Authorization") is None
        self.server.large[self.path.rpartition("/")[2]] = data
        self._json({})

    def _account(self, path: str) -> str | None:
        self.server.requests.append((self.command, path))
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        self.server.tokens.add(token)
        return self.server.accounts.get(token or "")

    def _create(self, asked: dict[str, Any], account: str) -> None:
        name = f"{asked.get('organization') or account}/{asked['name']}"
        if name.partition("/")[0] != account:
            self._refuse(403, "", "Forbidden: not your namespace")
        elif name in self.server.repositories:
            answer = {"error": "You already created this model repo", "url": f"{self.server.url}/{name}", "name": name}
            self._json(answer, status=409)
        else:
            private = bool(asked.get("private") or asked.get("visibility") == "private")
            self.server.repositories[name] = Repository({}, private=private)
            self._json({"url": f"{self.server.url}/{name}", "name": name})

    def _preupload(self, asked: dict[str, Any]) -> None:
        paths = [file["path"] for file in asked["files"]]
        modes = {path: "lfs" if path.endswith(".safetensors") else "regular" for path in paths}
        files = [{"path": path, "uploadMode": mode, "shouldIgnore": False} for path, mode in modes.items()]
        self._json({"files": files})

    def _lfs_batch(self, asked: dict[str, Any]) -> None:
        objects = [
            {**file, "actions": {"upload": {"href": f"{self.server.url}/storage/{file['oid']}"}}}
            for file in asked["objects"]
        ]
        self._json({"transfer": "basic", "objects": objects}, "application/vnd.git-lfs+json")

    def _commit(self, repository: Repository, name: str, lines: list[dict[str, Any]]) -> None:
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                repository.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                repository.files[value["path"]] = self.server.large[value["oid"]]
        address = f"{self.server.url}/{name}/commit/{SHA}"
        self._json({"success": True, "commitUrl": address, "commitOid": SHA, "hookOutput": ""})

    def _api(self, what: str, repository: Repository, name: str) -> None:
        if what == "auth-check":
            self._json({})
        elif what.startswith("tree/"):
            self._json(
                [
                    {"type": "file", "path": path, "size": len(data), "oid": _digest(data)}
                    for path, data in repository.files.items()
                ]
            )
        else:
            siblings = [{"rfilename": path} for path in repository.files]
            self._json({"id": name, "sha": SHA, "siblings": siblings, "private": repository.private, "tags": []})

    def _file(self, repository: Repository, path: str, *, body: bool) -> None:
        data = repository.files.get(path)
        if data is None:
            self._refuse(404, "EntryNotFound", "Entry not found")
            return
        if body and path in repository.failing:
            self._refuse(503, "", "Service unavailable")
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'"{_digest(data)}"')
        self.send_header("X-Repo-Commit", SHA)
        self.end_headers()
        if body and path in repository.cut:
            self.wfile.write(data[: len(data) // 2])
            repository.cut.discard(path)
            repository.failing.add(path)
        elif body:
            self.wfile.write(data)

    def _json(self, value: object, kind: str = "application/json", status: int = 200) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _refuse(self, status: int, code: str, message: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", message)
        self.send_header("Content-Length", "0")
        self.end_headers()


def _digest(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


@contextmanager
def serving(repositories: dict[str, Repository]) -> Iterator[HubServer]:
    """A running server, closed when the body ends."""
    server = HubServer(repositories)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
