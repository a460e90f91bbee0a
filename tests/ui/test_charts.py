"""Curves and words: what the eye must not be told wrong."""

from __future__ import annotations

import pytest

from trainer.ui import charts


@pytest.mark.parametrize(
    ("token", "word"),
    [
        (" spiral", "spiral"),
        ("\n", "(space)"),
        ("", "(nothing)"),
        ("\ufffd", "(part of a character)"),
        ("a\ufffd", "a\\ufffd"),
        (" 은하", "은하"),
        ("a\x07", "a\\u0007"),
    ],
)
def test_tokens_are_readable(token: str, word: str) -> None:
    assert charts.readable(token) == word


def test_a_long_curve_is_thinned_without_losing_its_spike() -> None:
    curve = [(step, 100.0 if step == 7_777 else 1.0) for step in range(10_000)]
    thin = charts.thinned(curve)
    assert len(thin) <= 2 * charts.BINS and (7_777, 100.0) in thin
    assert [step for step, _ in thin] == sorted(step for step, _ in thin)
    assert charts.thinned(curve[:10]) == curve[:10]


def test_smoothing_starts_at_the_first_value_and_keeps_a_level_line_level() -> None:
    assert charts.smoothed([(1, 5.0), (2, 5.0)]) == [(1, pytest.approx(5.0)), (2, pytest.approx(5.0))]
    assert charts.smoothed([]) == []
