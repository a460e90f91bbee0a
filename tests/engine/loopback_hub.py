"""A Hub of models on this machine, of which each answers as it is told to."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlparse


@dataclass
class Repository:
    """A folder as the Hub shows it."""

    folder: Path
    sizes: dict[str, int] = field(default_factory=dict)  # in the place of the real ones
    refused: tuple[int, str] | None = None  # status and X-Error-Code of every request; status 0: no answer at all
    gated: bool = False  # files are refused, facts are not
    moving: bool = False  # another revision each time

    def files(self) -> dict[str, Path]:
        return {file.relative_to(self.folder).as_posix(): file for file in self.folder.rglob("*") if file.is_file()}


class LoopbackHub(ThreadingHTTPServer):
    """What a client needs to look at a model and to fetch it; keeps a list of all requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.repositories: dict[str, Repository] = {}
        self.requests: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def fetched(self, name: str) -> set[str]:
        """The files of a repository that were asked for whole."""
        found = (re.fullmatch(rf"GET /{name}/resolve/\w+/(\S+) whole", request) for request in self.requests)
        return {match[1] for match in found if match}


class Answer(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    server: LoopbackHub

    def do_GET(self) -> None:
        path = urlparse(self.path).path
        part = "part" if "range" in self.headers else "whole"
        self.server.requests.append(f"{self.command} {path} {part}")
        facts = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/\w+)?", path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/\w+/(.+)", path)
        found = facts or file
        repository = self.server.repositories.get(found[1]) if found else None
        if found is None or repository is None:
            self.reply(401 if facts else 404, error="RepoNotFound")
        elif repository.refused:
            self.close_connection = not repository.refused[0]
            if not self.close_connection:
                self.reply(repository.refused[0], error=repository.refused[1])
        elif facts:
            self.reply(200, self.facts(found[1], repository))
        elif repository.gated:
            self.reply(403, error="GatedRepo")
        elif file and file[2] in repository.files():
            self.send_file(repository.files()[file[2]])
        else:
            self.reply(404, error="EntryNotFound")

    do_HEAD = do_GET

    def facts(self, name: str, repository: Repository) -> bytes:
        sizes = {file: path.stat().st_size for file, path in repository.files().items()} | repository.sizes
        seed = f"{name} {len(self.server.requests) if repository.moving else ''}"
        siblings = [{"rfilename": file, "size": size, "blobId": "0"} for file, size in sizes.items()]
        return json.dumps({"id": name, "sha": sha1(seed), "siblings": siblings}).encode()

    def send_file(self, path: Path) -> None:
        first, last = 0, path.stat().st_size - 1
        if wanted := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("range", "")):
            first, last = int(wanted[1]), min(int(wanted[2]), last)
        head = {"ETag": f'"{sha1(str(path))}"', "X-Repo-Commit": urlparse(self.path).path.split("/resolve/")[1][:40]}
        with path.open("rb") as stream:
            stream.seek(first)
            content = b"" if self.command == "HEAD" else stream.read(last + 1 - first)
        self.reply(206 if wanted else 200, content, head=head, length=last + 1 - first)

    def reply(
        self, status: int, content: bytes = b"", error: str = "", head: Any = None, length: int | None = None
    ) -> None:
        self.send_response(status)
        for key, value in ((head or {}) | ({"X-Error-Code": error} if error else {})).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else content)

    def log_message(self, *args: Any) -> None:
        pass


def sha1(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest()
