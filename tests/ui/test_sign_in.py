"""Signing in on a Space, with the real authorization-code round trip: whose runs are seen, whose token publishes."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urljoin

import pytest

from trainer.config import TrainConfig
from trainer.runs.folder import RunFolder
from trainer.runs.ownership import mark_of_name

for needed in ("authlib", "itsdangerous"):
    pytest.importorskip(needed, reason="gradio[oauth] is not installed; tests/requirements.txt has it")

pytestmark = pytest.mark.slow

BOBS, CAROLS = "20260101-120000-quiet-otter", "20260101-120001-brave-fox"
TOKEN = "hf_oauth_of_bob"


@pytest.fixture(scope="module")
def provider() -> Iterator[Any]:
    from tests.hub.local_provider import LocalProvider  # imports what may be missing

    server = LocalProvider("bob", TOKEN)
    yield server
    server.close()


@pytest.fixture(scope="module")
def space(provider: Any, make_app: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Alice's Space, with a run of Bob's and one of Carol's."""
    home = tmp_path_factory.mktemp("signed-in") / "home"
    for run, name in ((BOBS, "bob"), (CAROLS, "carol")):
        RunFolder(home / run).write_config(TrainConfig(), mark_of_name(name))
    app = make_app(home, SYSTEM="spaces", SPACE_ID="alice/studio", **provider.environment)
    yield app
    app.close()


class Browser:
    """Follows links and keeps the cookie, which a real one sends to the same machine alone."""

    def __init__(self, url: str) -> None:
        self.url, self.cookie = url, ""
        self._open = urllib.request.build_opener(_NoRedirect).open

    def get(self, address: str, **headers: str) -> tuple[int, Any]:
        return self.ask(urllib.request.Request(address, headers=headers))

    def ask(self, request: urllib.request.Request) -> tuple[int, Any]:
        request.add_header("Cookie", self.cookie)
        try:
            answer = self._open(request, timeout=60)
        except urllib.error.HTTPError as refused:
            answer = refused
        for set_cookie in answer.headers.get_all("Set-Cookie") or ():
            self.cookie = set_cookie.partition(";")[0]
        return answer.status, answer

    def sign_in(self) -> None:
        """To the provider, back with a code, and to the page."""
        address, passed = f"{self.url}login/huggingface", []
        while len(passed) < 6:
            passed.append(address)
            status, answer = self.get(address)
            if "Location" not in answer.headers:
                break
            address = urljoin(address, answer.headers["Location"])
        assert status == 200 and "/login/callback?" in passed[2], passed

    def looks(self, **headers: str) -> str:
        """All that the page is told once a second, and all that is sent when something is new."""
        config = json.load(urllib.request.urlopen(f"{self.url}config"))
        kinds = {component["id"]: component["type"] for component in config["components"]}
        told = self.get(f"{self.url}news", **headers)[1].read().decode()
        for each in config["dependencies"]:
            looks = each["targets"] and each["targets"][0][1] in ("tick", "change", "input") and each["backend_fn"]
            if looks and "browserstate" in map(kinds.get, each["inputs"]):
                data = ["" if kinds[component] == "browserstate" else None for component in each["inputs"]]
                body = {"fn_index": each["id"], "data": data, "session_hash": "session", "trigger_id": None}
                content = {"Content-Type": "application/json", **headers}
                request = urllib.request.Request(
                    f"{self.url}gradio_api/run/predict", json.dumps(body).encode(), content
                )
                told += self.ask(request)[1].read().decode()
        return told


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments: Any) -> None:
        """The test follows them itself, for the cookie."""


def test_who_is_signed_in_sees_the_runs_of_that_name_and_another_site_does_not(space: Any) -> None:
    browser = Browser(space.url)
    assert BOBS not in browser.looks()
    browser.sign_in()
    told = browser.looks()
    assert BOBS in told and CAROLS not in told
    assert TOKEN not in told
    elsewhere = browser.looks(Origin="https://another.example")
    assert BOBS not in elsewhere
    assert BOBS in browser.looks(Origin=space.url.rstrip("/"))  # and nobody was signed out by that


def test_the_owner_of_the_space_sees_all(space: Any, provider: Any) -> None:
    provider.user = "alice"
    browser = Browser(space.url)
    browser.sign_in()
    told = browser.looks()
    assert BOBS in told and CAROLS in told


def test_a_cookie_signed_without_the_secret_is_nobodys(space: Any) -> None:
    import base64
    import hashlib

    import itsdangerous

    user = {"name": "Alice", "preferred_username": "alice", "profile": "", "picture": ""}
    session = {"oauth_info": {"userinfo": user, "access_token": "x", "scope": "", "expires_at": 4e9}}
    data = base64.b64encode(json.dumps(session).encode())
    browser = Browser(space.url)
    for secret, finds in (("-v4", False), ("known to both-v4", True)):  # the first is Gradio's where none is set
        signer = itsdangerous.TimestampSigner(hashlib.sha256(secret.encode()).hexdigest())
        browser.cookie = f"session={signer.sign(data).decode()}"
        assert (BOBS in browser.looks()) is finds
