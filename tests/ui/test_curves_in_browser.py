"""A chart in a real Chromium: what it tells, how it is enlarged, what is saved of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from trainer.config import TrainConfig
from trainer.events import Evaluated, Finished, RunStarted
from trainer.runs.folder import RunFolder

pytestmark = pytest.mark.slow

STARTED = RunStarted(device="cpu", device_name="chip", processes=1, threads=2, precision="float32", versions={})
FINISHED = Finished(reason="completed", step=20, elapsed_seconds=9.0, model="model")


def evaluated(step: int, loss: float) -> Evaluated:
    return Evaluated(
        step=step, epoch=step / 20, loss=loss, perplexity=10 * loss, accuracy=0.5, masked_tokens=9, best=True
    )


def test_a_chart_tells_its_values_is_enlarged_and_saved_as_a_picture(
    start_app: Callable, opened: Callable, tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path / "page-home" / "20260101-000000-quiet-otter")
    folder.write_config(TrainConfig())
    for event in (STARTED, evaluated(0, 5.0), evaluated(20, 4.0), FINISHED):
        folder.append(event)
    tab = opened(start_app())
    chart = tab.locator("#loss-chart")
    chart.locator("svg").wait_for()
    assert chart.locator("svg").get_attribute("aria-label").startswith("Loss: ")
    assert chart.locator(".tip").is_hidden()
    chart.locator("svg").hover()
    assert "step" in chart.locator(".tip").inner_text() and "held out" in chart.locator("svg").inner_html()
    small = chart.bounding_box()
    chart.get_by_label("Enlarge").click()
    tab.wait_for_function("document.querySelector('#loss-chart svg').clientHeight > 500")
    for _ in range(3):
        tab.keyboard.press("Tab")
        assert tab.evaluate("document.querySelector('#loss-chart').contains(document.activeElement)")
    tab.keyboard.press("Escape")
    tab.wait_for_function("document.querySelector('#loss-chart svg').clientHeight < 500")
    assert chart.bounding_box() == small
    chart.locator("svg").hover()
    with tab.expect_download() as saved:
        chart.get_by_label("Save as a picture").click()
    assert saved.value.suggested_filename == "loss-chart.png"
    assert Path(saved.value.path()).read_bytes().startswith(b"\x89PNG")
