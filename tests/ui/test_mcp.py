"""The endpoints as tools of a language model, through the client of the Model Context Protocol."""

from __future__ import annotations

import ast
import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

pytest.importorskip("mcp", reason="gradio[mcp] is not installed; tests/requirements.txt has it")
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

pytestmark = pytest.mark.slow

TOOLS = {"fill_mask", "start_run", "run_status", "stop_run", "list_runs"}
Call = Callable[..., Awaitable[Any]]


def in_session(url: str, use: Callable[[set[str], Call], Awaitable[None]]) -> None:
    """Runs `use` with the names of the tools and a function that calls one."""

    async def main() -> None:
        async with (
            streamable_http_client(f"{url}gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as mcp,
        ):
            await mcp.initialize()
            names = {tool.name for tool in (await mcp.list_tools()).tools}

            async def call(name: str, **arguments: Any) -> Any:
                result = await mcp.call_tool(name, arguments)
                text = "".join(part.text for part in result.content)
                return {"error": text} if result.isError else ast.literal_eval(text)

            await use(names, call)

    # In a thread of its own: the browser's tests may leave a loop running in this one.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, main()).result()


def test_a_language_model_fills_masks_and_trains(session_app: Any) -> None:
    async def use(names: set[str], call: Call) -> None:
        assert names >= TOOLS, names
        filled = await call("fill_mask", text="The Earth orbits the <mask>.", top_k=3)
        assert [len(mask) for mask in filled] == [3]
        started = await call("start_run", config={"num_train_epochs": 50, "max_documents": 20})
        run = started["run"]
        assert run in [each["run"] for each in await call("list_runs")]
        await call("stop_run", run=run)
        give_up = time.monotonic() + 120
        while (state := (await call("run_status", run=run))["state"]) not in ("stopped", "completed"):
            assert state in ("queued", "running", "stopping") and time.monotonic() < give_up
            await asyncio.sleep(0.5)
        refused = await call("fill_mask", text="No gap here.")
        assert "There is no <mask> in the text." in refused["error"]

    in_session(session_app.url, use)
