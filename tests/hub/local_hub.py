"""A Hugging Face Hub on this machine: enough of its HTTP for the real client, and failures to order.

Standard library alone. `LocalHub().fail("commit", status=500)` makes the next commit fail. Jobs, which are child
processes here, are those of `local_jobs.py`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from tests.hub.local_http import Connection, Fault, Refused, Reply, as_json
from tests.hub.local_repository import Repository, entries, is_large, name_of

REPO = r"(?P<repo>[^/]+/[^/]+)"


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
        handler = type("Handler", (_Handler,), {"hub": self, "routes": ROUTES})
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


class _Handler(Connection):
    """One connection. Every kind of request is a method that returns a Reply or raises Refused."""

    hub: ClassVar[LocalHub]

    def fault(self, kind: str) -> Fault | None:
        return self.hub.fault(kind)

    def reply_to(self, kind: str, names: dict[str, str | None]) -> Reply | Iterator[dict[str, str]]:
        if kind == "unknown":
            raise Refused(404, f"nothing here: {self.command} {self.path}")
        token = self.headers.get("authorization", "").removeprefix("Bearer ")
        if token and token not in self.hub.tokens:
            raise Refused(401, "Invalid credentials in Authorization header")
        self.account, self.role = self.hub.tokens.get(token, ("", ""))
        with self.hub.lock:
            answer: Callable[..., Reply | Iterator[dict[str, str]]] = getattr(self, kind)
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
        return as_json({"type": "user", "name": self.account, "orgs": [], "auth": access})

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
        return as_json({"url": url, "name": repo, "id": "0"})

    def remove(self) -> Reply:
        asked = json.loads(self.content)
        repo = f"{asked.get('organization') or self.account}/{asked['name']}"
        self.repository(repo, write=True)
        del self.hub.repos[repo]
        return Reply()

    def validate(self) -> Reply:
        text = json.loads(self.content)["content"]
        errors = [] if re.match(r"---\n(.+: .*|.+:|[ -].*)(\n.*)*?\n---\n", text) else [{"message": "no metadata"}]
        return as_json({"errors": errors, "warnings": []}, 400 if errors else 200)

    def preupload(self, repo: str) -> Reply:
        files = self.repository(repo, write=True).files
        asked = json.loads(self.content)["files"]
        return as_json({"files": [
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
        return as_json({"transfer": "basic", "objects": objects})

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
        return as_json({"commitOid": sha, "commitUrl": f"{self.hub.url}/{repo}/commit/{sha}"})

    def info(self, repo: str, revision: str | None) -> Reply:
        repository = self.repository(repo)
        sha, files = self.commit_at(repository, revision)
        siblings = [{"rfilename": entry["path"], "blobId": entry["oid"], **entry} for entry in entries(files)]
        facts = {"id": repo, "modelId": repo, "sha": sha, "private": repository.private, "siblings": siblings}
        return as_json({**facts, "tags": [], "downloads": 0, "likes": 0, "gated": False, "disabled": False})

    def tree(self, repo: str, revision: str, folder: str | None) -> Reply:
        _, files = self.commit_at(self.repository(repo), revision)
        if folder:  # nothing here has folders
            raise Refused(404, "Entry not found", "EntryNotFound")
        return as_json(list(entries(files)))

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
        return as_json(self.hub.jobs.hardware)

    def begin_job(self, owner: str) -> Reply:
        if self.role != "write" or owner != self.account:
            raise Refused(403, "You don't have the rights to run jobs in this namespace")
        return as_json(self.hub.jobs.begin(owner, json.loads(self.content)))

    def list_jobs(self, owner: str) -> Reply:
        asked = parse_qs(urlsplit(self.path).query)
        labels = dict(label.split("=", 1) for label in asked.get("label", ()))
        return as_json(self.hub.jobs.all(labels))

    def job(self, owner: str, job: str) -> Reply:
        return as_json(self.hub.jobs.info(job))

    def job_log(self, owner: str, job: str) -> Iterator[dict[str, str]]:
        events: Iterator[dict[str, str]] = self.hub.jobs.log(job)
        return events

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
