"""Data frames for plots: what the eye must not be told wrong."""

from __future__ import annotations

import pytest

from trainer.predictions import Candidate, FilledMask
from trainer.ui import charts


def mask(*tokens: str) -> FilledMask:
    return FilledMask(tuple(Candidate(score=0.1, token=n, token_str=t, sequence="s") for n, t in enumerate(tokens)))


def test_two_tokens_that_look_alike_get_bars_of_their_own() -> None:
    assert list(charts.answer_frame(mask(" the", "the"))["word"]) == ["the", "the (no space)"]
    assert len(set(charts.unique_words([" a", "a", "a ", " a "]))) == 4


@pytest.mark.parametrize(
    ("token", "word"),
    [
        (" spiral", "spiral"),
        ("\n", "(space)"),
        ("", "(nothing)"),
        ("\ufffd", "\\ufffd"),
        (" 은하", "은하"),
        ("a\x07", "a\\u0007"),
    ],
)
def test_tokens_are_readable(token: str, word: str) -> None:
    assert charts.readable(token) == word


def test_bars_keep_the_order_of_the_candidates() -> None:
    assert list(charts.answer_frame(mask(" z", " a", " m"))["word"]) == ["z", "a", "m"]


def test_a_long_curve_is_thinned_without_losing_its_spike() -> None:
    curve = [(step, 100.0 if step == 7_777 else 1.0) for step in range(10_000)]
    thin = charts.thinned(curve)
    assert len(thin) <= 2 * charts.BINS and (7_777, 100.0) in thin
    assert [step for step, _ in thin] == sorted(step for step, _ in thin)
    assert charts.thinned(curve[:10]) == curve[:10]


def test_smoothing_starts_at_the_first_value_and_keeps_a_level_line_level() -> None:
    assert charts.smoothed([(1, 5.0), (2, 5.0)]) == [(1, pytest.approx(5.0)), (2, pytest.approx(5.0))]
    assert charts.smoothed([]) == []


def test_the_table_twin_has_a_row_for_each_candidate() -> None:
    assert charts.answer_rows([mask(" a", " b"), mask(" c")]) == [
        [1, 1, "a", "10.00%", "s"],
        [1, 2, "b", "10.00%", "s"],
        [2, 1, "c", "10.00%", "s"],
    ]
