"""All runs of a home at once, cheap enough for every browser to ask each second."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from trainer.errors import RunError
from trainer.runs.folder import is_run
from trainer.runs.view import RunView

RESUMABLE_SECONDS = 2.0  # within which each run that could go on is looked at: a shell may have resumed it
ENDED_SECONDS = 10.0  # the same for those that could not, of which little but the name may change
FEW = 20  # are looked at each time
SETTLED_SECONDS = 2.0  # after which a folder's time tells of all that happened in it, however coarse the clock

Stamp = tuple[int, int]  # size and time of a file


class Turns:
    """Takes runs in turn, as many at a time as it needs for each to have its turn within `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._taken_at = time.monotonic()
        self._next = 0

    def due(self, ids: list[str]) -> list[str]:
        """Those of `ids` whose turn it is."""
        now = time.monotonic()
        count = min(len(ids), max(FEW, int(len(ids) * (now - self._taken_at) / self._seconds)))
        first, self._taken_at = self._next % max(1, len(ids)), now
        self._next = first + count
        return (ids + ids)[first : first + count]


class Catalogue:
    """The runs below `home`. What is over is read once, and again only when its files changed.

    Runs that are over are kept without their training curves, of which a thousand would fill the memory.
    """

    def __init__(self, home: Path, read: Callable[[str], RunView]) -> None:
        self._home = home
        self._read = read
        self._ids: list[str] = []
        self._views: dict[str, RunView] = {}
        self._unsure: set[str] = set()  # what must be read each time: runs that are not over, or have just been changed
        self._stamps: dict[str, dict[str, Stamp | None]] = {}  # of the files of the others that tell of a change
        self._listed_at: int | None = None  # the folder's time when it was listed; None to list it again
        self._turns = {
            True: Turns(RESUMABLE_SECONDS),
            False: Turns(ENDED_SECONDS),
        }  # of those that can be resumed, or not
        self._lock = threading.Lock()

    def views(self) -> list[RunView]:
        """Every run as it stands, newest first; those that are over without their `points`."""
        with self._lock:
            ids = self._list()
            for resumable, turns in self._turns.items():
                due = turns.due([view.id for view in self._views.values() if view.can_resume is resumable])
                self._unsure.update(filter(self._has_changed, due))
            for run_id in list(self._unsure):
                self._update(run_id)
            return [self._views[run_id] for run_id in ids if run_id in self._views]

    def forget(self, run_id: str) -> None:
        """Read this run and the list anew when next asked: something was done to them."""
        self._unsure.add(run_id)
        self._listed_at = None

    def _list(self) -> list[str]:
        changed_at = os.stat(self._home).st_mtime_ns
        if changed_at != self._listed_at:
            known = set(self._ids)
            names = (name for name in os.listdir(self._home) if name in known or is_run(self._home, name))
            self._ids = sorted(names, reverse=True)
            self._unsure |= {*self._ids} - known
            for run_id in known.difference(self._ids):
                self._drop(run_id)
            settled = time.time_ns() - changed_at > SETTLED_SECONDS * 1e9
            self._listed_at = changed_at if settled else None
        return self._ids

    def _has_changed(self, run_id: str) -> bool:
        return any(_stamp(path) != stamp for path, stamp in self._stamps.get(run_id, {}).items())

    def _update(self, run_id: str) -> None:
        events, lock = f"{self._home}/{run_id}/events.jsonl", f"{self._home}/{run_id}/lock"
        stamps = {path: _stamp(path) for path in (events, lock)}  # before it is read, so that no change goes unnoticed
        try:
            view = self._read(run_id)
        except RunError:  # deleted since it was listed
            return self._drop(run_id)
        if not view.is_over:
            self._unsure.add(run_id)
            self._views[run_id] = view
            return None
        if view.state != "interrupted":
            del stamps[lock]  # whoever takes up a run writes there, but one that has ended is over until it says more
        self._unsure.discard(run_id)
        self._stamps[run_id], self._views[run_id] = stamps, replace(view, points=())

    def _drop(self, run_id: str) -> None:
        self._unsure.discard(run_id)
        self._stamps.pop(run_id, None)
        self._views.pop(run_id, None)


def _stamp(path: str) -> Stamp | None:
    try:
        facts = os.stat(path)
    except FileNotFoundError:
        return None
    return facts.st_size, facts.st_mtime_ns
