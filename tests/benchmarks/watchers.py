"""What so many browsers ask of the page while they watch a run: `python -m tests.benchmarks.watchers URL COUNT`.

Until it is ended, and again where it was stopped for a while: as often as a page does, what changed and, where it is
not told with the answer, what belongs to it. It draws nothing, and asks with as little work as can be: the browsers of
other people do both on other machines.
"""

from __future__ import annotations

import json
import re
import socket
import sys
import time
import urllib.request
import uuid
from typing import Any
from urllib.parse import urlsplit

KEPT_SECONDS = 2.0  # a connection that is used no more is closed by the page after 5
TOGETHER_SECONDS = 0.01  # questions so close to each other are on their way at the same time


class Watcher:
    """One browser's requests."""

    def __init__(self, url: str, config: dict[str, Any]) -> None:
        place = urlsplit(url)
        self._url, self._host = url, place.netloc
        self._place = place.hostname, place.port
        self._socket = socket.create_connection(self._place, timeout=60)
        self._session = uuid.uuid4().hex
        scripts = {component["id"]: component["props"].get("js_on_load") or "" for component in config["components"]}
        self._events = {  # by what they wait for, as it stands in the answer
            f'"{heard[1]}":'.encode(): dependency
            for dependency in config["dependencies"]
            for target, event in dependency["targets"]
            if event == "input" and (heard := re.search(r'news\.on\("(.+?)"', scripts.get(target, "")))
        }
        self._marks: list[str] = []
        self.asks_at = time.monotonic()

    def ask(self) -> None:
        """What a page asks again and again; by hand, for the libraries' ways take longer than the page to answer."""
        if time.monotonic() - self.asks_at > KEPT_SECONDS:
            self._socket.close()
            self._socket = socket.create_connection(self._place, timeout=60)
        path = f"/news?watched=&seen={','.join(self._marks)}"
        self._socket.sendall(f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\nX-Visitor: \r\n\r\n".encode())

    def hear(self) -> None:
        """The answer, and what a page then begins."""
        body = self._news()
        if not body:
            return
        marks, news = body.split(b',"news":', 1)  # all of it is for browsers to read, each on a machine of its own
        self._marks = json.loads(marks + b"}")["marks"]
        for name, dependency in self._events.items():
            if name in news:
                self._begin(dependency)

    def _news(self) -> bytes:
        """The body of the answer."""
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._received()
        head, _, body = received.partition(b"\r\n\r\n")
        headers = dict(line.lower().split(b": ", 1) for line in head.splitlines()[1:])
        self.asks_at = time.monotonic() + float(headers[b"x-ask-in"])
        while len(body) < int(headers.get(b"content-length", 0)):
            body += self._received()
        return body

    def _received(self) -> bytes:
        if received := self._socket.recv(1 << 16):
            return received
        raise ConnectionError("The page has closed the connection.")

    def _begin(self, dependency: dict[str, Any]) -> None:
        body = {"data": [None] * len(dependency["inputs"]), "fn_index": dependency["id"], "session_hash": self._session}
        request = urllib.request.Request(
            f"{self._url}gradio_api/run/predict", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=60).close()


def main(url: str, count: int) -> None:
    config = json.load(urllib.request.urlopen(f"{url}config", timeout=60))
    watchers = [Watcher(url, config) for _ in range(count)]
    while watchers:
        time.sleep(max(0.0, min(watcher.asks_at for watcher in watchers) - time.monotonic()))
        due = [watcher for watcher in watchers if watcher.asks_at < time.monotonic() + TOGETHER_SECONDS]
        for watcher in due:
            watcher.ask()
        for watcher in due:
            watcher.hear()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
