"""Runs and predictions as data frames for Gradio's plots and tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from trainer.predictions import FilledMask
from trainer.runs.folder import name_of
from trainer.runs.history import RunView

RAW, SMOOTHED, HELD_OUT, BEFORE = "training", "smoothed", "held out", "before training"
COLORS = {RAW: "#94a3b8", SMOOTHED: "#4f6bed", HELD_OUT: "#e8590c", BEFORE: "#0f9488"}
# Okabe and Ito's, and two more: apart for every kind of colour blindness, on light and dark ground.
RUN_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#780fff", "#b45aff")
SMOOTHING = 0.85  # weight of the past in the smoothed curve
BINS = 150  # a curve keeps the lowest and the highest point of each


def loss_frame(view: RunView) -> pd.DataFrame:
    """Columns step, loss, curve: training raw and smoothed, held out."""
    raw = [(p["step"], p["loss"]) for p in view.points if p["loss"] is not None]
    held_out = [(e["step"], e["loss"]) for e in view.evaluations]
    rows = [(*point, RAW) for point in thinned(raw)]
    rows += [(*point, SMOOTHED) for point in thinned(smoothed(raw))]
    rows += [(*point, HELD_OUT) for point in held_out]
    return pd.DataFrame(rows, columns=["step", "loss", "curve"])


def perplexity_frame(view: RunView) -> pd.DataFrame:
    """Columns step, perplexity, curve: held out, and the value before training as a level line."""
    rows = [(e["step"], e["perplexity"], HELD_OUT) for e in view.evaluations if e["perplexity"] is not None]
    if view.perplexity_before is not None:
        end = max(view.steps or 0, view.step, 1)
        rows += [(0, view.perplexity_before, BEFORE), (end, view.perplexity_before, BEFORE)]
    return pd.DataFrame(rows, columns=["step", "perplexity", "curve"])


def held_out_frame(views: Sequence[RunView], y: str) -> pd.DataFrame:
    """Columns step, `y` (loss or perplexity), run: the held-out curves of several runs."""
    rows = [
        (record["step"], record[y], name)
        for name, view in zip(run_names(views), views, strict=True)
        for record in view.evaluations
        if record[y] is not None
    ]
    return pd.DataFrame(rows, columns=["step", y, "run"])


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


def answer_frame(mask: FilledMask) -> pd.DataFrame:
    """Columns word, probability (0..1), in the order of the candidates; words are unique, as bars need them."""
    words = unique_words([candidate.token_str for candidate in mask.candidates])
    scores = [candidate.score for candidate in mask.candidates]
    return pd.DataFrame({"word": words, "probability": scores})


def answer_rows(filled: Sequence[FilledMask]) -> list[list[Any]]:
    """The table twin of the charts: mask, rank, word, probability, sentence."""
    return [
        [number, rank, word, f"{candidate.score:.2%}", candidate.sequence]
        for number, mask in enumerate(filled, start=1)
        for rank, (word, candidate) in enumerate(
            zip(unique_words([c.token_str for c in mask.candidates]), mask.candidates, strict=True), start=1
        )
    ]


def unique_words(tokens: Sequence[str]) -> list[str]:
    """Readable labels, one for each token: ` the` and `the` must not share a bar."""
    words: list[str] = []
    for token in tokens:
        word = readable(token)
        if word in words and not token.startswith(" "):
            word = f"{word} (no space)"
        while word in words:
            word += "\u2032"  # prime
        words.append(word)
    return words


def readable(token: str) -> str:
    """A token without its leading space; what can't be seen is spelled out."""
    word = token.strip()
    if not word:
        return "(space)" if token else "(nothing)"
    return "".join(c if c.isprintable() and c != "\ufffd" else f"\\u{ord(c):04x}" for c in word)
