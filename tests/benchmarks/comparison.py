"""Ways to do the same work, measured in turns, so that a machine that slows down slows them all."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

OURS = "ours"
MANY = 5  # repetitions
NOISE = 0.02  # losses further apart than this share of themselves make speeds incomparable


@dataclass
class Comparison:
    """The repeated measurements of each way, ours among them."""

    name: str
    unit: str
    figures: dict[str, list[float]]
    larger_is_better: bool = True
    losses: dict[str, float] = field(default_factory=dict)  # of the ways that train; they must agree
    targets: dict[str, float] = field(default_factory=dict)  # smallest ratio wanted over a way
    notes: list[str] = field(default_factory=list)

    def ratios(self, other: str) -> list[float]:
        """How many times better ours is, in each repetition beside its neighbour."""
        pairs = zip(self.figures[OURS], self.figures[other], strict=True)
        return [ours / theirs if self.larger_is_better else theirs / ours for ours, theirs in pairs]

    def ratio(self, other: str) -> float:
        """The median of the ratios."""
        return statistics.median(self.ratios(other))

    @property
    def is_void(self) -> bool:
        """Whether the ways did not learn the same."""
        finite = [loss for loss in self.losses.values() if math.isfinite(loss)]
        return len(finite) < len(self.losses) or (bool(finite) and max(finite) > (1 + NOISE) * min(finite))

    def lines(self) -> list[str]:
        """As text for a terminal."""
        lines = [f"{self.name} ({self.unit})"]
        for way, figures in self.figures.items():
            loss = f", loss {self.losses[way]:.4f}" if way in self.losses else ""
            line = f"  {way:<22} {statistics.median(figures):>12,.4g}{loss}"
            if way != OURS and OURS in self.figures:
                wanted = f" (target {self.targets[way]:g})" if way in self.targets else ""
                line += f"   ours {self.ratio(way):.3g}x{wanted}{self._spread(way)}"
            lines.append(line)
        lines += [f"  {note}" for note in self.notes]
        return [*lines, "  VOID: the losses differ by more than noise."] if self.is_void else lines

    def _spread(self, other: str) -> str:
        """The mean of many ratios, and its standard error."""
        ratios = self.ratios(other)
        if len(ratios) < MANY:
            return ""
        return f", mean {statistics.fmean(ratios):.3g} ± {statistics.stdev(ratios) / len(ratios) ** 0.5:.1g}"

    def as_json(self) -> dict[str, Any]:
        medians = {way: statistics.median(figures) for way, figures in self.figures.items()}
        ratios = {way: self.ratio(way) for way in self.figures if way != OURS and OURS in self.figures}
        return asdict(self) | {"medians": medians, "ratios": ratios, "void": self.is_void}


def in_turns(ways: Mapping[str, Callable[[], float]], times: int) -> dict[str, list[float]]:
    """What each way measures of itself, one after the other, `times` times."""
    figures: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(times):
        for name, measure in ways.items():
            figures[name].append(measure())
    return figures
