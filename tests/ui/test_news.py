"""What a page asks once a second: answered only with what is new, and only to whose it is."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from trainer.config import TrainConfig
from trainer.events import Evaluated, RunStarted
from trainer.runs.folder import RunFolder
from trainer.runs.manager import RunManager
from trainer.runs.ownership import mark_of_key
from trainer.ui import news
from trainer.ui.live_view import LiveView
from trainer.ui.visitors import Visitors

KEY = "a" * 48
STARTED = RunStarted(device="cpu", device_name="chip", processes=1, threads=2, precision="float32", versions={})
MEASURED = Evaluated(step=0, epoch=0.0, loss=3.0, perplexity=20.1, accuracy=0.3, masked_tokens=9, best=True)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = RunFolder(tmp_path / "home" / "20260101-000000-quiet-otter")
    made.write_config(TrainConfig(), mark_of_key(KEY))
    made.append(STARTED)
    return made


@pytest.fixture
def ask(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Asks as the page of a public Space does: `ask(seen, key=…)` is the answer, None when nothing is new."""
    monkeypatch.setattr(news, "FRESH_SECONDS", 0.0)
    manager = RunManager(folder.path.parent, os.environ)
    with gr.Blocks():
        live = LiveView(Visitors(manager, apart=True))
        live.connect(gr.Button(), gr.Button())

    def asked(seen: list[str] | None = None, *, key: str = KEY, watched: str = "") -> Any:
        manager.views()
        question = {"watched": watched, "seen": ",".join(seen or [])}
        response = client.get("/news", params=question, headers={"X-Visitor": key})
        return response.json() if response.status_code == 200 else None

    with TestClient(Starlette(routes=[live.news.route])) as client:
        yield asked
    manager.close()


def test_a_page_that_has_seen_nothing_is_told_all_and_one_that_has_seen_all_nothing(ask: Callable) -> None:
    told = ask()
    assert len(told["news"]) == len(told["marks"]) - 1  # the first is the server's own
    assert "quiet-otter" in told["news"]["panel"] and told["news"]["curves"][0]["id"] == "loss-chart"
    assert ask(told["marks"]) is None


def test_only_what_is_new_is_told(ask: Callable, folder: RunFolder) -> None:
    seen = ask()["marks"]
    folder.append(MEASURED)
    told = ask(seen)
    assert told["marks"][0] == seen[0]
    assert {"panel", "curves"} <= set(told["news"]) and "probe" not in told["news"]
    assert told["news"]["curves"][0]["curves"][2]["points"] == [[0, 3.0]]


@pytest.mark.parametrize("watched", ["", "20260101-000000-quiet-otter"])
@pytest.mark.parametrize("key", ["", "b" * 48, "guess me"])
def test_nobody_is_told_of_the_run_of_somebody_else(ask: Callable, watched: str, key: str) -> None:
    assert "quiet-otter" in str(ask(watched=watched))  # its owner was asked for first
    assert "otter" not in str(ask(watched=watched, key=key))


@pytest.mark.parametrize("seen", [["nonsense"], ["0"] * 500, ["\u2028<b>"]])
def test_a_question_that_no_page_asks_is_answered_with_all(ask: Callable, seen: list[str]) -> None:
    assert ask(seen) == ask()


def test_many_who_ask_the_same_are_told_the_same_that_was_looked_at_once(
    ask: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ask()
    monkeypatch.setattr(news, "FRESH_SECONDS", 60.0)
    monkeypatch.setattr(news, "mark_of", lambda seen: pytest.fail("It was looked at again."))
    assert all(ask() == first for _ in range(3))
