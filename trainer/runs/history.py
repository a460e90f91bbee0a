"""A run's events folded into its view, and a reader that follows them while they are written."""

from __future__ import annotations

import math
import os
import threading
from dataclasses import fields
from typing import Any

from trainer import events
from trainer.config import TrainConfig
from trainer.errors import TrainerError
from trainer.runs.folder import WAITING, RunFolder, waits
from trainer.runs.slices import SliceCount
from trainer.runs.view import LIVE, OVER, Record, RunView, State

__all__ = ["RunReader", "RunView"]

SERIES = (events.StepLogged, events.Evaluated, events.Probed)
KNOWN = {event.kind: ("time", *(f.name for f in fields(event))) for event in (events.Planned, *SERIES)}
PACE_POINTS = 20  # the newest points of the curve, from which the remaining time is estimated
POINTS_KEPT = 20_000  # of a curve; when there are more, every other one goes


class _Story:
    """The events of a run so far, added up one by one."""

    def __init__(self) -> None:
        self.started: Record = {}
        self.planned: Record = {}
        self.ending: Record = {}
        self.waiting = False
        self.phase = ""
        self.step = 0
        self.series: dict[str, list[Record]] = {event.kind: [] for event in SERIES}
        self.saved: dict[int, int] = {}  # evaluations before each checkpoint
        self.slices = SliceCount()
        self.attempts = 0  # processes that began since the newest checkpoint
        self.warnings: list[str] = []
        self.started_at: float | None = None
        self.updated_at: float | None = None
        self.elapsed_seconds = 0.0
        self._clock: float | None = None  # time of the event before; None after a pause

    def add(self, record: Record) -> None:
        kind = record["kind"]
        self.waiting = waits(record)
        self._add_time(record)
        self.slices.add(record)
        if kind == events.RunStarted.kind:
            self._begin(record)
        elif kind == events.PhaseChanged.kind:
            self.phase, self.ending = str(record.get("phase", "")), {}
        elif kind == events.Planned.kind:
            self.planned = _known(record)
        elif kind in self.series:
            self._put(self.series[kind], _known(record))
        elif kind == events.CheckpointSaved.kind:
            self.attempts = 0
            self.saved[int(_number(record, "step") or 0)] = len(self.series[events.Evaluated.kind])
        elif kind == events.Warned.kind:
            self.warnings.append(str(record.get("message", "")))
        elif kind in events.LAST_KINDS:
            self.ending, self.step = record, int(_number(record, "step") or self.step)

    def epoch(self) -> float:
        newest = [records[-1] for records in self.series.values() if records]
        return max((_number(record, "epoch") or 0.0 for record in newest), default=0.0)

    def remaining_seconds(self, config: TrainConfig | None) -> float | None:
        """Time to the last step at the pace of the newest points, evaluations included; None when unknown."""
        begun, steps = _number(self.started, "time"), _number(self.planned, "steps")
        timed = [(_number(point, "time"), point["step"]) for point in self.series["step_logged"][-PACE_POINTS:]]
        timed = [(time, step) for time, step in timed if time and begun and time >= begun]
        if steps is None or len(timed) < 2:
            return None
        (first_time, first_step), (last_time, last_step) = timed[0], timed[-1]
        seconds: float = (steps - last_step) * (last_time - first_time) / (last_step - first_step)
        if config and config.max_seconds is not None:
            # Slices share one budget; a run that was resumed after it was spent has as much again.
            spent = self.elapsed_seconds % config.max_seconds if self.slices.begun else last_time - begun
            seconds = min(seconds, config.max_seconds - spent)
        return round(max(0.0, seconds), 3)

    def about_slices(self, config: TrainConfig | None) -> int | None:
        """How many slices the run takes in all; None when that is unknown, or it works in none."""
        budget = config.max_seconds if config else None
        steps = _number(self.planned, "steps")
        return self.slices.total(steps, self.remaining_seconds(config), budget, waiting=self.waiting)

    def _begin(self, record: Record) -> None:
        """A process starts, or goes on from a checkpoint: what came after that is done again."""
        step = _number(record, "resumed_from_step")
        for records in self.series.values():
            records[:] = [old for old in records if step is not None and old["step"] <= step]
        evaluations = self.series[events.Evaluated.kind]
        del evaluations[self.saved.get(int(step or 0), len(evaluations)) :]  # one out of turn came after the save
        self.started, self.ending, self.phase, self.step = record, {}, "", int(step or 0)
        self.attempts += 1

    def _put(self, records: list[Record], record: Record) -> None:
        step = _number(record, "step")
        if step is None:
            return
        while records and records[-1]["step"] >= step:
            records.pop()
        records.append(record)
        self.step = int(step)
        if records is self.series[events.Probed.kind]:
            del records[1:-1]  # the words before training and now are all that is shown
        elif len(records) > POINTS_KEPT:
            del records[1::2]

    def _add_time(self, record: Record) -> None:
        time = _number(record, "time")
        if time is None:
            return
        begins = record["kind"] == events.RunStarted.kind
        if begins and self.started_at is None:
            self.started_at = time
        if self._clock is not None and not begins and not self.waiting:
            self.elapsed_seconds += max(0.0, time - self._clock)
        self._clock = None if self.waiting else time
        self.updated_at = time


