"""What so many browsers ask of the page while they watch a run: `python -m tests.benchmarks.watchers URL COUNT`.

Until it is ended: once a second what changed and, where it is not told with the answer, what belongs to it. It draws
nothing, and asks with as little work as can be, as the browsers of other people do both on other machines.
"""

from __future__ import annotations

import http.client
import json
import sys
import time
import uuid
from typing import Any
from urllib.parse import urlsplit

TICK_SECONDS = 1.0


class Watcher:
    """One browser's requests."""

    def __init__(self, host: str, config: dict[str, Any]) -> None:
        self._connection = http.client.HTTPConnection(host, timeout=60)
        self._session = uuid.uuid4().hex
        scripts = {component["id"]: component["props"].get("js_on_load") for component in config["components"]}
        self._events = {  # by the script that begins them
            scripts[target]: dependency
            for dependency in config["dependencies"]
            for target, event in dependency["targets"]
            if event == "input" and "news.on" in (scripts.get(target) or "")
        }
        self._marks: list[str] = []

    def ask(self) -> None:
        """What a page asks once a second, and what it then begins."""
        status, body = self._request("GET", f"/news?watched=&seen={','.join(self._marks)}", None, {"X-Visitor": ""})
        if status != http.client.OK:
            return
        answer = json.loads(body)
        self._marks = answer["marks"]
        for name in answer["news"]:
            for script, dependency in self._events.items():
                if f'"{name}"' in script:
                    self._begin(dependency)

    def _begin(self, dependency: dict[str, Any]) -> None:
        body = {"data": [None] * len(dependency["inputs"]), "fn_index": dependency["id"], "session_hash": self._session}
        status, answer = self._request(
            "POST", "/gradio_api/run/predict", json.dumps(body), {"Content-Type": "application/json"}
        )
        if status != http.client.OK:
            raise RuntimeError(f"The page answered {status}: {answer[:200]!r}")

    def _request(self, method: str, path: str, body: str | None, headers: dict[str, str]) -> tuple[int, bytes]:
        self._connection.request(method, path, body, headers)
        response = self._connection.getresponse()
        return response.status, response.read()


def main(url: str, count: int) -> None:
    host = urlsplit(url).netloc
    connection = http.client.HTTPConnection(host, timeout=60)
    connection.request("GET", "/config")
    config = json.load(connection.getresponse())
    watchers = [Watcher(host, config) for _ in range(count)]
    while watchers:
        for watcher in watchers:  # spread over the second, as browsers that were opened at different times
            began = time.monotonic()
            watcher.ask()
            time.sleep(max(0.0, TICK_SECONDS / count - (time.monotonic() - began)))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
