"""The page: how soon it answers, what watching costs a run, how soon it shows a step, and a thousand runs."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.comparison import OURS, Comparison, in_turns
from tests.benchmarks.served import OUR_APP, PATIENCE, PROJECT, served
from tests.thousand_runs import write_runs
from trainer.events import StepLogged, decode_lines

EMPTY, UNWATCHED, TEN_RUNS = "empty Gradio app", "nobody watches", "ten runs"
EMPTY_APP = (sys.executable, "-c", "import gradio\nwith gradio.Blocks() as page:\n    pass\npage.launch()\n")
WATCHERS = 20
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
MEASURED_SECONDS, WARM_UP_SECONDS = 20.0, 3.0
TURNS, TURN_SECONDS, SETTLING_SECONDS = 10, 6.0, 1.0  # in a repetition, while watched or not
PROMISED, PROMISED_SECONDS = "promised", 1.5
SEE_STEPS = """() => {
  window.seen = [];
  const panel = document.querySelector("#run-panel");
  const see = () => requestAnimationFrame(() => {
    const step = /step ([0-9,]+) of/.exec(panel.textContent);
    if (step) seen.push([Date.now() / 1000, Number(step[1].replaceAll(",", ""))]);
  });
  new MutationObserver(see).observe(panel, { childList: true, subtree: true, characterData: true });
}"""


def comparisons(device: str, repetitions: int, only: str) -> Iterator[Comparison]:
    """Those with `only` in their names."""
    if only in (name := "start of the page"):
        ways: dict[str, Callable[[], float]] = {EMPTY: lambda: _start(EMPTY_APP), OURS: lambda: _start(OUR_APP)}
        # At most 1.3 times the empty app's time.
        yield Comparison(name, "s", in_turns(ways, repetitions), larger_is_better=False, targets={EMPTY: 1 / 1.3})
    if only in (name := f"training while {WATCHERS} browsers watch") and hasattr(signal, "SIGSTOP"):
        yield Comparison(name, "steps/s", _watched(TURNS * repetitions), targets={UNWATCHED: 0.99})
    if only in (name := "a step on the page") and any(map(shutil.which, BROWSERS)):
        yield Comparison(name, "s", _shown(repetitions), larger_is_better=False, targets={PROMISED: 1.0})
    if only in (name := "the Runs tab with 1,000 runs") and any(map(shutil.which, BROWSERS)):
        ways = {TEN_RUNS: lambda: _opening(10), OURS: lambda: _opening(1000)}
        yield Comparison(name, "s", in_turns(ways, repetitions), larger_is_better=False)


def _start(command: tuple[str, ...]) -> float:
    """Seconds from the start of the process to the first answer over HTTP."""
    with tempfile.TemporaryDirectory() as home, served(command, Path(home)) as app:
        return app.start_seconds


def _watched(turns: int) -> dict[str, list[float]]:
    """Steps a second of one run on the page, with nobody and with all of them in short turns, as a machine varies."""

    def speed(run: _Run, watching: subprocess.Popen[bytes], what: signal.Signals) -> float:
        watching.send_signal(what)
        time.sleep(SETTLING_SECONDS)
        first = run.logged()[-1]
        time.sleep(TURN_SECONDS)
        last = run.logged()[-1]
        return (last["step"] - first["step"]) / (last["time"] - first["time"])

    with _run_on_the_page() as run:
        command = [sys.executable, "-m", "tests.benchmarks.watchers", run.url, str(WATCHERS)]
        with subprocess.Popen(command, cwd=PROJECT) as watching:
            time.sleep(WARM_UP_SECONDS)
            ways = {
                UNWATCHED: lambda: speed(run, watching, signal.SIGSTOP),
                OURS: lambda: speed(run, watching, signal.SIGCONT),
            }
            figures = in_turns(ways, turns)
            if watching.poll() is not None:
                raise RuntimeError("The watchers have ended before the measurement did.")
            watching.kill()
    return figures


def _shown(repetitions: int) -> dict[str, list[float]]:
    """Seconds from when a step was told of until a Chromium showed it: of the slowest one in a while."""

    def slowest(run: _Run, page: Any) -> float:
        began = time.time()
        time.sleep(MEASURED_SECONDS)
        events, seen = run.logged(), page.evaluate("seen")
        waits = [
            min(at for at, step in seen if step >= event["step"]) - event["time"]
            for event in events
            if began < event["time"] < began + MEASURED_SECONDS - PROMISED_SECONDS
        ]
        return max(waits)

    with _run_on_the_page() as run, _chromium() as page:
        page.goto(run.url)
        page.wait_for_selector("#run-panel .bar")
        page.evaluate(SEE_STEPS)
        return {PROMISED: [PROMISED_SECONDS] * repetitions} | in_turns({OURS: lambda: slowest(run, page)}, repetitions)


@dataclass(frozen=True)
class _Run:
    """A run on a page."""

    url: str
    events: Path

    def logged(self) -> list[dict[str, Any]]:
        records, _ = decode_lines(self.events.read_bytes())
        return [record for record in records if record["kind"] == StepLogged.kind]


@contextmanager
def _run_on_the_page() -> Iterator[_Run]:
    """Trains the bundled model on the page, and tells of every step, until left."""
    from gradio_client import Client

    with tempfile.TemporaryDirectory() as home, served(OUR_APP, Path(home)) as app:
        client = Client(app.url, verbose=False)
        settings = {"num_train_epochs": 1000, "eval_steps": 10**6, "save_steps": 10**6, "logging_steps": 1}
        run = client.predict(settings, api_name="/start_run")["run"]
        give_up = time.monotonic() + PATIENCE
        while client.predict(run, api_name="/run_status")["step"] < 5 and time.monotonic() < give_up:
            time.sleep(1)
        try:
            yield _Run(app.url, Path(home) / run / "events.jsonl")
        finally:
            client.predict(run, api_name="/stop_run")
            while client.predict(run, api_name="/run_status")["state"] in ("running", "stopping"):
                time.sleep(1)


@contextmanager
def _chromium() -> Iterator[Any]:
    """A page in a Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = next(filter(None, map(shutil.which, BROWSERS)))
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield browser.new_page()
        browser.close()


def _opening(runs: int) -> float:
    """Seconds from a click on the tab to the first lines of the table, in a Chromium."""
    with tempfile.TemporaryDirectory() as place, _chromium() as page:
        home = Path(place) / "home"
        write_runs(home, runs)
        with served(OUR_APP, home) as app:
            page.goto(app.url)
            page.wait_for_selector("#start:visible")
            time.sleep(3)  # the first tab is drawn by then
            began = time.perf_counter()
            page.get_by_role("tab", name="Runs").click()
            page.wait_for_selector("#runs-table tbody tr")
            return time.perf_counter() - began
