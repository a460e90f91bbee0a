"""A Hugging Face Hub on this machine: enough of its HTTP for the real client, and failures to order.

Standard library alone. `LocalHub().fail("commit", status=500)` makes the next commit fail. Jobs, which are child
processes here, are those of `local_jobs.py`.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

REGULAR_BYTES = 10 << 20  # larger files, and those that end like weights, go to the large file storage
LARGE = (".safetensors", ".bin", ".pt", ".png")
REPO = r"(?P<repo>[^/]+/[^/]+)"


@dataclass
class Reply:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Fault:
    """What happens to the next `times` requests of one kind."""

    times: int
    status: int = 0
    message: str = ""
    cut: bool = False  # the connection, half-way through the request's body
    lose_reply: bool = False  # the request is carried out, but nobody learns of it
    delay_seconds: float = 0.0


@dataclass
class Repository:
    private: bool
    commits: list[tuple[str, dict[str, bytes]]] = field(default_factory=list)  # sha, every file

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[-1][1]

    def commit(self, files: dict[str, bytes], removed: Sequence[str] = ()) -> str:
        everything = {**(self.files if self.commits else {}), **files}
        everything = {path: content for path, content in everything.items() if path not in removed}
        sha = hashlib.sha1(f"{len(self.commits)} {sorted(everything)}".encode()).hexdigest()
        self.commits.append((sha, everything))
        return sha

    def at(self, revision: str | None) -> tuple[str, dict[str, bytes]] | None:
        if revision in (None, "main"):
            return self.commits[-1]
        return next((commit for commit in self.commits if commit[0] == revision), None)


class Refused(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, message: str, code: str = "", **fields: Any) -> None:
        self.reply = _json({"error": message, **fields}, status)
        self.reply.headers |= {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})


class LocalHub:
    """The server and all that it keeps; a test looks into it, and tells it how to fail."""

    def __init__(self) -> None:
        self.tokens = {"hf_write_of_alice": ("alice", "write"), "hf_read_of_alice": ("alice", "read")}
        self.repos: dict[str, Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.requests: list[str] = []  # kinds, in their order
        self.faults: dict[str, Fault] = {}
        self.jobs: Any = None  # a `LocalJobs`, where there are any
        self.lock = threading.RLock()
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def fail(self, kind: str, times: int = 1, **how: Any) -> None:
        self.faults[kind] = Fault(times, **how)

    def fault(self, kind: str) -> Fault | None:
        with self.lock:
            self.requests.append(kind)
            fault = self.faults.get(kind)
            if fault and fault.times > 0:
                fault.times -= 1
                return fault
        return None

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    """One connection. Every kind of request is a method that returns a Reply or raises Refused."""

    hub: ClassVar[LocalHub]
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        matches = (
            (kind, re.fullmatch(pattern, path)) for kind, (method, pattern) in ROUTES.items() if self.is_a(method)
        )
        kind, match = next(((kind, match) for kind, match in matches if match), ("unknown", None))
        fault = self.hub.fault(kind) or Fault(0)
        time.sleep(fault.delay_seconds)
        if fault.cut:
            self.rfile.read(int(self.headers.get("content-length") or 0) // 2)
            return self.cut()
        self.content = self.read_content()
        if kind == "job_log" and not fault.status and match:
            return self.stream(self.hub.jobs.log(match["job"]))
        try:
            if fault.status:
                raise Refused(fault.status, fault.message or "ordered by the test")
            reply = self.reply_to(kind, match.groupdict() if match else {})
        except Refused as refused:
            reply = refused.reply
        if fault.lose_reply:
            return self.cut()
        self.send_response(reply.status)
        for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer

    def is_a(self, method: str) -> bool:
        return self.command == method or (method == "GET" and self.command == "HEAD")

    def stream(self, events: Iterator[dict[str, str]]) -> None:
        """Server-sent events, each sent when it comes, to the end of the connection."""
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        with contextlib.suppress(OSError):  # nobody listens any more
            for event in events:
                self.wfile.write(b"data: " + json.dumps(event).encode() + b"\n\n")
                self.wfile.flush()

    def log_message(self, *arguments: Any) -> None:
        """Not to standard error."""

    def cut(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, no end
        with contextlib.suppress(OSError):
            self.connection.close()
        self.close_connection = True

    def read_content(self) -> bytes:
        if "chunked" not in self.headers.get("transfer-encoding", ""):
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def reply_to(self, kind: str, names: dict[str, str | None]) -> Reply:
        if kind == "unknown":
            raise Refused(404, f"nothing here: {self.command} {self.path}")
        token = self.headers.get("authorization", "").removeprefix("Bearer ")
        if token and token not in self.hub.tokens:
            raise Refused(401, "Invalid credentials in Authorization header")
        self.account, self.role = self.hub.tokens.get(token, ("", ""))
        with self.hub.lock:
            answer: Callable[..., Reply] = getattr(self, kind)
            return answer(**names)

    def repository(self, repo: str, *, write: bool = False) -> Repository:
        found, owner = self.hub.repos.get(repo), repo.partition("/")[0]
        if found is None or (found.private and owner != self.account):
            raise Refused(404 if self.account else 401, "Repository not found", "RepoNotFound")
        if write and (owner != self.account or self.role != "write"):
            raise Refused(403, "You don't have write access to this repository")
        return found

    # What the client asks

    def whoami(self) -> Reply:
        if not self.account:
            raise Refused(401, "Invalid username or password.")
        access = {"type": "access_token", "accessToken": {"displayName": "test", "role": self.role}}
        return _json({"type": "user", "name": self.account, "orgs": [], "auth": access})

    def create(self) -> Reply:
        asked = json.loads(self.content)
        owner = asked.get("organization") or self.account
        repo = f"{owner}/{asked['name']}"
        if not self.account:
            raise Refused(401, "Invalid username or password.")
        if self.role != "write" or owner != self.account:
            raise Refused(403, f'You don\'t have the rights to create a model under the namespace "{owner}"')
        url = f"{self.hub.url}/{repo}"
        if repo in self.hub.repos:
            raise Refused(409, "You already created this model repo", url=url)
        self.hub.repos[repo] = Repository(asked.get("visibility") == "private")
        self.hub.repos[repo].commit({".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"})
        return _json({"url": url, "name": repo, "id": "0"})

    def remove(self) -> Reply:
        asked = json.loads(self.content)
        repo = f"{asked.get('organization') or self.account}/{asked['name']}"
        self.repository(repo, write=True)
        del self.hub.repos[repo]
        return Reply()

    def validate(self) -> Reply:
        text = json.loads(self.content)["content"]
        errors = [] if re.match(r"---\n(.+: .*|.+:|[ -].*)(\n.*)*?\n---\n", text) else [{"message": "no metadata"}]
        return _json({"errors": errors, "warnings": []}, 400 if errors else 200)

    def preupload(self, repo: str) -> Reply:
        files = self.repository(repo, write=True).files
        asked = json.loads(self.content)["files"]
        return _json({"files": [
            {
                "path": file["path"],
                "uploadMode": "lfs" if is_large(file["path"], file["size"]) else "regular",
                "shouldIgnore": False,
                "oid": name_of(file["path"], files[file["path"]]) if file["path"] in files else None,
            }
            for file in asked
        ]})  # fmt: skip

    def batch(self, repo: str) -> Reply:
        self.repository(repo, write=True)
        objects = [{"oid": item["oid"], "size": item["size"]} for item in json.loads(self.content)["objects"]]
        for item in objects:
            if item["oid"] not in self.hub.objects:
                places = {"upload": f"{self.hub.url}/storage/{item['oid']}", "verify": f"{self.hub.url}/storage/verify"}
                item["actions"] = {action: {"href": href, "header": {}} for action, href in places.items()}
        return _json({"transfer": "basic", "objects": objects})

    def upload(self, oid: str) -> Reply:
        if hashlib.sha256(self.content).hexdigest() != oid:
            raise Refused(400, "The content has another checksum.")
        self.hub.objects[oid] = self.content
        return Reply()

    def verify(self) -> Reply:
        asked = json.loads(self.content)
        if len(self.hub.objects.get(asked["oid"], b"")) != asked["size"]:
            raise Refused(404, "No such object")
        return Reply()

    def commit(self, repo: str) -> Reply:
        repository, files, removed = self.repository(repo, write=True), {}, []
        for operation in map(json.loads, self.content.splitlines()):
            value = operation["value"]
            if operation["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif operation["key"] == "lfsFile":
                if value["oid"] not in self.hub.objects:
                    raise Refused(400, f"LFS pointer pointed to a file that does not exist: {value['path']}")
                files[value["path"]] = self.hub.objects[value["oid"]]
            elif operation["key"] == "deletedFile":
                removed.append(value["path"])
        sha = repository.commit(files, removed)
        return _json({"commitOid": sha, "commitUrl": f"{self.hub.url}/{repo}/commit/{sha}"})

    def info(self, repo: str, revision: str | None) -> Reply:
        repository = self.repository(repo)
        sha, files = self.commit_at(repository, revision)
        siblings = [{"rfilename": entry["path"], "blobId": entry["oid"], **entry} for entry in entries(files)]
        facts = {"id": repo, "modelId": repo, "sha": sha, "private": repository.private, "siblings": siblings}
        return _json({**facts, "tags": [], "downloads": 0, "likes": 0, "gated": False, "disabled": False})

    def tree(self, repo: str, revision: str, folder: str | None) -> Reply:
        _, files = self.commit_at(self.repository(repo), revision)
        if folder:  # nothing here has folders
            raise Refused(404, "Entry not found", "EntryNotFound")
        return _json(list(entries(files)))

    def resolve(self, repo: str, revision: str, path: str) -> Reply:
        sha, files = self.commit_at(self.repository(repo), revision)
        if path not in files:
            raise Refused(404, "Entry not found", "EntryNotFound")
        content, name = files[path], name_of(path, files[path])
        headers = {"X-Repo-Commit": sha, "ETag": f'"{name}"', "Accept-Ranges": "bytes"}
        if is_large(path, len(content)):
            headers |= {"X-Linked-Etag": f'"{name}"', "X-Linked-Size": str(len(content))}
        part = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range") or "")
        if part is None or self.command == "HEAD":
            return Reply(200, content, headers)
        first, last = int(part[1]), min(int(part[2] or len(content)), len(content) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        return Reply(206, content[first : last + 1], headers)

    def hardware(self) -> Reply:
        return _json(self.hub.jobs.hardware)

    def begin_job(self, owner: str) -> Reply:
        if self.role != "write" or owner != self.account:
            raise Refused(403, "You don't have the rights to run jobs in this namespace")
        return _json(self.hub.jobs.begin(owner, json.loads(self.content)))

    def list_jobs(self, owner: str) -> Reply:
        asked = parse_qs(urlsplit(self.path).query)
        labels = dict(label.split("=", 1) for label in asked.get("label", ()))
        return _json(self.hub.jobs.all(labels))

    def job(self, owner: str, job: str) -> Reply:
        return _json(self.hub.jobs.info(job))

    def cancel_job(self, owner: str, job: str) -> Reply:
        self.hub.jobs.cancel(job)
        return Reply()

    def commit_at(self, repository: Repository, revision: str | None) -> tuple[str, dict[str, bytes]]:
        found = repository.at(revision)
        if found is None:
            raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return found


ROUTES = {
    "whoami": ("GET", "/api/whoami-v2"),
    "create": ("POST", "/api/repos/create"),
    "remove": ("DELETE", "/api/repos/delete"),
    "validate": ("POST", "/api/validate-yaml"),
    "preupload": ("POST", f"/api/models/{REPO}/preupload/[^/]+"),
    "batch": ("POST", rf"/{REPO}\.git/info/lfs/objects/batch"),
    "upload": ("PUT", "/storage/(?P<oid>[0-9a-f]{64})"),
    "verify": ("POST", "/storage/verify"),
    "commit": ("POST", f"/api/models/{REPO}/commit/[^/]+"),
    "info": ("GET", f"/api/models/{REPO}(/revision/(?P<revision>[^/]+))?"),
    "tree": ("GET", f"/api/models/{REPO}/tree/(?P<revision>[^/]+)(/(?P<folder>.+))?"),
    "hardware": ("GET", "/api/jobs/hardware"),
    "begin_job": ("POST", "/api/jobs/(?P<owner>[^/]+)"),
    "list_jobs": ("GET", "/api/jobs/(?P<owner>[^/]+)"),
    "job": ("GET", "/api/jobs/(?P<owner>[^/]+)/(?P<job>[^/]+)"),
    "job_log": ("GET", "/api/jobs/(?P<owner>[^/]+)/(?P<job>[^/]+)/logs"),
    "cancel_job": ("POST", "/api/jobs/(?P<owner>[^/]+)/(?P<job>[^/]+)/cancel"),
    "resolve": ("GET", f"/{REPO}/resolve/(?P<revision>[^/]+)/(?P<path>.+)"),
}


def is_large(path: str, size: int) -> bool:
    return path.endswith(LARGE) or size > REGULAR_BYTES


def name_of(path: str, content: bytes) -> str:
    """The checksum by which the Hub tells contents apart."""
    if is_large(path, len(content)):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def entries(files: dict[str, bytes]) -> Iterator[dict[str, Any]]:
    for path, content in files.items():
        entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": name_of(path, content)}
        if is_large(path, len(content)):
            entry["lfs"] = {"sha256": entry["oid"], "oid": entry["oid"], "size": len(content), "pointerSize": 134}
        yield entry


def _json(answer: Any, status: int = 200) -> Reply:
    return Reply(status, json.dumps(answer).encode(), {"Content-Type": "application/json"})
