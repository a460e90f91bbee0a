"""The second tab in a real Chromium: what a visitor clicks, types and downloads."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

SENTENCE = "The Milky Way is a <mask> galaxy."


@pytest.fixture
def tab(session_app: Any, opened: Any) -> Any:
    """The second tab freshly opened."""
    page = opened(session_app)
    page.get_by_role("tab", name="Fill the mask").click()
    page.wait_for_selector(".filled .gap")
    return page


def field(tab: Any) -> Any:
    return tab.locator("#sentence textarea")


def wait_for_text(tab: Any, text: str) -> None:
    tab.wait_for_function("text => document.querySelector('#sentence textarea').value === text", arg=text)


def choose(tab: Any, mode: str, button: str) -> None:
    tab.locator("#fill-mode").get_by_text(mode, exact=True).click()
    tab.wait_for_selector(f"{button}:visible")


def bars(tab: Any, number: int = 1) -> list[str]:
    return tab.locator(f"#bars-{number} .word bdi").all_inner_texts()


def test_a_click_on_a_word_hides_it_and_another_shows_it_again(tab: Any) -> None:
    tab.locator(".filled .word", has_text="galaxy").click()
    wait_for_text(tab, "The Milky Way is a <mask> <mask>.")
    tab.wait_for_selector("#bars-2")  # it asked by itself
    assert tab.locator(".filled .gap small").inner_text() == "galaxy"
    tab.get_by_role("button", name="show “galaxy” again").click()
    wait_for_text(tab, SENTENCE)


def test_typing_before_a_hidden_word_does_not_lose_it(tab: Any) -> None:
    tab.locator(".filled .word", has_text="galaxy").click()
    wait_for_text(tab, "The Milky Way is a <mask> <mask>.")
    field(tab).press("Home")
    field(tab).press_sequentially("Yes: ")
    tab.get_by_role("button", name="show “galaxy” again").click()
    wait_for_text(tab, f"Yes: {SENTENCE}")


def test_the_mask_button_writes_at_the_cursor_and_keeps_the_focus(tab: Any) -> None:
    field(tab).fill("The sun is hot.")
    tab.evaluate("document.querySelector('#sentence textarea').setSelectionRange(10, 10)")
    tab.locator("[data-insert]").click()
    wait_for_text(tab, "The sun is <mask> hot.")
    tab.keyboard.type("!")
    wait_for_text(tab, "The sun is <mask>! hot.")


def test_the_mask_button_replaces_a_selected_word(tab: Any) -> None:
    field(tab).fill("The sun is hot.")
    field(tab).focus()
    tab.evaluate("document.querySelector('#sentence textarea').setSelectionRange(4, 8)")  # with the space behind
    tab.locator("[data-insert]").click()
    wait_for_text(tab, "The <mask> is hot.")
    tab.get_by_role("button", name="show “sun” again").click()
    wait_for_text(tab, "The sun is hot.")


def test_a_click_on_a_bar_fills_its_word_in(tab: Any) -> None:
    tab.locator("#fill").click()
    tab.wait_for_selector("#bars-1")
    words = bars(tab)
    assert len(words) == len(set(words)) == 5
    tab.locator("#bars-1 button").nth(1).click()
    wait_for_text(tab, SENTENCE.replace("<mask>", words[1]))
    tab.locator("#bars-1 button").nth(2).click()  # another one in its place
    wait_for_text(tab, SENTENCE.replace("<mask>", words[2]))
    assert tab.locator("#bars-1 .chosen .word").all_inner_texts() == [words[2]]
    tab.get_by_role("button", name="hide it again").click()
    wait_for_text(tab, SENTENCE)


def test_everything_is_done_from_the_keyboard_alone(tab: Any) -> None:
    field(tab).focus()
    tab.keyboard.press("Enter")
    tab.wait_for_selector("#bars-1")
    word = bars(tab)[0]
    for _ in range(40):
        tab.keyboard.press("Tab")
        if tab.evaluate("document.activeElement.closest('#bars-1') !== null"):
            break
    label = tab.evaluate("document.activeElement.getAttribute('aria-label')")
    assert label.startswith(f"{word}, ") and "%" in label
    tab.keyboard.press("Enter")
    wait_for_text(tab, SENTENCE.replace("<mask>", word))


def test_two_masks_are_filled_together_by_one_click(tab: Any) -> None:
    tab.locator("[data-example]", has_text="fifty states").click()
    tab.wait_for_selector("#together button")
    tab.wait_for_selector("#bars-2")
    first, second = tab.locator("#together .word").first.inner_text().split(" · ")
    assert tab.locator(".filled mark").all_inner_texts() == [first, second]
    tab.locator("#together button").first.click()
    wait_for_text(tab, f"The United {first} of {second} has fifty states.")


def test_only_given_words_are_ranked_however_long(tab: Any) -> None:
    tab.get_by_role("button", name="Options").click()
    tab.locator("#targets input, #targets textarea").fill("spiral, giant, lenticular")
    tab.locator("#fill").click()
    tab.wait_for_selector("#bars-1 .remark")
    assert sorted(word.split()[0] for word in bars(tab)) == ["giant", "lenticular", "spiral"]
    tab.get_by_text("The same as a table").click()
    tab.wait_for_selector("table:visible")
    assert "pieces" in tab.locator("table:visible").first.inner_text()


def test_a_long_text_is_said_to_be_read_in_windows(tab: Any) -> None:
    field(tab).fill("The sun is hot. " * 400 + SENTENCE)
    tab.locator("#fill").click()
    tab.wait_for_selector("#bars-1")
    assert "windows of" in tab.locator("#bars .note").inner_text()
    assert len(tab.locator(".filled").inner_text()) < 1_000


@pytest.mark.parametrize("text", ["은하는 <mask> 아름답다.", "銀河は[MASK]です。", "المجرة ___ جميلة 🌌"])
def test_other_scripts_are_read_and_shown(tab: Any, text: str) -> None:
    field(tab).fill(text)
    tab.locator("#fill").click()
    tab.wait_for_selector("#bars-1")
    assert tab.locator("#bars-1 li").count() == 5
    words = re.split(r"<mask>|\[MASK\]|___", text)
    assert words[0].strip() in tab.locator(".filled").inner_text()


def test_two_models_share_a_chart(tab: Any, session_app: Any, eventually: Any) -> None:
    client = session_app.client()
    run = client.predict({"max_steps": 2, "max_documents": 20}, api_name="/start_run")["run"]
    eventually(lambda: client.predict(run, api_name="/run_status")["state"] == "completed")
    choose(tab, "Compare", "#compare")
    assert "bundled" in tab.locator("#fill-before input").input_value()
    assert tab.locator("#fill-after input").input_value()
    tab.locator("#compare").click()
    tab.wait_for_selector("#compared #bars-1")
    assert tab.locator("#compared #bars-1 button").first.locator(".track").count() == 2
    assert re.search("[▲▼=]|new|gone", tab.locator("#compared .remark").first.inner_text())
    assert tab.locator("#compared .numbers .value").count() == 2


def test_surprisal_colours_every_word_in_the_unit_chosen(tab: Any) -> None:
    choose(tab, "Surprisal", "#measure")
    tab.locator("#measure").click()
    tab.wait_for_selector(".coloured .token")
    nats = float(tab.locator("#surprisal .value").first.inner_text().split()[0])
    tab.locator("#unit").get_by_text("bits").click()
    tab.get_by_text("bits or more").wait_for()
    bits = float(tab.locator("#surprisal .value").first.inner_text().split()[0])
    assert bits == pytest.approx(nats * 1.4427, rel=0.01)
    field(tab).press("Home")
    field(tab).press_sequentially("Yes: ")
    tab.locator(".token", has_text="galaxy").click()  # it stands elsewhere now
    for _ in "Yes: ":
        field(tab).press("Backspace")
    wait_for_text(tab, SENTENCE)
    tab.locator(".token", has_text="galaxy").click()  # what was expected there?
    wait_for_text(tab, "The Milky Way is a <mask> <mask>.")
    tab.wait_for_selector("#bars-2")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read_on_the_strongest_colour(tab: Any, theme: str) -> None:
    tab.goto(f"{tab.url.split('?')[0]}?__theme={theme}")
    tab.get_by_role("tab", name="Fill the mask").click()
    choose(tab, "Surprisal", "#measure")
    tab.locator("#measure").click()
    tab.wait_for_selector(".coloured .token")
    ratio = tab.evaluate("""() => {
        const canvas = Object.assign(document.createElement('canvas'), {width: 1, height: 1}).getContext('2d');
        const luminance = (...colours) => {
            for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
            const linear = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
            const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map(linear);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const background = selector => getComputedStyle(document.querySelector(selector)).backgroundColor;
        const behind = luminance(background('gradio-app'), background('.scale .steps span:last-child'));
        const text = luminance(getComputedStyle(document.querySelector('.token')).color);
        return (Math.max(behind, text) + 0.05) / (Math.min(behind, text) + 0.05);
    }""")
    assert ratio >= 4.5  # WCAG AA


def test_a_file_of_sentences_is_answered_and_downloaded(tab: Any, tmp_path: Path) -> None:
    file = tmp_path / "sentences.csv"
    file.write_text("id,sentence\n1,=Ice is frozen <mask>.\n2,Nothing here\n3,Wood comes from [MASK].\n")
    choose(tab, "Many sentences", "#fill-file")
    tab.locator("#fill-file").click()
    tab.get_by_text("No file was chosen.").first.wait_for()
    tab.locator("#sentences input[type=file]").set_input_files(file)
    tab.wait_for_selector("#sentences a[download]")
    tab.locator("#fill-file").click()
    tab.wait_for_selector("#download-csv:visible")
    assert "3 of 3 sentences" in tab.locator("#file-progress").inner_text()
    saved = {}
    for name in ("csv", "jsonl"):
        with tab.expect_download() as download:
            tab.locator(f"#download-{name}").click()
        saved[name] = Path(download.value.path()).read_text(encoding="utf-8-sig")
    rows = [json.loads(line) for line in saved["jsonl"].splitlines()]
    assert [row["number"] for row in rows] == [1] * 5 + [2] + [3] * 5
    assert rows[5]["error"] and rows[0]["sentence"] == "=Ice is frozen <mask>."
    table = list(csv.DictReader(saved["csv"].splitlines()))
    assert len(table) == len(rows) and table[0]["sentence"] == "'=Ice is frozen <mask>."  # no formula


def test_of_many_answers_the_first_are_shown(tab: Any, tmp_path: Path) -> None:
    (tmp_path / "sentences.txt").write_text("The <mask> of the <mask> is hot.\n" * 70)
    choose(tab, "Many sentences", "#fill-file")
    tab.locator("#sentences input[type=file]").set_input_files(tmp_path / "sentences.txt")
    tab.wait_for_selector("#sentences a[download]")
    tab.locator("#fill-file").click()
    tab.wait_for_selector("#download-csv:visible")
    assert "The <mask> of the <mask> is hot." in tab.locator("#file-answers").inner_text()


@pytest.mark.parametrize(
    "text",
    [
        "<img src=x onerror='window.__xss=1'> is a <mask>.",
        "**bold** [link](javascript:window.__xss=1) <mask> <script>window.__xss=1</script>",
        "${window.__xss=1} {{constructor}} `${window.__xss=1}` \\ <mask>",
        "\u202eright to left\u0007 <mask> \u0000 </textarea><svg onload=window.__xss=1>",
    ],
)
def test_markup_is_never_run_in_any_mode(tab: Any, text: str) -> None:
    field(tab).fill(text)
    tab.locator("#fill").click()
    tab.wait_for_selector("#bars-1")
    tab.locator(".filled .word").first.click()
    tab.wait_for_selector("#bars-2")
    tab.get_by_role("button", name=re.compile("again$")).first.click()
    choose(tab, "Surprisal", "#measure")
    tab.locator("#measure").click()
    tab.wait_for_selector(".coloured .token")
    choose(tab, "Compare", "#compare")
    tab.locator("#fill-after input").fill(text)
    tab.locator("#fill-after input").press("Enter")
    tab.locator("#compare").click()
    tab.get_by_text("it must be 'bundled'").first.wait_for()
    assert tab.evaluate("window.__xss") is None
    assert tab.locator(".fill-mask img, .fill-mask script").count() == 0


@pytest.mark.parametrize(("text", "said"), [("<mask> " * 10_000, "at most"), ("x" * 1_000_000, "at most 50,000")])
def test_too_much_gets_a_sentence(tab: Any, text: str, said: str) -> None:
    field(tab).fill(text)
    tab.locator("#fill").click()
    tab.get_by_text(said).first.wait_for()


def test_on_a_phone_field_and_button_are_seen_without_scrolling(tab: Any) -> None:
    tab.set_viewport_size({"width": 390, "height": 844})
    for selector in ("#sentence textarea", "#fill"):
        box = tab.locator(selector).bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= 844
    tab.locator("#fill").click()
    tab.wait_for_selector("#bars-1")
    assert tab.locator("#bars-1 button").first.bounding_box()["height"] >= 44  # a fingertip
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
