"""The page: how soon it answers, what watching costs a run, and how soon a thousand runs are listed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.benchmarks.comparison import OURS, Comparison, in_turns
from tests.benchmarks.served import OUR_APP, PATIENCE, PROJECT, served
from tests.thousand_runs import write_runs
from trainer.events import StepLogged, decode_lines

EMPTY, UNWATCHED, TEN_RUNS = "empty Gradio app", "nobody watches", "ten runs"
EMPTY_APP = (sys.executable, "-c", "import gradio\nwith gradio.Blocks() as page:\n    pass\npage.launch()\n")
WATCHERS = 20
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
MEASURED_SECONDS, WARM_UP_SECONDS = 30.0, 5.0


def comparisons(device: str, repetitions: int, only: str) -> Iterator[Comparison]:
    """Those with `only` in their names."""
    if only in (name := "start of the page"):
        ways: dict[str, Callable[[], float]] = {EMPTY: lambda: _start(EMPTY_APP), OURS: lambda: _start(OUR_APP)}
        # At most 1.3 times the empty app's time.
        yield Comparison(name, "s", in_turns(ways, repetitions), larger_is_better=False, targets={EMPTY: 1 / 1.3})
    if only in (name := f"training while {WATCHERS} browsers watch"):
        yield Comparison(name, "steps/s", _watched(repetitions), targets={UNWATCHED: 0.99})
    if only in (name := "the Runs tab with 1,000 runs") and any(map(shutil.which, BROWSERS)):
        ways = {TEN_RUNS: lambda: _opening(10), OURS: lambda: _opening(1000)}
        yield Comparison(name, "s", in_turns(ways, repetitions), larger_is_better=False)


def _start(command: tuple[str, ...]) -> float:
    """Seconds from the start of the process to the first answer over HTTP."""
    with tempfile.TemporaryDirectory() as home, served(command, Path(home)) as app:
        return app.start_seconds


def _watched(repetitions: int) -> dict[str, list[float]]:
    """Steps a second of one run on the page, for half a minute each with nobody and with all of them."""
    from gradio_client import Client

    with tempfile.TemporaryDirectory() as home, served(OUR_APP, Path(home)) as app:
        client = Client(app.url, verbose=False)
        settings = {"num_train_epochs": 1000, "eval_steps": 10**6, "logging_steps": 1}
        run = client.predict(settings, api_name="/start_run")["run"]

        def speed(watchers: int) -> float:
            command = [sys.executable, "-m", "tests.benchmarks.watchers", app.url, str(watchers)]
            watching = subprocess.Popen(command, cwd=PROJECT)
            time.sleep(WARM_UP_SECONDS)
            began, first = _newest_step(events)
            time.sleep(MEASURED_SECONDS)
            ended, last = _newest_step(events)
            watching.terminate()
            watching.wait()
            return (last - first) / (ended - began)

        events = Path(home) / run / "events.jsonl"
        give_up = time.monotonic() + PATIENCE
        while client.predict(run, api_name="/run_status")["step"] < 5 and time.monotonic() < give_up:
            time.sleep(1)
        try:
            return in_turns({UNWATCHED: lambda: speed(0), OURS: lambda: speed(WATCHERS)}, repetitions)
        finally:
            client.predict(run, api_name="/stop_run")
            while client.predict(run, api_name="/run_status")["state"] in ("running", "stopping"):
                time.sleep(1)


def _newest_step(events: Path) -> tuple[float, int]:
    """When a run told of its last step, and which it was."""
    records, _ = decode_lines(events.read_bytes())
    newest = [record for record in records if record["kind"] == StepLogged.kind][-1]
    return newest["time"], newest["step"]


def _opening(runs: int) -> float:
    """Seconds from a click on the tab to the first lines of the table, in a Chromium."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        home = Path(place) / "home"
        write_runs(home, runs)
        with served(OUR_APP, home) as app:
            found = next(filter(None, map(shutil.which, BROWSERS)))
            browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page()
            page.goto(app.url)
            page.wait_for_selector("#start:visible")
            time.sleep(3)  # the first tab is drawn by then
            began = time.perf_counter()
            page.get_by_role("tab", name="Runs").click()
            page.wait_for_selector("#runs-table tbody tr")
            seconds = time.perf_counter() - began
            browser.close()
            return seconds
