"""Runs as data frames for Gradio's plots, and tokens as words."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from trainer.runs.history import RunView
from trainer.runs.names import name_of

RAW, SMOOTHED, HELD_OUT, BEFORE = "training", "smoothed", "held out", "before training"
COLORS = {RAW: "#94a3b8", SMOOTHED: "#4f6bed", HELD_OUT: "#e8590c", BEFORE: "#0f9488"}
# Okabe and Ito's, and two more: apart for every kind of colour blindness, on light and dark ground.
RUN_COLORS = {
    "blue": "#0072b2", "vermilion": "#d55e00", "green": "#009e73", "pink": "#cc79a7",
    "orange": "#e69f00", "sky": "#56b4e9", "violet": "#780fff", "lilac": "#b45aff",
}  # fmt: skip
SMOOTHING = 0.85  # weight of the past in the smoothed curve
BINS = 150  # a curve keeps the lowest and the highest point of each


def loss_frame(view: RunView) -> pd.DataFrame:
    """Columns step, loss, curve: training raw and smoothed, held out; see `_frame` for the rows without a loss."""
    raw = [(p["step"], p["loss"]) for p in view.points if p["loss"] is not None]
    held_out = [(e["step"], e["loss"]) for e in view.evaluations]
    return _frame(view, "loss", {RAW: thinned(raw), SMOOTHED: thinned(smoothed(raw)), HELD_OUT: held_out})


def perplexity_frame(view: RunView) -> pd.DataFrame:
    """Columns step, perplexity, curve: held out, and the value before training as a level line; see `_frame`."""
    held_out = [(e["step"], e["perplexity"]) for e in view.evaluations if e["perplexity"] is not None]
    level = [] if view.perplexity_before is None else [(step, view.perplexity_before) for step in (0, _end(view))]
    return _frame(view, "perplexity", {HELD_OUT: held_out, BEFORE: level})


def _frame(view: RunView, y: str, curves: dict[str, list[tuple[int, float]]]) -> pd.DataFrame:
    """Rows with a value for each point, and some without, from which the chart learns all its curves and steps at once.

    Gradio's chart takes its colours when it is made, and where `x_lim` changes it shows the values before (6.31).
    """
    rows: list[tuple[int, float | None, str]] = [(0, None, curve) for curve in curves]
    rows += [(*point, curve) for curve, points in curves.items() for point in points]
    rows += [(_end(view), None, curve) for curve in curves]
    return pd.DataFrame(rows, columns=["step", y, "curve"])


def _end(view: RunView) -> int:
    return max(view.steps or 0, view.step, 1)


def held_out_frame(views: Sequence[RunView], y: str) -> pd.DataFrame:
    """Columns step, `y` (loss or perplexity), run, colour (a key of `RUN_COLORS`): the held-out curves of several runs.

    Rows without a value, as in `_frame`, name all colours.
    """
    rows: list[tuple[int, float | None, str, str]] = [(0, None, "", colour) for colour in RUN_COLORS]
    rows += [
        (record["step"], record[y], name, colour)
        for name, view, colour in zip(run_names(views), views, RUN_COLORS, strict=False)
        for record in view.evaluations
        if record[y] is not None
    ]
    return pd.DataFrame(rows, columns=["step", y, "run", "colour"])


def run_names(views: Sequence[RunView]) -> list[str]:
    """A name for each run that no other of them has."""
    names = [view.name for view in views]
    own = [f"{n} ({name_of(v.id)})" if names.count(n) > 1 else n for n, v in zip(names, views, strict=True)]
    return [f"{v.name} ({v.id})" if own.count(n) > 1 else n for n, v in zip(own, views, strict=True)]


def smoothed(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """The exponential moving average, corrected for its start (as Adam does for its moments)."""
    average, weight, curve = 0.0, 0.0, []
    for step, loss in points:
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        weight = SMOOTHING * weight + (1 - SMOOTHING)
        curve.append((step, average / weight))
    return curve


def thinned(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most two points a bin, its lowest and its highest, so that no spike is lost."""
    if len(points) <= 2 * BINS:
        return list(points)
    kept = []
    for number in range(BINS):
        part = points[len(points) * number // BINS : len(points) * (number + 1) // BINS]
        kept += sorted({min(part, key=lambda p: p[1]), max(part, key=lambda p: p[1])})
    return kept


def readable(token: str) -> str:
    """A token without its leading space; what can't be seen is spelled out."""
    word = token.strip()
    if not word:
        return "(space)" if token else "(nothing)"
    if not word.strip("\ufffd"):
        return "(part of a character)"
    return "".join(c if c.isprintable() and c != "\ufffd" else f"\\u{ord(c):04x}" for c in word)
