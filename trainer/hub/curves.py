"""The curves of a run as a picture: loss on the left, perplexity on the right."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from trainer.hub.trained import TrainedRun

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT, SCALE = 960, 340, 2  # drawn larger and shrunk, so that lines are smooth
LEFT, RIGHT, TOP, BOTTOM = 58, 18, 46, 44  # margins of a panel
INK, FAINT, GRID = "#1e293b", "#64748b", "#e2e8f0"
TRAINING, HELD_OUT, BEFORE = "#94a3b8", "#e8590c", "#0f9488"
MOST_POINTS = 400  # of a line


def draw_curves(run: TrainedRun) -> bytes:
    """A PNG picture."""
    image = Image.new("RGB", (WIDTH * SCALE, HEIGHT * SCALE), "white")
    panel = WIDTH // 2
    training = [(p["step"], p["loss"]) for p in run.points if p["loss"] is not None]
    held_out = [(e["step"], e["loss"]) for e in run.evaluations]
    perplexity = [(e["step"], e["perplexity"]) for e in run.evaluations if e["perplexity"] is not None]
    end = max([run.planned.get("steps") or 1, *(step for step, _ in training + held_out)])
    _Panel(image, 0, panel, end).draw(
        "Loss, nats per masked token", [("training", TRAINING, training), ("held out", HELD_OUT, held_out)]
    )
    level = run.before.get("perplexity")
    lines = [("before training", BEFORE, [(0, level), (end, level)])] if level is not None else []
    _Panel(image, panel, panel, end).draw("Perplexity", [*lines, ("held out", HELD_OUT, perplexity)])
    file = io.BytesIO()
    image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS).save(file, "PNG", optimize=True)
    return file.getvalue()


class _Panel:
    """One pair of axes."""

    def __init__(self, image: Image.Image, left: int, width: int, end: float) -> None:
        self._draw = ImageDraw.Draw(image)
        self._box = (left + LEFT, TOP, left + width - RIGHT, HEIGHT - BOTTOM)
        self._end = end
        self._low, self._high = 0.0, 1.0

    def draw(self, title: str, lines: Sequence[tuple[str, str, Points]]) -> None:
        values = [value for _, _, points in lines for _, value in points if math.isfinite(value)]
        if values:
            margin = 0.06 * (max(values) - min(values)) or 0.5
            self._low, self._high = min(values) - margin, max(values) + margin
        self._axes(title)
        place = self._box[0]
        for name, color, points in lines:
            shown = [point for point in _thinned(points) if math.isfinite(point[1])]
            places = [self._place(*point) for point in shown]
            if len(places) > 1:
                self._draw.line(places, fill=color, width=2 * SCALE, joint="curve")
            if len(places) <= 40:
                for x, y in places:
                    self._draw.ellipse((x - 5, y - 5, x + 5, y + 5), fill=color)
            self._draw.rectangle(_scaled(place, HEIGHT - 15, place + 12, HEIGHT - 11), fill=color)
            self._write(place + 17, HEIGHT - 13, name, FAINT, "lm", 12)
            place += 34 + 7 * len(name)

    def _axes(self, title: str) -> None:
        left, _, right, bottom = self._box
        self._write(left, 20, title, INK, "lm", 15)
        for tick in _ticks(self._low, self._high):
            _, y = self._place(0, tick)
            self._draw.line((left * SCALE, y, right * SCALE, y), fill=GRID, width=SCALE)
            self._write(left - 7, y / SCALE, f"{tick:,.4g}", FAINT, "rm", 12)
        for tick in _ticks(0, self._end):
            x, _ = self._place(tick, self._low)
            self._write(x / SCALE, bottom + 11, f"{tick:,.4g}", FAINT, "mm", 12)

    def _place(self, step: float, value: float) -> tuple[float, float]:
        left, top, right, bottom = self._box
        x = left + (right - left) * step / self._end
        y = bottom - (bottom - top) * (value - self._low) / (self._high - self._low)
        return x * SCALE, y * SCALE

    def _write(self, x: float, y: float, text: str, color: str, anchor: str, size: int) -> None:
        font = ImageFont.load_default(size * SCALE)
        self._draw.text((x * SCALE, y * SCALE), text, fill=color, anchor=anchor, font=font)


def _ticks(low: float, high: float) -> list[float]:
    """Three to seven round numbers between two values."""
    step = 10 ** math.floor(math.log10((high - low) / 3))
    step *= next(factor for factor in (5, 2, 1) if (high - low) / (step * factor) >= 3)
    first = math.ceil(low / step)
    return [round(number * step, 12) for number in range(first, math.floor(high / step) + 1)]


def _thinned(points: Points) -> Points:
    return points if len(points) <= MOST_POINTS else points[:: len(points) // MOST_POINTS + 1]


def _scaled(*numbers: float) -> tuple[float, ...]:
    return tuple(number * SCALE for number in numbers)
