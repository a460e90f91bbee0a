"""Visitors of a public page: each sees and controls their own runs, in the browser and over HTTP."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from trainer.config import TrainConfig
from trainer.events import Evaluated, Finished, encode
from trainer.presets import BUNDLED_MODEL
from trainer.runs.folder import RunFolder
from trainer.runs.ownership import mark_of_key

pytestmark = pytest.mark.slow

KEY, OTHER_KEY = "a" * 48, "b" * 48
RUN, NAME = "20260101-120000-quiet-otter", "Zebra's own"


def finished_run(folder: RunFolder, key: str) -> None:
    """A finished run with a model, a text, a name and a log."""
    text = folder.path.parent / "uploads" / "0" / "zebra.txt"
    text.parent.mkdir(parents=True)
    text.write_text("Some text.", encoding="utf-8")
    folder.write_config(TrainConfig(dataset=str(text)), mark_of_key(key))
    folder.write_label(NAME)
    shutil.copytree(BUNDLED_MODEL, folder.model)
    folder.log.write_text("zebra\n", encoding="utf-8")
    measured = {"epoch": 0.0, "accuracy": 0.3, "masked_tokens": 99, "best": True}
    told = [
        Evaluated(step=0, loss=4.0, perplexity=54.6, **measured),
        Finished(reason="stopped", step=0, elapsed_seconds=1.0, model="model"),
    ]
    folder.events.write_text("".join(encode(event) + "\n" for event in told), encoding="utf-8")


@pytest.fixture(scope="module")
def space(make_app: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A public page with one run, which belongs to the holder of KEY."""
    home = tmp_path_factory.mktemp("space") / "home"
    finished_run(RunFolder(home / RUN), KEY)
    app = make_app(home, SPACE_ID="alice/studio", MASK_STUDIO_HOME=str(home), MASK_STUDIO_MAX_RUNS_PER_VISITOR="1")
    yield app
    app.close()


def refusal(client: Any, *values: Any, api_name: str) -> str:
    with pytest.raises(Exception) as caught:  # the client's own class differs between its versions
        client.predict(*values, api_name=api_name)
    return str(caught.value)


def test_over_http_a_run_is_there_for_its_key_alone(space: Any) -> None:
    client = space.client()
    assert client.predict(RUN, KEY, api_name="/run_status")["name"] == NAME
    assert [run["run"] for run in client.predict(KEY, api_name="/list_runs")] == [RUN]
    assert client.predict("A <mask>.", RUN, 1, KEY, api_name="/fill_mask")
    for keys in ((), (OTHER_KEY,)):
        assert client.predict(*keys, api_name="/list_runs") == []
        assert "There is no run" in refusal(client, RUN, *keys, api_name="/run_status")
        assert "There is no run" in refusal(client, RUN, *keys, api_name="/stop_run")
        assert "There is no run" in refusal(client, "A <mask>.", RUN, 1, *keys, api_name="/fill_mask")
        for name in ("model", "dataset"):
            assert "There is no run" in refusal(client, {name: RUN}, *keys, api_name="/start_run")


def test_who_starts_a_run_without_a_browser_gets_its_key_and_may_have_so_many(space: Any) -> None:
    client = space.client()
    started = client.predict({"max_steps": 4_000, "max_documents": 20}, api_name="/start_run")
    run, key = started["run"], started["key"]
    assert "key" not in client.predict(run, key, api_name="/run_status")
    assert "There is no run" in refusal(client, run, api_name="/run_status")
    assert "1 of your runs is waiting or working" in refusal(client, {}, key, api_name="/start_run")
    assert "not a key" in refusal(client, {}, "guess me", api_name="/start_run")
    assert client.predict(run, key, api_name="/stop_run")["run"] == run


def test_no_handler_of_the_page_does_anything_for_a_stranger(space: Any) -> None:
    """Every handler is callable, hidden or not, with what values one likes: here with another's run in all of them."""
    config = json.load(urllib.request.urlopen(f"{space.url}config"))
    kinds = {component["id"]: component["type"] for component in config["components"]}
    values = {"browserstate": OTHER_KEY, "state": None, "html": [RUN], "textbox": RUN, "checkbox": False}
    folder = RunFolder(space.home / RUN)
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    called = [
        each
        for each in config["dependencies"]
        if each["backend_fn"] and "browserstate" in map(kinds.get, each["inputs"])
    ]
    for dependency in called * 2:  # the first round may have set states that the second one goes by
        data = [values.get(kinds[component], RUN) for component in dependency["inputs"]]
        told = asked(space.url, dependency["id"], data, "stranger")
        assert "zebra" not in told.lower() and f'"{RUN}"' not in told, dependency
    assert len(called) > 20
    looks = [each for each in called if each["targets"][0][1] == "tick"]
    data = {each["id"]: [values.get(kinds[component], RUN) for component in each["inputs"]] for each in looks}
    own = [asked(space.url, number, [KEY, *values[1:]], "owner") for number, values in data.items()]
    assert "zebra" in "".join(own).lower()  # so it is the key that makes the difference
    assert {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()} == before


def asked(url: str, number: int, data: list[Any], session: str) -> str:
    """What a handler answers."""
    body = {"fn_index": number, "data": data, "session_hash": session, "event_data": None, "trigger_id": None}
    request = urllib.request.Request(
        f"{url}gradio_api/queue/join", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(request, timeout=60).close()
    with urllib.request.urlopen(f"{url}gradio_api/queue/data?session_hash={session}", timeout=60) as stream:
        told = []
        for line in stream:
            told.append(line.decode())
            if "process_completed" in told[-1] or "close_stream" in told[-1]:
                break
    return "".join(told)


def test_a_browser_keeps_its_key_and_another_one_sees_nothing(space: Any, opened: Callable[..., Any]) -> None:
    first = opened(space)
    first.get_by_label("Epochs").fill("0.05")
    first.locator("#start").click()
    first.locator("#run-panel .state").wait_for()
    name = first.locator("#run-panel strong").inner_text()
    first.reload()
    first.locator("#run-panel .state").wait_for()
    assert first.locator("#run-panel strong").inner_text() == name

    second = opened(space)
    second.get_by_role("tab", name="Runs").click()
    second.locator("#runs-table .empty").wait_for()
    assert second.get_by_text("No runs yet").is_visible() and not second.get_by_text(name).count()
    first.get_by_role("tab", name="Runs").click()
    first.locator("#runs-table tbody tr").wait_for()
    assert first.locator("#runs-table tbody tr").count() == 1
