"""Curves and words: what the eye must not be told wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from trainer.config import TrainConfig
from trainer.events import Evaluated
from trainer.runs.folder import RunFolder
from trainer.runs.history import RunReader, RunView
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


@pytest.fixture
def view(tmp_path: Path) -> RunView:
    """A run that was evaluated before its first step."""
    folder = RunFolder(tmp_path / "20260101-000000-quiet-otter")
    folder.write_config(TrainConfig())
    folder.append(Evaluated(step=0, epoch=0.0, loss=3.0, perplexity=20.1, accuracy=0.3, masked_tokens=9, best=True))
    return replace(RunReader(folder).read(), steps=30)


def test_a_chart_has_a_curve_of_each_kind_and_reaches_the_last_step(view: RunView) -> None:
    loss, perplexity = charts.loss_chart(view), charts.perplexity_chart(view)
    assert loss["end"] == perplexity["end"] == 30
    assert {curve["name"]: curve["points"] for curve in loss["curves"]} == {
        charts.RAW: [], charts.SMOOTHED: [], charts.HELD_OUT: [(0, 3.0)],
    }  # fmt: skip
    level, held_out = perplexity["curves"]
    assert (level["name"], level["points"]) == (charts.BEFORE, [(0, 20.1), (30, 20.1)])
    assert (held_out["name"], held_out["points"]) == (charts.HELD_OUT, [(0, 20.1)])


def test_a_chart_of_a_long_run_is_sent_as_at_most_1000_points_with_its_spikes(view: RunView) -> None:
    steps = range(100_000)
    points = tuple({"step": step, "loss": 50.0 if step == 77_777 else 2.0} for step in steps)
    evaluations = tuple({"step": step, "loss": 3.0, "perplexity": 20.1} for step in steps[::100])
    long = replace(view, points=points, evaluations=evaluations, steps=100_000)
    for chart in (charts.loss_chart(long), charts.perplexity_chart(long)):
        assert sum(len(curve["points"]) for curve in chart["curves"]) <= 1000
    assert (77_777, 50.0) in charts.loss_chart(long)["curves"][0]["points"]


def test_compared_runs_have_colours_of_their_own_and_a_gap_where_nothing_was_measured(view: RunView) -> None:
    unmeasured = replace(view, evaluations=({"step": 0, "perplexity": None}, {"step": 4, "perplexity": 7.0}))
    chart = charts.held_out_chart([view, unmeasured], "perplexity", "Held-out perplexity", "")
    assert [curve["points"] for curve in chart["curves"]] == [[(0, 20.1)], [(4, 7.0)]]
    diverged = replace(view, evaluations=({"step": 0, "loss": None, "perplexity": None, "best": True},))
    assert not any(curve["points"] for curve in charts.loss_chart(diverged)["curves"])
    assert len({curve["color"] for curve in chart["curves"]}) == 2 and not chart["legend"]
