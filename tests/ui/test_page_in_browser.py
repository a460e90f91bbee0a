"""The page in a real Chromium, as a visitor meets it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def tab(session_app: Any, opened: Callable) -> Any:
    """The page freshly opened."""
    return opened(session_app)


def points(page: Any) -> int:
    """How many points the loss chart's curves have: the corners of their paths."""
    paths = page.locator("#loss-chart path.line").evaluate_all("all => all.map(p => p.getAttribute('d'))")
    return sum(path.count("L") + path.count("M") for path in paths if path)


def test_train_reload_stop_try(tab: Any, eventually: Callable) -> None:
    tab.get_by_label("Epochs").fill("40")
    tab.get_by_label("Batch size").fill("2")
    tab.locator("#start").click()
    tab.wait_for_selector(".state.running")
    eventually(lambda: points(tab) >= 4)
    earlier = points(tab)
    eventually(lambda: points(tab) > earlier)  # it grows while the run goes on
    assert "no GPU found" in tab.locator("#run-panel").inner_text() or tab.locator(".device").inner_text()
    name, seen = tab.locator(".run .head strong").inner_text(), points(tab)
    tab.get_by_role("button", name="Start another").wait_for()  # which would wait for this one

    tab.reload()
    tab.wait_for_selector(".state.running")
    assert tab.locator(".run .head strong").inner_text() == name
    eventually(lambda: points(tab) >= seen)

    tab.locator("#stop").click()
    tab.wait_for_selector(".state.stopped")
    tab.get_by_role("button", name="Start", exact=True).wait_for()
    assert "Perplexity" in tab.locator(".numbers").inner_text()
    tab.get_by_role("tab", name="Fill the mask").click()
    tab.locator("#fill-mode").get_by_text("Compare", exact=True).click()
    tab.wait_for_selector("#compare:visible")
    tab.get_by_role("tab", name="Fine-tune").click()
    tab.locator("#try-model").click()  # whatever was done there before
    tab.wait_for_selector("#fill:visible")
    assert name in tab.locator("#fill-model input").input_value()
    tab.wait_for_selector("#bars-1")  # it answers at once
    assert tab.locator("#bars-1 li").count() == 5
    tab.locator("#fill-model input").fill("bundled")
    tab.locator("#fill-model input").press("Enter")
    tab.wait_for_selector("#bars .empty")  # it was not the bundled model's answer


def test_two_masks_get_two_charts_and_a_table(tab: Any) -> None:
    tab.get_by_role("tab", name="Fill the mask").click()
    tab.locator("#sentence textarea").fill("The <mask> orbits the [MASK].")
    tab.locator("#fill").click()
    tab.wait_for_selector("#bars-2")
    assert tab.locator(".filled mark").count() == 2
    tab.get_by_text("The same as a table").click()
    tab.wait_for_selector("table:visible")
    assert "sentence" in tab.locator("table:visible").first.inner_text()


def test_a_sentence_without_a_mask_is_told_what_to_do(tab: Any) -> None:
    tab.get_by_role("tab", name="Fill the mask").click()
    tab.locator("#sentence textarea").fill("Nothing to guess.")
    tab.locator("#fill").click()
    tab.get_by_text("Put <mask> where a word is to be guessed.").wait_for()


def test_a_learning_rate_of_five_is_told_its_limits(tab: Any) -> None:
    tab.get_by_label("Learning rate").fill("5")
    tab.locator("#start").click()
    tab.get_by_text("Learning rate is 5.0; it must be between 1e-07 and 0.01.").wait_for()
    assert tab.locator("#start").is_visible()


def test_markup_in_a_sentence_stays_text(tab: Any) -> None:
    tab.get_by_role("tab", name="Fill the mask").click()
    tab.locator("#sentence textarea").fill("<img src=x onerror='window.hurt=1'> is a <mask>.")
    tab.locator("#fill").click()
    tab.wait_for_selector(".filled")
    assert "<img src=x" in tab.locator(".filled").inner_text()
    assert tab.evaluate("window.hurt") is None


def test_pasted_text_is_trained_on(tab: Any) -> None:
    tab.get_by_label("Paste text").check()
    tab.locator("#pasted textarea").fill("\n\n".join(f"Stone {n} rolls down hill {n * 7}." for n in range(60)))
    tab.get_by_label("Epochs").fill("1")
    tab.locator("#start").click()
    tab.wait_for_selector(".state.completed")


def test_an_earlier_run_is_shown_again_when_picked(tab: Any) -> None:
    tab.wait_for_selector("#run-picker input")
    newest = tab.locator(".run .head strong").inner_text()
    tab.locator("#run-picker input").click()
    tab.get_by_role("option").nth(1).click()
    tab.wait_for_function("name => document.querySelector('.run .head strong').innerText !== name", arg=newest)


def upload(tab: Any, path: Path, text: str) -> None:
    path.write_text(text)
    tab.get_by_label("My file").check()
    tab.locator("input[type=file]").set_input_files(path)
    tab.locator(".file-preview").get_by_label(path.name).wait_for()
    tab.get_by_label("Epochs").fill("1")
    tab.locator("#start").click()


def test_an_uploaded_file_is_trained_on(tab: Any, tmp_path: Path) -> None:
    upload(tab, tmp_path / "stones.txt", "\n\n".join(f"Stone {n} lies on hill {n * 3}." for n in range(60)))
    tab.wait_for_selector(".state.running")
    tab.wait_for_selector(".state.completed")


def test_a_preview_shows_what_was_understood_and_a_block_as_the_model_sees_it(tab: Any) -> None:
    tab.locator("#look").click()
    tab.wait_for_selector("#preview .figures")
    assert "350" in tab.locator("#preview .figures").inner_text()
    assert tab.locator("#preview .block .tok.hidden").count() > 5
    tab.locator("#preview:not(.stale)").wait_for()
    tab.get_by_label("Epochs").fill("2")
    tab.locator("#preview.stale").wait_for()  # it told of other epochs
    tab.locator("#look").click()
    tab.wait_for_selector("#preview:not(.stale) .figures")


def test_an_empty_file_is_refused(tab: Any, tmp_path: Path) -> None:
    upload(tab, tmp_path / "empty.txt", "")
    tab.get_by_text("The file 'empty.txt' is empty.").first.wait_for()


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_sticks_out_of_the_window(tab: Any, width: int) -> None:
    tab.set_viewport_size({"width": width, "height": 844})
    for name in ("Fill the mask", "Fine-tune"):
        tab.get_by_role("tab", name=name).click()
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
