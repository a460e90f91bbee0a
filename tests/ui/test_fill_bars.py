"""Answers as bars, tables and HTML: what the eye must not be told wrong, and what the page must not run."""

from __future__ import annotations

import math

import pytest

from trainer.predictions import Candidate, FilledMask, JointFilling, ScoredSentence, ScoredTarget, ScoredToken
from trainer.ui import fill_bars, fill_html
from trainer.ui.words import percent, reading_note

HOSTILE = "<img src=x onerror='window.__xss=1'>\"&${window.__xss=1}"


def mask(*tokens: str, scores: tuple[float, ...] = ()) -> FilledMask:
    scores = scores or (0.1,) * len(tokens)
    pairs = enumerate(zip(tokens, scores, strict=True))
    return FilledMask(tuple(Candidate(score=s, token=n, token_str=t, sequence="s") for n, (t, s) in pairs))


def test_two_tokens_that_look_alike_get_bars_of_their_own() -> None:
    assert [bar.label for bar in fill_bars.mask_bars(mask(" the", "the"), 0)] == ["the", "the (no space)"]
    assert len(set(fill_bars.labels(mask(" a", "a", "a ", " a ", "\ufffd", "\ufffd").candidates))) == 6


def test_bars_are_ordered_by_score_and_ties_keep_their_order() -> None:
    bars = fill_bars.mask_bars(mask(" z", " a", " m", scores=(0.1, 0.3, 0.1)), 0)
    assert [bar.label for bar in bars] == ["a", "z", "m"]


def test_what_cannot_be_seen_cannot_be_filled_in() -> None:
    assert [fill_bars.writable(token) for token in ("\ufffd", "\x07", " ", "", "##ing", " 은하")] == [
        None, None, None, None, ("ing",), (" 은하",),
    ]  # fmt: skip
    assert " disabled" in fill_html.chart("t", fill_bars.mask_bars(mask("\ufffd"), 0))


def test_the_table_twin_has_a_row_for_each_candidate() -> None:
    assert fill_bars.answer_rows([mask(" a", " b"), mask(" c")]) == [
        [1, 1, "a", "10.00%", "s"],
        [1, 2, "b", "10.00%", "s"],
        [2, 1, "c", "10.00%", "s"],
    ]


def test_a_comparison_orders_by_the_second_model_and_marks_what_moved() -> None:
    before, after = mask(" a", " b", " c", " d"), mask(" c", " a", " e")
    words = fill_bars.compared(before, after, 2, same_tokens=True)
    assert [(word.label, word.change) for word in words] == [("c", "▲2"), ("a", "▼1"), ("b", "gone")]
    assert fill_bars.compared(before, mask(" e"), 1, same_tokens=True)[0].change == "new"
    assert fill_bars.compared(mask(" a"), mask("a"), 1, same_tokens=False)[0].change == "="


def test_joint_and_given_words_show_their_probabilities() -> None:
    joint = JointFilling(words=("States", "America"), log_probability=math.log(0.25), pieces=2, sequence="s")
    (bar,) = fill_bars.joint_bars([joint])
    assert (bar.label, bar.shares[0], bar.words) == ("States · America", pytest.approx(0.25), ("States", "America"))
    target = {"pieces": ("a",), "tokens": (1,), "sequence": "s"}
    ranked = [
        ScoredTarget(word="rare", log_probability=-9, score=math.exp(-9), share=0.1, **target),
        ScoredTarget(word="usual", log_probability=-2, score=math.exp(-2), share=0.9, **target),
    ]
    assert [bar.label for bar in fill_bars.target_bars(ranked, 0)] == ["usual", "rare"]
    assert [row[1] for row in fill_bars.target_rows([ranked])] == ["rare", "usual"]  # in the order given


def test_an_axis_starts_at_zero_and_bars_keep_their_proportion() -> None:
    html = fill_html.chart("t", fill_bars.mask_bars(mask(" a", " b", scores=(0.4, 0.1)), 0), number=0)
    assert "width:100.00%" in html and "width:25.00%" in html and "<span>0\u202f%</span>" in html


@pytest.mark.parametrize("hostile", [HOSTILE, "</button><script>window.__xss=1</script>"])
def test_markup_in_text_and_tokens_is_escaped(hostile: str) -> None:
    scored = ScoredSentence(
        tokens=(ScoredToken(hostile, 3.0, 0, len(hostile)),), count=1, nats=3.0, pseudo_perplexity=20.0, windows=1,
        window_tokens=3,
    )  # fmt: skip
    chart = fill_html.chart(hostile, fill_bars.mask_bars(mask(hostile), 0), legend=[hostile])
    for html in (chart, fill_html.coloured(hostile, scored, "nats"), fill_html.note(hostile)):
        assert "<img" not in html and "<script" not in html


def test_bits_are_nats_over_the_logarithm_of_two() -> None:
    assert fill_html.in_unit(math.log(2), "bits") == pytest.approx(1.0)
    assert fill_html.in_unit(1.5, "nats") == 1.5


def test_places_are_counted_as_a_browser_counts() -> None:
    text = "😀 <mask>"
    value = fill_html.sentence_value(text, [FilledMask((), 2, 8)], ["x"])
    assert value["masks"] == [[3, 9]]


def test_a_click_writes_only_what_can_be_written() -> None:
    masks = [FilledMask((), at, at + 6) for at in (0, 7, 14)]
    value = fill_html.sentence_value("<mask> <mask> <mask>", masks, [" sun", "\ufffd", " "])
    assert value["written"] == ["sun", "", ""] and all(value["words"])


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0.412, "41.2"), (1.0, "100.0"), (0.00995, "1.0"), (0.0052, "0.52"), (0.0, "0"), (1e-9, "<\u202f0.001")],
)
def test_percentages_are_short(share: float, shown: str) -> None:
    assert percent(share) == f"{shown}\u202f%"


def test_only_a_text_too_long_is_said_to_be_read_in_windows() -> None:
    assert reading_note(40, 40) == "" and "windows of 512 tokens" in reading_note(512, 3_000)