class RunReader:
    """Follows one run; a poll that finds nothing new reads and parses nothing. Threads may share it."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self._story = _Story()
        self._size = 0  # of the file when it was last read
        self._offset = 0  # where its whole lines ended
        self._view: RunView | None = None
        self._lock = threading.Lock()

    def read(self, *, alive: bool = False, queue_position: int | None = None) -> RunView:
        """The run as it stands; `alive` when the caller knows of a process that has not taken the lock yet."""
        with self._lock:
            alive = self.folder.is_alive() or alive  # asked first: what is dead by now has written everything
            self._read_events()
            state = self._state(alive)
            position = queue_position if state == "queued" else None
            version = (self._offset, state, position, self.folder.has_model(), self.folder.name)
            if self._view is None or self._view.version != version:
                self._view = self._build(version, state, position)
            return self._view

    def _read_events(self) -> None:
        try:
            size = os.stat(self.folder.events).st_size
            if size == self._size:
                return
            if size < self._size:  # another file
                self._story, self._offset = _Story(), 0
            with open(self.folder.events, "rb") as file:
                file.seek(self._offset)
                records, used = events.decode_lines(file.read())
        except FileNotFoundError:
            return
        self._size, self._offset = size, self._offset + used
        for record in records:
            self._story.add(record)

    def _state(self, alive: bool) -> State:
        ending = self._story.ending
        if ending:
            if ending["kind"] == events.Failed.kind:
                return "failed"
            return "stopped" if ending.get("reason") == "stopped" else "completed"
        if alive:
            return "stopping" if self.folder.stop_requested() else "running"
        return "queued" if self._story.waiting or not self._size else "interrupted"

    def _build(self, version: tuple[object, ...], state: State, position: int | None) -> RunView:
        story, started = self._story, self._story.started
        points, evaluations, probes = (tuple(records) for records in story.series.values())
        try:
            config = self._view.config if self._view and self._view.config else self.folder.read_config()
        except TrainerError:
            config = None
        over = state in OVER
        can_resume = over and story.ending.get("reason") != "completed"
        failure = None
        if state == "failed":
            failure = (str(story.ending.get("what", "")), str(story.ending.get("fix", "")))
        elif state == "interrupted":
            found = self.folder.newest_checkpoint()
            fix = f"Resume it: it goes on {'from its last checkpoint' if found else 'from the beginning'}."
            if self.folder.has_job():
                fix = "The rented machine may go on working: resume it to follow, or to stop it."
            failure = (f"The run was interrupted at step {story.step}: its process ended without a last word.", fix)
        return RunView(
            version=version,
            id=self.folder.id,
            name=self.folder.name,
            owner=self._view.owner if self._view else self.folder.read_owner(),
            state=state,
            config=config,
            queue_position=position,
            phase=WAITING if state == "queued" else "" if over else story.phase or "Starting",
            step=story.step,
            steps=_number(story.planned, "steps"),
            epoch=story.epoch(),
            device=started.get("device"),
            device_name=started.get("device_name"),
            precision=started.get("precision"),
            threads=started.get("threads"),
            planned=story.planned or None,
            started_at=story.started_at,
            updated_at=story.updated_at,
            ended_at=story.updated_at if over else None,
            elapsed_seconds=round(story.elapsed_seconds, 3),
            remaining_seconds=story.remaining_seconds(config) if state in LIVE else None,
            tokens_per_second=points[-1]["tokens_per_second"] if points else None,
            points=points,
            evaluations=evaluations,
            probes=probes,
            warnings=tuple(story.warnings),
            failure=failure,
            has_model=self.folder.has_model(),
            can_resume=can_resume,
            attempts=story.attempts,
            slice_number=story.slices.number(waiting=story.waiting),
            slices=story.about_slices(config),
        )


def _known(record: Record) -> Record:
    return {name: record.get(name) for name in KNOWN[record["kind"]]}


def _number(record: Record, name: str) -> Any:
    """The number called `name`; None where there is none, or something else in its place."""
    value = record.get(name)
    return value if isinstance(value, (int, float)) and math.isfinite(value) else None
