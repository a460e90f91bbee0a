"""Where a run works: what the form offers, what it says of the cost, and that the choice is what happens."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hub.local_hub import LocalHub
from tests.hub.local_jobs import LocalJobs
from trainer.errors import ConfigError
from trainer.jobs.rental import NO_TOKEN, Rental
from trainer.runs.backends import Backends, LocalDevices
from trainer.ui.place_field import PlaceField

PROJECT = Path(__file__).parents[2]
TOKEN = "hf_write_of_alice"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    server = LocalHub()
    server.jobs = LocalJobs(server.url, tmp_path / "jobs")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    yield server
    server.jobs.close()
    server.close()


def test_with_one_gpu_and_no_token_there_is_no_list_but_a_line_that_says_why() -> None:
    field = PlaceField(Backends({"MASK_STUDIO_BACKEND": "process"}), Rental(why_not=NO_TOKEN))
    assert field.choices(()) == [("This machine", "process")]
    assert not field.key.visible and field.note.visible
    assert "HF_TOKEN" in field.only_here()


def test_several_gpus_and_rented_machines_are_offered_with_their_prices(hub: Any) -> None:
    backends, rental = Backends({"MASK_STUDIO_BACKEND": "process"}, TOKEN), Rental(TOKEN, endpoint=hub.url)
    backends.gpus = 4
    field = PlaceField(backends, rental)
    assert field.choices(rental.hardware(patience_seconds=60)) == [
        ("One GPU of this machine", "process"),
        ("All 4 GPUs of this machine", "devices"),
        ("CPU Basic · $0.01 an hour", "job:cpu-basic"),
        ("Nvidia T4 - small · $0.40 an hour", "job:t4-small"),
    ]
    assert "at most $0.50: 60 min of work" in field.about("job:t4-small", None)
    assert "at most $0.17: 10 min of work" in field.about("job:t4-small", 600)
    assert field.about("process", 600) == " "
    limited = PlaceField(backends, rental, usual_seconds=7200.0)  # what the page gives whoever names no time
    assert "at most $0.90: 2.0 h of work" in limited.about("job:t4-small", None)


def test_a_hub_out_of_reach_is_said_in_words(hub: Any) -> None:
    hub.fail("hardware", times=9, status=500)
    rental = Rental(TOKEN, endpoint=hub.url)
    assert rental.hardware(patience_seconds=60) == ()
    assert "has a problem of its own" in rental.why_not()


def test_a_browser_cannot_choose_what_is_not_offered() -> None:
    backends = Backends({"MASK_STUDIO_BACKEND": "process"})
    for key in ("job:t4-small", "devices", "job:", "", None, "../x"):
        with pytest.raises(ConfigError):
            backends.check(key)  # type: ignore[arg-type]
    rich = Backends({"MASK_STUDIO_BACKEND": "process"}, TOKEN)
    assert rich.check("job:t4-small") == "job:t4-small"
    for key in ("job:", "job:T4; rm", "job:-"):
        with pytest.raises(ConfigError):
            rich.check(key)


def test_what_is_usual_is_what_the_environment_names() -> None:
    assert Backends({"MASK_STUDIO_BACKEND": "job"}, TOKEN).usual_key == "job:t4-small"
    named = {"MASK_STUDIO_BACKEND": "job", "MASK_STUDIO_JOB_HARDWARE": "a10g-small"}
    assert Backends(named, TOKEN).usual_key == "job:a10g-small"
    with pytest.raises(ConfigError, match="no HF_TOKEN"):
        Backends(named)
    with pytest.raises(ConfigError, match="MASK_STUDIO_JOB_HARDWARE is 'A 10'"):
        Backends(named | {"MASK_STUDIO_JOB_HARDWARE": "A 10"}, TOKEN)
    several = Backends({"MASK_STUDIO_BACKEND": "process"})
    several.usual, several.gpus = LocalDevices(2), 2
    assert several.usual_key == "devices"


@pytest.mark.slow
def test_a_run_started_on_a_rented_machine_is_shown_there_and_the_token_is_in_no_process_list(
    hub: Any, start_app: Callable[..., Any], opened: Callable, tmp_path: Path, eventually: Callable
) -> None:
    app = start_app(HF_ENDPOINT=hub.url, HF_HUB_OFFLINE="0", HF_HUB_DISABLE_XET="1", HF_TOKEN=TOKEN)
    page = opened(app, height=1400)
    page.locator("#place input").click()
    page.get_by_role("option", name="Nvidia T4").click()
    page.get_by_text("at most $0.50").wait_for()
    page.get_by_label("Epochs").fill("0.1")
    page.locator("#start").click()
    page.wait_for_selector(".state.running")
    seen = 0
    while not page.locator(".state.completed").count():
        for path in Path("/proc").glob("[0-9]*"):
            try:
                command = (path / "cmdline").read_bytes()
                if b"trainer\0remote" in command:
                    seen += 1
                    assert TOKEN.encode() not in command + (path / "environ").read_bytes()
            except OSError:  # ended since
                continue
        assert not page.locator(".failure").count(), page.locator(".failure").inner_text()
        time.sleep(0.2)
    assert seen and len(hub.jobs.jobs) == 1
    page.locator("#try-model").wait_for()
    for path in (path for path in app.home.rglob("*") if path.is_file()):
        assert TOKEN.encode() not in path.read_bytes(), path


SAID = """
import sys
sys.path.insert(0, {project!r})
from trainer.events import Finished, RunStarted, encode
chip = {{"device": "cuda", "device_name": "NVIDIA T4", "precision": "bf16"}}
print(encode(RunStarted(**chip, processes=1, threads=1, versions={{}})))
print(encode(Finished(reason="completed", step=5, elapsed_seconds=5.0, model=None)))
"""


@pytest.mark.slow
def test_a_visitor_of_a_space_rents_with_their_own_token_once_signed_in(
    hub: Any, monkeypatch: pytest.MonkeyPatch, start_app: Callable[..., Any], opened: Callable
) -> None:
    for needed in ("authlib", "itsdangerous"):
        pytest.importorskip(needed, reason="gradio[oauth] is not installed; tests/requirements.txt has it")
    from tests.hub.local_provider import LocalProvider

    hub.tokens["hf_oauth_of_bob"] = ("bob", "write")
    hub.jobs.program = [sys.executable, "-c", SAID.format(project=str(PROJECT))]
    provider = LocalProvider("bob", "hf_oauth_of_bob")
    environment = {"SYSTEM": "spaces", "SPACE_ID": "alice/studio", **provider.environment}
    environment |= {"OAUTH_SCOPES": "openid profile contribute-repos jobs"}
    app = start_app(HF_ENDPOINT=hub.url, HF_HUB_OFFLINE="0", HF_HUB_DISABLE_XET="1", **environment)
    page = opened(app, height=1400)

    def choose_and_start() -> None:
        page.locator("#place input").click()
        page.get_by_role("option", name="Nvidia T4").click()
        page.get_by_text("Sign in to rent it").or_(page.get_by_text("Logout (bob)")).first.wait_for()
        page.locator("#start").click()

    choose_and_start()
    page.get_by_text("A machine is rented by whoever is signed in").first.wait_for()
    assert not hub.jobs.jobs
    page.goto(f"{app.url}login/huggingface")
    page.wait_for_selector("#start:visible")
    choose_and_start()
    page.wait_for_selector(".state.completed")
    (job,) = hub.jobs.jobs
    assert job.owner == "bob" and job.spec["spaceId"] == "alice/studio" and job.spec["command"][0] == "python"
    assert job.spec["secrets"] == {"HF_TOKEN": "hf_oauth_of_bob"}
    provider.close()


@pytest.mark.slow
def test_a_space_that_does_not_ask_for_the_right_says_so(start_app: Callable[..., Any], opened: Callable) -> None:
    page = opened(start_app(SPACE_ID="alice/studio", HF_TOKEN=TOKEN))
    assert "for which this page does not ask" in page.locator(".quiet-note p").inner_text()
    assert not page.locator("#place").is_visible()
