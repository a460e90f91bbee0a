"""What so many browsers ask of the page while they watch a run: `python -m tests.benchmarks.watchers URL COUNT`.

Until it is ended: once a second what changed and, where something did, what belongs to it. It draws nothing, as the
browsers of other people do that on other machines.
"""

from __future__ import annotations

import asyncio
import sys
import uuid
from typing import Any

import httpx

TICK_SECONDS = 1.0


class Watcher:
    """One browser's requests."""

    def __init__(self, client: httpx.AsyncClient, config: dict[str, Any]) -> None:
        self._client, self._session = client, uuid.uuid4().hex
        kinds = {component["id"]: component["type"] for component in config["components"]}
        told = [(dependency, *target) for dependency in config["dependencies"] for target in dependency["targets"]]
        (self._question,) = (
            dependency
            for dependency, _, event in told
            if event == "tick" and len(dependency["outputs"]) > 1
            and all(kinds[output] == "textbox" for output in dependency["outputs"])
        )  # fmt: skip
        self._parts = {target: dependency for dependency, target, event in told if event == "change"}
        self._marks: list[str] = []

    async def watch(self) -> None:
        while True:
            marks = (await self._ask(self._question))["data"]
            for place, mark in enumerate(marks):
                if not self._marks or mark != self._marks[place]:
                    await self._ask(self._parts[self._question["outputs"][place]])
            self._marks = marks
            await asyncio.sleep(TICK_SECONDS)

    async def _ask(self, dependency: dict[str, Any]) -> dict[str, Any]:
        body = {"data": [None] * len(dependency["inputs"]), "fn_index": dependency["id"], "session_hash": self._session}
        answer = await self._client.post("gradio_api/run/predict", json=body)
        answer.raise_for_status()
        return answer.json()


async def main(url: str, count: int) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        config = (await client.get("config")).json()
        await asyncio.gather(*(Watcher(client, config).watch() for _ in range(count)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
