"""What `app.py` does around the page: what ends with it, by which names it is called, what it says when it can't."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

import app
from trainer.ui.page import launch_settings


class Page:
    """In the place of Gradio's: it is over as soon as it is served."""

    def __init__(self) -> None:
        self.launched: dict[str, Any] = {}
        self.end: Callable[[], Any] = lambda: None  # as after Ctrl-C, which Gradio hears by itself

    def launch(self, **settings: Any) -> None:
        self.launched = settings

    def block_thread(self) -> None:
        self.end()


class Service:
    """In the place of runs and predictions; notes what it was told."""

    def __init__(self, *values: Any, **named: Any) -> None:
        self.told: list[str] = []

    def __getattr__(self, name: str) -> Callable[[], None]:
        return lambda: self.told.append(name)


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Page:
    page = Page()
    monkeypatch.setattr("trainer.ui.page.build_page", lambda *values, **named: (page, []))
    return page


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Service:
    runs = Service()
    monkeypatch.setattr("trainer.runs.manager.RunManager", lambda *values, **named: runs)
    return runs


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, page: Page) -> Callable[..., int]:
    """`app.main()` in this process, with this environment."""

    def run(**environment: str) -> int:
        monkeypatch.setattr("trainer.inference.worker.FillService", Service)
        monkeypatch.setattr(signal, "signal", lambda number, handler: None)
        monkeypatch.setattr(os, "environ", {**os.environ, "MASK_STUDIO_BACKEND": "process", **environment})
        try:
            return app.main()
        except SystemExit as end:
            return int(end.code or 0)

    return run


@pytest.mark.parametrize("end", [lambda: None, lambda: sys.exit(0)], ids=["ctrl-c", "sigterm"])
@pytest.mark.parametrize(
    ("environment", "number", "last"),
    [({}, 1, "shut_down"), ({"SPACE_ID": "alice/studio"}, 77, "shut_down"), ({}, 77, "close")],
    ids=["container", "space", "desk"],
)
def test_runs_save_themselves_where_the_machine_ends_with_the_page_and_live_on_at_a_desk(
    environment: dict[str, str], number: int, last: str, end: Callable[[], Any], serve: Any, page: Page, runs: Service,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def ended() -> None:
        monkeypatch.setattr(os, "getpid", lambda: number)
        end()

    page.end = ended
    assert serve(**environment) == 0
    assert runs.told == [last]


def test_a_home_that_cannot_be_used_is_one_line_and_exit_code_2(
    serve: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert serve(MASK_STUDIO_HOME=str(tmp_path / "file")) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: The folder ") and "Set MASK_STUDIO_HOME" in line


def status(settings: dict[str, Any], host: str) -> int:
    """The status that a page with these settings answers, called by this name."""
    page = Starlette(**settings["app_kwargs"])
    return TestClient(page, base_url=f"http://{host}").get("/").status_code


def test_a_page_that_acts_with_its_owners_token_answers_to_the_names_of_its_machine_alone() -> None:
    routes = [Route("/", lambda request: PlainTextResponse("hello"))]
    settings = launch_settings(routes=routes, only_here=True)
    assert [status(settings, f"{host}:7860") for host in ("localhost", "127.0.0.1", "[::1]")] == [200, 200, 200]
    assert status(settings, "evil.example:7860") == 400
    assert status(launch_settings(routes=routes), "evil.example:7860") == 200


@pytest.mark.parametrize(
    ("environment", "is_checked"),
    [
        ({}, False),
        ({"HF_TOKEN": "hf_mine"}, True),
        ({"HF_TOKEN": "hf_mine", "GRADIO_SERVER_NAME": "127.0.0.1"}, True),
        ({"HF_TOKEN": "hf_mine", "GRADIO_SERVER_NAME": "0.0.0.0"}, False),  # where the token is left alone
        ({"HF_TOKEN": "hf_mine", "SPACE_ID": "alice/studio"}, False),
    ],
)
def test_only_at_a_desk_with_a_token_the_name_is_looked_at(
    environment: dict[str, str], is_checked: bool, serve: Any, page: Page, runs: Service
) -> None:
    assert serve(**environment) == 0
    assert (status(page.launched, "evil.example") == 400) is is_checked
