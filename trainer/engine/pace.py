"""How long the parts of a run take, and what follows from it: when to save, and when the time budget is spent."""

from __future__ import annotations

import math
import time

from trainer.engine.recorder import STEPS_IN_FLIGHT

SAVING_SHARE = 0.02  # of a run's time at most, where the settings leave the interval open
SAVING_PAUSE = 10.0  # seconds between two checkpoints at least, however little one takes
BYTES_PER_SECOND = 200e6  # of a first checkpoint, hashed and flushed: a cautious guess, until one was measured
POINTS_PAUSE = 0.5  # seconds between two points of the curve, where the settings leave it open: a GPU makes 200 steps
MEASURING_SHARE = 0.1  # of a time budget at most is kept for an evaluation at its end


class Pace:
    """Measures one process of a run. `began` is a reading of `time.monotonic`."""

    def __init__(self, began: float, max_seconds: float | None, checkpoint_bytes: int) -> None:
        self._began = began
        self._max_seconds = max_seconds
        self._save_seconds = checkpoint_bytes / BYTES_PER_SECOND
        self._saving_seconds = 0.0  # of all saves
        self._saved_at = began
        self._pointed_at = -math.inf
        self._step_seconds: float | None = None
        self.evaluation_seconds = 0.0  # at least: one that was left is not measured to its end

    def note_step(self, seconds: float) -> None:
        """The slowest step counts, and is forgotten slowly: the first one may have compiled the model."""
        self._step_seconds = max(seconds, 0.9 * (self._step_seconds or 0.0))

    def note_point(self) -> None:
        """A point of the curve, and an answer to the probe sentence, for which a GPU must wait."""
        self._pointed_at = time.monotonic()

    def point_is_due(self) -> bool:
        """Whether the newest point is old enough for another."""
        return time.monotonic() - self._pointed_at >= POINTS_PAUSE

    def note_save(self, seconds: float) -> None:
        self._save_seconds = seconds
        self._saving_seconds += seconds
        self._saved_at = time.monotonic()

    def save_is_due(self, *, last: bool) -> bool:
        """Whether a save now keeps all of them within their share of the time; no pause is asked of the `last` one."""
        now = time.monotonic()
        spent = self._saving_seconds + self._save_seconds
        return (last or now - self._saved_at >= SAVING_PAUSE) and spent <= SAVING_SHARE * (now - self._began)

    @property
    def spent_seconds(self) -> float:
        """The time budget that is used up."""
        return time.monotonic() - self._began

    def go_on(self, spent_seconds: float) -> None:
        """Count on from what earlier slices of the run have spent of its time budget."""
        self._began -= spent_seconds

    @property
    def ending_seconds(self) -> float:
        """What a further step and a checkpoint may take."""
        return STEPS_IN_FLIGHT * (self._step_seconds or 0.0) + self._save_seconds

    def is_out_of_time(self) -> bool:
        """Whether a further step might end too late; never before the first, so that every slice gets on.

        What was learned is to be measured, and kept if it is better, where that takes a small share of the time.
        """
        if self._max_seconds is None or self._step_seconds is None:
            return False
        measuring = 1.2 * self.evaluation_seconds  # it may be slower than the one before
        if measuring > MEASURING_SHARE * self._max_seconds:
            measuring = 0.0
        return self.ending_seconds + measuring >= self.seconds_left

    def is_over(self) -> bool:
        """Whether the budget has left no more than a checkpoint takes."""
        return self.seconds_left <= self._save_seconds

    @property
    def seconds_left(self) -> float:
        """Of the time budget."""
        return math.inf if self._max_seconds is None else self._max_seconds - self.spent_seconds
