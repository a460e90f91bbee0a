"""Runs as charts of curves, and tokens as words."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import gradio as gr

from trainer.runs.names import name_of
from trainer.runs.view import Record, RunView

Chart = dict[str, Any]  # see assets/curves.js
RAW, SMOOTHED, HELD_OUT, BEFORE = "training", "smoothed", "held out", "before training"
COLORS = {RAW: "#94a3b8", SMOOTHED: "#4f6bed", HELD_OUT: "#e8590c", BEFORE: "#0f9488"}
# Okabe and Ito's, and two more: apart for every kind of colour blindness, on light and dark ground.
RUN_COLORS = {
    "blue": "#0072b2", "vermilion": "#d55e00", "green": "#009e73", "pink": "#cc79a7",
    "orange": "#e69f00", "sky": "#56b4e9", "violet": "#780fff", "lilac": "#b45aff",
}  # fmt: skip
SMOOTHING = 0.85  # weight of the past in the smoothed curve
DRAWN = 'const draw = () => drawCurves(element, props.value); watch("value", draw); draw()'
BINS = 150  # a curve keeps the lowest and the highest point of each
_value = itemgetter(1)  # of a point


def curves(value: list[Chart] | None = None, js_on_load: str = DRAWN) -> gr.HTML:
    """A component for charts of curves, side by side; `assets/curves.js` draws them."""
    return gr.HTML(
        value, html_template='<div class="curves"></div>', js_on_load=js_on_load, apply_default_css=False,
        elem_classes="bare",
    )  # fmt: skip


def loss_chart(view: RunView) -> Chart:
    """The loss on the training text, raw and smoothed, and on the held-out text."""
    raw, held_out = _measured(view.points, "loss"), _measured(view.evaluations, "loss")
    lines = [
        _curve(RAW, COLORS[RAW], raw, "faint"),
        _curve(SMOOTHED, COLORS[SMOOTHED], smoothed(raw)),
        _curve(HELD_OUT, COLORS[HELD_OUT], held_out, "dots"),
    ]
    return _chart("loss-chart", "Loss", "nats per masked token", _end(view), lines)


def perplexity_chart(view: RunView) -> Chart:
    """The held-out perplexity, and its value before training as a level line."""
    held_out = _measured(view.evaluations, "perplexity")
    level = [] if view.perplexity_before is None else [(step, view.perplexity_before) for step in (0, _end(view))]
    lines = [_curve(BEFORE, COLORS[BEFORE], level, "level"), _curve(HELD_OUT, COLORS[HELD_OUT], held_out, "dots")]
    return _chart("perplexity-chart", "Perplexity", "held out", _end(view), lines)


def held_out_chart(views: Sequence[RunView], y: str, title: str, unit: str) -> Chart:
    """The held-out `y` (loss or perplexity) of several runs, in the order of `RUN_COLORS`; a legend is elsewhere."""
    lines = [
        _curve(name, colour, _measured(view.evaluations, y), "dots")
        for name, view, colour in zip(run_names(views), views, RUN_COLORS.values(), strict=False)
    ]
    end = max((line["points"][-1][0] for line in lines if line["points"]), default=0)
    return _chart(f"compared-{y}", title, unit, max(end, 1), lines, legend=False)


def _chart(id: str, title: str, unit: str, end: int, lines: list[dict[str, Any]], *, legend: bool = True) -> Chart:
    return {"id": id, "title": title, "unit": unit, "end": end, "legend": legend, "curves": lines}


def _curve(name: str, color: str, points: Sequence[tuple[int, float]], style: str = "plain") -> dict[str, Any]:
    short = [(step, float(f"{value:.6g}")) for step, value in thinned(points)]
    return {"name": name, "color": color, "style": style, "points": short}


def _measured(records: Sequence[Record], y: str) -> list[tuple[int, float]]:
    """The steps of records and their `y`, where they have one."""
    return [(record["step"], record[y]) for record in records if record[y] is not None]


def _end(view: RunView) -> int:
    return max(view.steps or 0, view.step, 1)


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
        kept += sorted({min(part, key=_value), max(part, key=_value)})
    return kept


def readable(token: str) -> str:
    """A token without its leading space; what can't be seen is spelled out."""
    word = token.strip()
    if not word:
        return "(space)" if token else "(nothing)"
    if not word.strip("\ufffd"):
        return "(part of a character)"
    return "".join(c if c.isprintable() and c != "\ufffd" else f"\\u{ord(c):04x}" for c in word)
