"""Several visitors, visitors who leave, and a page that ends: no run is lost."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.slow

OVER = ("completed", "stopped", "failed", "interrupted")


def status(client: Any, run: str) -> dict[str, Any]:
    return client.predict(run, api_name="/run_status")


def curves(page: Any) -> list[str]:
    """The lines of the loss chart as they are drawn."""
    paths = page.locator("#loss-chart path.line")
    return paths.evaluate_all("all => all.map(path => path.getAttribute('d'))")


def test_of_two_visitors_who_start_at_once_one_runs_and_one_waits_and_both_end(
    start_app: Callable, opened: Callable, eventually: Callable
) -> None:
    app = start_app()
    visitors = [opened(app), opened(app)]
    for visitor in visitors:
        visitor.get_by_label("Epochs").fill("90")  # until it is stopped, however busy the machine
        visitor.get_by_label("Batch size").fill("1")
    for visitor in visitors:
        visitor.locator("#start").dispatch_event("click")  # at once
    states = (".state.running", ".state.queued")
    first, second = eventually(  # whichever came first
        lambda: next((pair for pair in (visitors, visitors[::-1]) if all(map(shows, pair, states))), None)
    )
    assert "Waiting in the queue: next." in second.locator("#run-panel").inner_text()
    first.locator("#stop").click()
    first.wait_for_selector(".state.stopped")
    second.wait_for_selector(".state.running")
    second.locator("#stop").click()
    second.wait_for_selector(".state.stopped")
    names = {visitor.locator(".run .head strong").inner_text() for visitor in visitors}
    assert len(names) == 2


def shows(page: Any, selector: str) -> bool:
    return page.locator(selector).is_visible()


def test_with_nobody_watching_runs_go_on_and_whoever_comes_back_sees_all_of_them(
    start_app: Callable, opened: Callable, eventually: Callable
) -> None:
    app = start_app()
    client = app.client()
    first = opened(app)
    first.get_by_label("Epochs").fill("90")
    first.get_by_label("Batch size").fill("2")
    first.locator("#start").click()
    first.wait_for_selector(".state.running")
    second = opened(app)
    second.wait_for_selector(".state.running")
    (run,) = client.predict(api_name="/list_runs")
    following = client.predict({"max_steps": 5, "max_documents": 50}, api_name="/start_run")["run"]
    eventually(lambda: status(client, run["run"])["step"] >= 15)  # of a curve with a few points
    for visitor in (first, second):
        visitor.close()
    client.predict(run["run"], api_name="/stop_run")
    eventually(lambda: status(client, run["run"])["state"] in OVER and status(client, following)["state"] in OVER, 300)
    assert [status(client, each)["state"] for each in (run["run"], following)] == ["stopped", "completed"]

    tabs = [opened(app), opened(app)]
    for tab in tabs:
        tab.locator("#run-picker input").click()
        tab.get_by_role("option").nth(1).click()
        tab.wait_for_function("name => document.querySelector('.run .head strong').innerText === name", arg=run["name"])
    eventually(lambda: curves(tabs[0]) == curves(tabs[1]) and sum("L" in line for line in curves(tabs[0])) >= 2)
    tabs[0].reload()
    tabs[0].wait_for_selector(".state.completed")  # of the newest


def test_a_page_whose_server_does_not_answer_says_so_and_goes_on_when_it_does(
    session_app: Any, opened: Callable
) -> None:
    page = opened(session_app)
    page.route("**/news?*", lambda route: route.abort())
    page.get_by_role("status").get_by_text("The server does not answer.").wait_for()
    page.unroute("**/news?*")
    page.wait_for_function("document.querySelector('#unanswered').textContent === ''")


def test_a_space_that_is_shut_down_saves_its_run_and_goes_on_with_it_when_it_comes_back(
    start_app: Callable, endless: dict[str, Any], eventually: Callable
) -> None:
    space = {"SPACE_ID": "somebody/studio", "MASK_STUDIO_SHARED_RUNS": "1", "MASK_STUDIO_AUTO_RESUME": "1"}
    app = start_app(**space)
    client = app.client()
    run = client.predict(endless, api_name="/start_run")["run"]
    waiting = client.predict({"max_steps": 2}, api_name="/start_run")["run"]
    eventually(lambda: status(client, run)["step"] > 5)

    def trains() -> bool:
        now = status(client, run)
        return now["state"] == "running" and now["phase"] == "Training"

    for _ in range(3):  # a busy machine gets more tries
        asked = time.monotonic()
        app.process.send_signal(signal.SIGTERM)
        assert app.process.wait(60) == 0
        seconds = time.monotonic() - asked
        app = start_app(**space)
        client = app.client()
        eventually(trains)
        if saved := seconds < 10 and any((app.home / run / "checkpoints").glob("step-*")):
            break
    assert saved, seconds
    assert status(client, run)["step"] > 5
    assert status(client, waiting)["state"] == "queued"
    client.predict(run, api_name="/stop_run")
    eventually(lambda: status(client, waiting)["state"] in OVER)
    assert status(client, waiting)["state"] == "completed"
