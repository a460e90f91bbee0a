"""Curves and words: what the eye must not be told wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from trainer.config import TrainConfig
from trainer.events import Evaluated
from trainer.runs.folder import RunFolder
from trainer.runs.history import RunReader
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


def test_every_drawing_names_all_curves_and_reaches_the_last_step(tmp_path: Path) -> None:
    """A chart that exists takes up neither new colours nor new limits, so the first values bring all of them."""
    folder = RunFolder(tmp_path / "20260101-000000-quiet-otter")
    folder.write_config(TrainConfig())
    folder.append(Evaluated(step=0, epoch=0.0, loss=3.0, perplexity=20.1, accuracy=0.3, masked_tokens=9, best=True))
    view = replace(RunReader(folder).read(), steps=30)
    for frame, curves in (
        (charts.loss_frame(view), [charts.RAW, charts.SMOOTHED, charts.HELD_OUT]),
        (charts.perplexity_frame(view), [charts.HELD_OUT, charts.BEFORE]),
    ):
        assert list(frame["curve"].unique()) == curves
        assert frame["step"].min() == 0 and frame["step"].max() == 30
    compared = charts.held_out_frame([view, view], "loss")
    assert set(compared["colour"]) == set(charts.RUN_COLORS)
    assert compared.dropna()["colour"].nunique() == 2
