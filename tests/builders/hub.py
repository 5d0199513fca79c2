"""A hub on this machine that speaks as much of the HTTP API of huggingface.co as an upload needs:
repositories, pre-upload, LFS, Xet, commits.

Source: what huggingface_hub 2.4 and hf_xet 1.8 send and expect.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

TOKEN = "hf_" + "aB3" * 11
LARGE = 5000  # bytes from which on a file goes by LFS


@dataclass
class Repo:
    """A repository: `files` has the content of small files, of large ones their sha256."""

    private: bool
    files: dict[str, bytes | str] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)


@dataclass
class Hub:
    """What the hub holds and was asked.

    Attributes:
        failures: (method, part of the path) -> answers that fail before one succeeds: a status, or
            0 for a connection that is cut.
    """

    address: str = ""
    repos: dict[str, Repo] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    xorbs: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    failures: dict[tuple[str, str], list[int]] = field(default_factory=dict)

    def content(self, repo: str, name: str) -> bytes:
        """What was sent of a file."""
        held = self.repos[repo].files[name]
        return self.objects[held] if isinstance(held, str) else held

    def failure(self, method: str, path: str) -> int | None:
        for (verb, part), statuses in self.failures.items():
            if verb == method and part in path and statuses:
                return statuses.pop(0)
        return None


@contextmanager
def running_hub() -> Iterator[Hub]:
    """A hub on 127.0.0.1 while it is asked."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Silence."""

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_PUT(self) -> None:
        self._serve("PUT")

    def _serve(self, method: str) -> None:
        body = self._body()
        path = self.path.partition("?")[0]
        self.hub.requests.append(f"{method} {path}")
        failure = self.hub.failure(method, path)
        if failure == 0:
            self.close_connection = True
            self.connection.close()
            return
        if failure:
            self._answer(failure, {"error": "the test wants it so"})
            return
        storage = path.startswith(("/lfs/", "/v1/", "/v2/"))
        if not storage and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer(401, {"error": "Invalid credentials"})
            return
        for pattern, verb, act in _ROUTES:
            found = re.fullmatch(pattern, path)
            if found and verb == method:
                self._answer(*act(self, body, *found.groups()))
                return
        self._answer(404, {"error": f"no {method} {path}"})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts: list[bytes] = []
        while size := int(self.rfile.readline().strip() or b"0", 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, status: int, content: Any) -> None:
        text = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        if status == 404:
            self.send_header("X-Error-Code", "RepoNotFound")
        if isinstance(content, dict) and "casUrl" in content:
            self.send_header("X-Xet-Cas-Url", content["casUrl"])
            self.send_header("X-Xet-Access-Token", content["accessToken"])
            self.send_header("X-Xet-Token-Expiration", str(content["exp"]))
        self.end_headers()
        self.wfile.write(text)

    # --- what it does --------------------------------------------------------------------------

    def _info(self, _: bytes, name: str) -> tuple[int, Any]:
        repo = self.hub.repos.get(name)
        if repo is None:
            return 404, {"error": "Repository not found"}
        sha = f"{len(repo.commits):040x}"
        siblings = [{"rfilename": file} for file in repo.files]
        return 200, {"id": name, "private": repo.private, "sha": sha, "siblings": siblings}

    def _create(self, body: bytes) -> tuple[int, Any]:
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}"
        if name in self.hub.repos:
            return 409, {"error": "exists", "url": f"{self.hub.address}/{name}"}
        self.hub.repos[name] = Repo(asked.get("visibility") != "public")
        return 200, {"url": f"{self.hub.address}/{name}"}

    def _validate(self, body: bytes) -> tuple[int, Any]:
        content = json.loads(body)["content"]
        try:
            known = yaml.safe_load(content.split("---\n")[1])
            assert "base_model" in known
        except Exception as error:
            return 400, {"errors": [{"message": str(error)}], "warnings": []}
        return 200, {"errors": [], "warnings": []}

    def _preupload(self, body: bytes, name: str) -> tuple[int, Any]:
        if name not in self.hub.repos:
            return 404, {"error": "Repository not found"}
        files = [
            {
                "path": each["path"],
                "uploadMode": "lfs" if each["size"] >= LARGE else "regular",
                "shouldIgnore": False,
                "oid": self._remote_oid(name, each["path"]),
            }
            for each in json.loads(body)["files"]
        ]
        return 200, {"files": files}

    def _remote_oid(self, name: str, path: str) -> str | None:
        held = self.hub.repos[name].files.get(path)
        if held is None or isinstance(held, str):
            return held
        return hashlib.sha1(b"blob %d\0" % len(held) + held).hexdigest()

    def _batch(self, body: bytes, _: str) -> tuple[int, Any]:
        objects = []
        for each in json.loads(body)["objects"]:
            action = {"upload": {"href": f"{self.hub.address}/lfs/{each['oid']}", "header": {}}}
            known = each["oid"] in self.hub.objects
            objects.append({**each} if known else {**each, "actions": action})
        return 200, {"transfer": "basic", "objects": objects}

    def _store(self, body: bytes, oid: str) -> tuple[int, Any]:
        if hashlib.sha256(body).hexdigest() != oid:
            return 400, {"error": "another content"}
        self.hub.objects[oid] = body
        return 200, {}

    def _xet_token(self, _: bytes, __: str) -> tuple[int, Any]:
        token = {"casUrl": self.hub.address, "accessToken": "xet", "exp": int(time.time()) + 3600}
        return 200, token

    def _no_chunk(self, _: bytes, __: str) -> tuple[int, Any]:
        return 404, {}

    def _xorb(self, _: bytes, name: str) -> tuple[int, Any]:
        self.hub.xorbs.append(name)
        return 200, {"was_inserted": True}

    def _shard(self, _: bytes) -> tuple[int, Any]:
        return 200, {"result": 1}

    def _commit(self, body: bytes, name: str) -> tuple[int, Any]:
        repo = self.hub.repos[name]
        changed: dict[str, bytes | str] = {}
        for line in body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "file":
                changed[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                if value["oid"] not in self.hub.objects and not self.hub.xorbs:
                    return 400, {"error": f"{value['path']} was never uploaded"}
                changed[value["path"]] = value["oid"]
            elif item["key"] == "header":
                repo.commits.append(value["summary"])
        repo.files |= changed
        number = f"{len(repo.commits):040x}"
        address = f"{self.hub.address}/{name}/commit/{number}"
        return 200, {"commitUrl": address, "commitOid": number, "success": True}


_NAME = r"([^/]+/[^/]+)"
_ROUTES: list[tuple[str, str, Any]] = [
    (rf"/api/models/{_NAME}(?:/revision/[^/]+)?", "GET", _Handler._info),
    (r"/api/repos/create", "POST", _Handler._create),
    (r"/api/validate-yaml", "POST", _Handler._validate),
    (rf"/api/models/{_NAME}/preupload/[^/]+", "POST", _Handler._preupload),
    (rf"/api/models/{_NAME}/commit/[^/]+", "POST", _Handler._commit),
    (rf"/api/models/{_NAME}/xet-write-token/[^/]+", "GET", _Handler._xet_token),
    (rf"/{_NAME}\.git/info/lfs/objects/batch", "POST", _Handler._batch),
    (r"/lfs/([0-9a-f]+)", "PUT", _Handler._store),
    (r"/v1/chunks/(.+)", "GET", _Handler._no_chunk),
    (r"/v1/xorbs/(.+)", "POST", _Handler._xorb),
    (r"/(?:v1/)?shards", "POST", _Handler._shard),
]


def cache_model(model: Path, cache: Path, repo: str) -> Path:
    """A model as the hub's client keeps it: links to blobs, which are returned, and the branch's
    commit."""
    commit = "0123456789" * 4
    home = cache / f"models--{repo.replace('/', '--')}"
    snapshot = home / "snapshots" / commit
    for part in (snapshot, home / "blobs", home / "refs"):
        part.mkdir(parents=True)
    (home / "refs/main").write_text(commit)
    for file in model.iterdir():
        shutil.copy(file, home / "blobs" / file.name)
        (snapshot / file.name).symlink_to(Path("../../blobs") / file.name)
    return home / "blobs"
