"""The page as a user starts it: `python app.py` in a process of its own, and a real browser before it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.thousand_runs import write_runs

PROJECT = Path(__file__).resolve().parents[2]
START_SECONDS = 120


class App:
    """A running `app.py`."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.home = home
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        environment = os.environ | environment | {"MASK_STUDIO_HOME": str(home), "GRADIO_SERVER_PORT": str(self.port)}
        self.log = home.parent / f"app-{self.port}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(PROJECT / "app.py")], env=environment, stdout=log, stderr=log, cwd=home.parent
            )
        self._wait()

    def _wait(self) -> None:
        give_up = time.monotonic() + START_SECONDS
        while time.monotonic() < give_up and self.process.poll() is None:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(self.url, timeout=5).close()
                return
            time.sleep(0.1)
        raise AssertionError(f"The page did not come up:\n{self.log.read_text()}")

    def client(self) -> Any:
        from gradio_client import Client

        return Client(self.url, verbose=False)

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="session")
def make_app() -> type[App]:
    """`App`, for tests with a page of their own making."""
    return App


@pytest.fixture(scope="session")
def session_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """One page for all tests that leave it as they found it."""
    app = App(tmp_path_factory.mktemp("page") / "home")
    yield app
    app.close()


@pytest.fixture
def start_app(tmp_path: Path) -> Iterator[Callable[..., App]]:
    """Starts a page on the test's own home; more than once, for tests that restart it."""
    apps: list[App] = []

    def start(**environment: str) -> App:
        apps.append(App(tmp_path / "page-home", **environment))
        return apps[-1]

    yield start
    for app in apps:
        app.close()


@pytest.fixture(scope="session")
def app_with_runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """A page on a home with 1,000 runs and, newer than these, three copies of a real one that differ in a setting."""
    home = tmp_path_factory.mktemp("page-with-runs") / "home"
    write_runs(home)
    real = home.parent / "real"
    small = ["--max-steps", "16", "--eval-steps", "8", "--max-documents", "60", "--learning-rate", "0.0005"]
    command = [sys.executable, "-m", "trainer", "fit", "--output", str(real), *small]
    subprocess.run(command, check=True, cwd=PROJECT, stdout=subprocess.DEVNULL)
    for number, name in enumerate(("quiet-otter", "brave-fox", "keen-seal")):
        run = home / f"20260101-00000{number}-{name}"
        shutil.copytree(real, run)
        settings = json.loads((run / "config.json").read_text()) | {"weight_decay": number / 100}
        (run / "config.json").write_text(json.dumps(settings))
        (run / "log.txt").write_text(f"started in {run}\n<b>not bold</b>\n")
    app = App(home)
    yield app
    app.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A Chromium of the system; without one the browser tests are skipped, but in CI they fail."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        message = "no Chromium found: install the package chromium"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=flags)
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens the page of an app in a window of its own; JavaScript errors fail the test."""
    pages, errors = [], []

    def open_page(app: App, height: int = 900) -> Any:
        page = browser.new_page(viewport={"width": 1280, "height": height})
        pages.append(page)
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(app.url)
        page.wait_for_selector("#start:visible, #stop:visible")
        return page

    yield open_page
    for page in pages:
        page.close()
    assert not errors


@pytest.fixture
def endless() -> dict[str, Any]:
    """Settings of a run that goes on until it is stopped, on a machine that others use too."""
    settings = {"num_train_epochs": 10_000, "per_device_train_batch_size": 1, "logging_steps": 1}
    return settings | {"max_documents": 60, "compile": "off"}


def wait_until(condition: Callable[[], Any], seconds: float = 120.0) -> Any:
    """The first true value of `condition`."""
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        if value := condition():
            return value
        time.sleep(0.2)
    raise AssertionError("It did not happen in time.")


@pytest.fixture
def eventually() -> Callable[..., Any]:
    """`wait_until`, for tests."""
    return wait_until
