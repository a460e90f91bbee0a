"""Publishing and the code behind the button, on the page: a real browser before a real page, a local Hub behind it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hub.local_hub import LocalHub
from trainer.config import TrainConfig
from trainer.events import Evaluated, Finished, encode
from trainer.presets import BUNDLED_MODEL

pytestmark = pytest.mark.slow

RUN = "20260101-120000-quiet-otter"
TOKEN = "hf_write_of_alice"
LEFT_LYING = "hf_of_whoever_started_the_page"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A Hub of its own; pages that are started now know no other."""
    server = LocalHub()
    for name, value in (("HF_ENDPOINT", server.url), ("HF_HUB_OFFLINE", "0"), ("HF_HUB_DISABLE_XET", "1")):
        monkeypatch.setenv(name, value)
    yield server
    server.close()


@pytest.fixture
def app(hub: Any, tmp_path: Path, start_app: Callable[[], Any]) -> Any:
    """A page with one finished run."""
    folder = tmp_path / "page-home" / RUN
    shutil.copytree(BUNDLED_MODEL, folder / "model")
    (folder / "config.json").write_text(TrainConfig().to_json(), encoding="utf-8")
    told = [
        Evaluated(step=0, epoch=0.0, loss=4.0, perplexity=54.6, accuracy=0.3, masked_tokens=99, best=True),
        Finished(reason="completed", step=0, elapsed_seconds=1.0, model="model"),
    ]
    (folder / "events.jsonl").write_text("".join(encode(event) + "\n" for event in told), encoding="utf-8")
    return start_app(HUGGING_FACE_HUB_TOKEN=LEFT_LYING)


@pytest.fixture
def tab(app: Any, opened: Callable) -> Any:
    return opened(app, height=1400)


def test_a_model_is_published_after_a_failure_and_a_retry(
    tab: Any, hub: Any, app: Any, tmp_path: Path, eventually: Callable
) -> None:
    tab.locator("#publish-panel").get_by_text("Publish this model").click()
    assert tab.locator("#hub-name input, #hub-name textarea").first.input_value() == "mask-studio-quiet-otter"
    assert "cc-by-sa-4.0" in tab.locator("#hub-licence input").input_value()  # follows from the bundled model
    tab.locator("#publish").click()
    tab.get_by_text("You are not signed in").first.wait_for()

    hub.fail("create", times=1, status=403)
    tab.locator("#hub-token input").fill(TOKEN)
    tab.locator("#publish").click()
    tab.locator("#hub-status .failure").wait_for()
    assert "Trained, but the upload failed. This token may not write" in tab.locator("#hub-status").inner_text()
    eventually(lambda: tab.locator("#publish").inner_text() == "Retry")

    tab.locator("#publish").click()
    link = tab.locator("#hub-status a")
    link.wait_for()
    assert link.inner_text() == "alice/mask-studio-quiet-otter"
    assert link.get_attribute("href") == f"{hub.url}/alice/mask-studio-quiet-otter"
    repository = hub.repos["alice/mask-studio-quiet-otter"]
    assert repository.private and b"license: cc-by-sa-4.0" in repository.files["README.md"]

    tab.reload()
    tab.wait_for_selector("#start:visible")
    tab.locator("#publish-panel").get_by_text("Publish this model").click()
    tab.locator("#hub-status a").wait_for()
    assert tab.locator("#hub-token input").input_value() == ""
    kept = [path for path in tmp_path.rglob("*") if path.is_file()] + [app.log]
    assert not [path for path in kept if TOKEN.encode() in path.read_bytes()]
    started = eventually(lambda: descendants(app.process.pid))
    for pid in started:
        told = Path(f"/proc/{pid}/environ").read_bytes() + Path(f"/proc/{pid}/cmdline").read_bytes()
        assert TOKEN.encode() not in told and LEFT_LYING.encode() not in told
    assert TOKEN.encode() not in Path(f"/proc/{app.process.pid}/cmdline").read_bytes()


def descendants(pid: int) -> list[int]:
    """The processes that a process has started, and those that these have."""
    children = [
        int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()
    ]
    return children + [further for child in children for further in descendants(child)]


def test_the_code_behind_the_button_follows_the_form(tab: Any, eventually: Callable) -> None:
    tab.locator("#code-panel").get_by_text("Show the code").click()
    code = tab.locator("#code-panel .cm-content").first
    eventually(lambda: "load_dataset(" in code.inner_text())  # the editor draws what is in view alone
    tab.get_by_label("Epochs").fill("9")
    tab.get_by_label("Epochs").blur()
    tab.locator("#code-panel").get_by_role("tab", name="Settings as JSON").click()
    shown = tab.locator("#code-panel .cm-content:visible")
    eventually(lambda: '"num_train_epochs": 9' in shown.inner_text())
    assert '"dataset": "bundled"' in shown.inner_text()
    tab.locator("#code-panel").get_by_role("tab", name="Shell command").click()
    eventually(lambda: "--num-train-epochs 9" in tab.locator("#code-panel .cm-content:visible").inner_text())
