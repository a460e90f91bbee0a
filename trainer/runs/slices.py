"""The slices of a run that works on a lent GPU: how many there were, and about how many there will be."""

from __future__ import annotations

import math
from typing import Any

from trainer.events import GpuLent, Paused


class SliceCount:
    """Counts slices as their events come."""

    def __init__(self) -> None:
        self.begun = 0
        self._seconds = 0.0  # of the newest
        self._began_at = 0.0
        self._now = 0.0
        self._paused_at_step = 0
        self._steps = 0  # of the newest slice that came to its pause

    def add(self, record: dict[str, Any]) -> None:
        """The next event of the run."""
        self._now = _positive(record, "time") or self._now
        if record["kind"] == GpuLent.kind:
            self.begun += 1
            self._seconds, self._began_at = _positive(record, "seconds"), self._now
        elif record["kind"] == Paused.kind:
            step = int(_positive(record, "step"))
            self._steps, self._paused_at_step = step - self._paused_at_step, step

    def number(self, *, waiting: bool) -> int | None:
        """The slice that works or, for a run that waits, comes next; None for a run that is not in slices."""
        return self.begun + waiting if self.begun else None

    def total(
        self, steps: int | None, remaining_seconds: float | None, budget_seconds: float | None, *, waiting: bool
    ) -> int | None:
        """About how many slices the run takes: by the steps of the newest whole one or, in the first, by its pace."""
        if not self.begun or not steps or not self._seconds:
            return None
        if self._steps > 0:
            before = self.begun if waiting else self.begun - 1
            most = math.ceil(budget_seconds / self._seconds) if budget_seconds else math.inf
            total = before + max(1, math.ceil((steps - self._paused_at_step) / self._steps))
            return int(min(total, max(most, before + 1)))
        if remaining_seconds is None:
            return None
        return self.begun - 1 + math.ceil((self._now - self._began_at + remaining_seconds) / self._seconds)


def _positive(record: dict[str, Any], name: str) -> float:
    value = record.get(name)
    return value if isinstance(value, (int, float)) and 0 < value < math.inf else 0.0
