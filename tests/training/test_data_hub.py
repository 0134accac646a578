"""Datasets of the Hub, by name: read through the library from a server of the tests' own, each in a fresh process.

The library reads the Hub's address once, at import, so what is tested runs in a process that was started with it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from core.training.hub_datasets import MAX_BYTES

SHA = "89abcdef0123456789abcdef0123456789abcdef"
API = re.compile(r"^/api/datasets/(?P<name>[^/]+/[^/]+)(?:/(?P<what>.+))?$")
FILE = re.compile(r"^/datasets/(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)$")
TRAIN = "text,label\n" + "".join(f"good {i},yes\nbad {i},no\n" for i in range(5))
TEST = "text,label\nfine,yes\npoor,no\n"
CARD = """---
configs:
- config_name: one
  data_files: [{split: train, path: train.csv}]
- config_name: two
  data_files: [{split: train, path: test.csv}]
---
"""


@dataclass
class HubOfSets(ThreadingHTTPServer):
    """``sets``: files by dataset; ``private``: who may read one; ``sizes``: what is claimed of a file's size."""

    sets: dict[str, dict[str, str]]
    private: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    daemon_threads = True

    def __post_init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    server: HubOfSets

    def log_message(self, *_: object) -> None:
        """Tests read no access log."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def _answer(self, body: bytes = b"") -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append(f"{self.command} {path}")
        match = API.match(path) or FILE.match(path)
        name = match["name"] if match else ""
        files = self.server.sets.get(name)
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if match is None or files is None or self.server.private.get(name, token) != token:
            self._send(401, b"", {"X-Error-Code": "RepoNotFound"})
        elif match.re is FILE:
            data = files.get(match["path"], "").encode()
            if data:
                self._send(200, data, {"ETag": f'"{len(data)}"', "X-Repo-Commit": SHA})
            else:
                self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
        else:
            self._api(match["what"] or "", name, files, body)

    def _api(self, what: str, name: str, files: dict[str, str], body: bytes) -> None:
        if what == "auth-check":
            self._json({})
        elif what.startswith("tree/"):
            self._json([self._entry(path, text) for path, text in files.items()])
        elif what.startswith("paths-info/"):
            wanted = parse_qs(body.decode()).get("paths") or json.loads(body).get("paths", [])
            self._json([self._entry(path, files[path]) for path in wanted if path in files])
        else:
            self._json({"id": name, "sha": SHA, "siblings": [{"rfilename": path} for path in files], "tags": []})

    def _entry(self, path: str, text: str) -> dict[str, Any]:
        return {"type": "file", "path": path, "size": self.server.sizes.get(path, len(text)), "oid": SHA}

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {})

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


@contextmanager
def serving(hub: HubOfSets) -> Iterator[str]:
    thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{hub.server_address[1]}"
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()


CODE = """
import json, sys
from core.errors import LabError
from core.training.columns import Columns
from core.training.datasets import DataSource, open_data
from core.training.parameters import Task
for name, token, options in json.loads(sys.argv[1]):
    try:
        p = open_data(DataSource("hub", name, token=token, **options), Columns(), Task.CLASSIFICATION, 0.2, 7)
        print(json.dumps([p.labels, p.train.to_list(), p.validation.to_list(), p.notes]))
    except LabError as error:
        print(json.dumps([type(error).__name__, str(error)]))
"""


def opened(
    endpoint: str, home: Path, *sources: tuple[str, str | None, dict[str, bool]], offline: str = "0"
) -> list[Any]:
    """What a fresh process makes of each source, in turn; ``offline`` as the app tells the libraries."""
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_OFFLINE": offline}
    done = subprocess.run(
        [sys.executable, "-c", CODE, json.dumps(sources)], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_dataset_is_read_with_its_own_split_and_refused_with_sentences(tmp_path: Path) -> None:
    hub = HubOfSets(
        {
            "owner/whole": {"train.csv": TRAIN, "test.csv": TEST},
            "owner/two": {"README.md": CARD, "train.csv": TRAIN, "test.csv": TEST},
            "owner/secret": {"train.csv": TRAIN},
            "owner/huge": {"big.csv": TRAIN},
            "owner/broken": {"train.jsonl": '{"text": "a", "label": 1}\n{"text": \n'},
            "owner/empty": {"README.md": "# nothing"},
            "owner/script": {"script.py": "raise SystemExit('the code ran')"},
        },
        private={"owner/secret": "hf_right"},
        sizes={"big.csv": MAX_BYTES + 1},
    )
    with serving(hub) as endpoint:
        found = opened(
            endpoint,
            tmp_path,
            ("owner/whole", None, {}),
            ("owner/two:one", None, {}),
            ("owner/two", None, {}),
            ("owner/secret", None, {}),
            ("owner/secret", "hf_right", {}),
            ("owner/secret", None, {}),
            ("owner/huge", None, {}),
            ("owner/broken", None, {}),
            ("owner/empty", None, {}),
            ("owner/script", None, {}),
            ("owner/nowhere", None, {}),
            ("../etc", None, {}),
        )
    whole, one, several, locked, opened_up, locked_again, huge, broken, empty, script, nowhere, no_name = found
    assert whole[0] == ["no", "yes"]
    assert len(whole[1]) == 10
    assert sorted(row["text"] for row in whole[2]) == ["fine", "poor"]
    assert whole[3] == ["Validation rows are the dataset's own split “test”."]
    assert (len(one[1]), len(one[2])) == (8, 2)
    assert several == ["BadInput", "owner/two has several configurations. Name one: owner/two:configuration."]
    assert locked[0] == locked_again[0] == nowhere[0] == "NotFound"
    assert "no dataset named owner/secret" in locked[1]
    assert len(opened_up[1]) == 8
    assert huge[0] == "DoesNotFit"
    assert "GET /datasets/owner/huge/resolve/" not in "".join(hub.asked)
    assert broken == [
        "BadInput",
        "The files of owner/broken are damaged or do not fit together. Choose another dataset.",
    ]
    assert empty[0] == "NotFound"
    assert script == [
        "BadInput",
        "owner/script needs code of its own to be read, which is never run. Choose another dataset.",
    ]
    assert no_name[0] == "BadInput"
    assert "model" not in json.dumps(found)


def test_what_was_fetched_once_is_used_offline_unless_strangers_share_the_cache(tmp_path: Path) -> None:
    hub = HubOfSets({"owner/whole": {"train.csv": TRAIN, "test.csv": TEST}})
    with serving(hub) as endpoint:
        first, public = opened(
            endpoint, tmp_path, ("owner/whole", None, {}), ("owner/whole", None, {"offline": True, "public": True})
        )
    assert public[0] == "Unreachable"
    again, other = opened(
        endpoint, tmp_path, ("owner/whole", None, {"offline": True}), ("owner/x", None, {"offline": True})
    )
    assert again == first
    assert other[0] == "Unreachable"
