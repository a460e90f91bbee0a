"""When the curves of a run are drawn anew."""

from __future__ import annotations

from itertools import pairwise

from trainer.ui.live_view import drawings


def test_the_curves_of_a_short_run_are_drawn_every_two_seconds() -> None:
    assert [drawings(seconds) for seconds in (0, 1.9, 2, 3.9, 4, 599)] == [1, 1, 2, 2, 3, 300]


def test_the_curves_of_a_long_run_are_drawn_whenever_it_grew_by_a_three_hundredth() -> None:
    drawn = [second for second in range(600, 86_400) if drawings(second) > drawings(second - 1)]
    assert all(1 < after - before <= 1 + before / 298 for before, after in pairwise(drawn)) and len(drawn) < 1500
