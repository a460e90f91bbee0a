"""The processes that share one run: each sees whether the others live, and what the first of them to die last said."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from trainer.errors import RANK_LOST, RunError, TrainingError
from trainer.events import Failed
from trainer.runs.folder import RunFolder
from trainer.runs.lock import is_held, locked

WATCH_SECONDS = 0.5  # between two looks at the others
GRACE_SECONDS = 10.0  # a process may take to notice by itself that another is gone: one that waits for it never does
BLAME_SECONDS = 3.0  # between the break of a connection and the end of the process that was at its other end
DONE = "done"  # the last word of a process that ended in order


class Ranks:
    """Process `rank` of the `size` that share `folder`; each holds a file of its own there for as long as it lives."""

    def __init__(self, folder: RunFolder, rank: int = 0, size: int = 1) -> None:
        self._folder, self.rank, self.size = folder, rank, size
        self._place = folder.path / "ranks"
        self._seen: set[int] = set()  # others that were alive; what an earlier attempt left here is none of ours
        self._over = threading.Event()
        self._launcher = os.getppid()

    @contextmanager
    def joined(self, leave: Callable[[Failed], None]) -> Iterator[None]:
        """Be one of them until the end of the block; `leave` is told in a thread when this one was left alone."""
        if self.size == 1:
            yield
            return
        self._place.mkdir(parents=True, exist_ok=True)
        with locked(self._file(self.rank)) as file:
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            threading.Thread(target=self._watch, args=(leave,), name="ranks", daemon=True).start()
            try:
                yield
                self.say(DONE)
            finally:
                self._over.set()

    def say(self, words: str) -> None:
        """Leave the last words of this process, for the others."""
        if self.size > 1:
            with suppress(OSError):  # a full disk: then there are none
                self._file(self.rank).write_text(words, encoding="utf-8")

    def tell_failure(self, event: Failed) -> None:
        """Leave what this process failed of."""
        self.say(json.dumps([event.what, event.fix]))

    def check(self) -> None:
        """Raises: TrainingError when another process is gone."""
        if self._lost() is not None:
            raise TrainingError(*RANK_LOST)

    def blame(self, event: Failed) -> Failed:
        """The event, or the last words of the process whose death this failure is but an echo of."""
        give_up = time.monotonic() + BLAME_SECONDS
        while self.size > 1 and event.what == RANK_LOST[0]:
            if cause := self._lost():
                return cause
            if time.monotonic() >= give_up:
                break
            time.sleep(0.05)
        return event

    def _watch(self, leave: Callable[[Failed], None]) -> None:
        while not self._over.wait(WATCH_SECONDS):
            cause = self._lost()
            if os.getppid() != self._launcher:
                cause = cause or Failed(what="The launcher of this run was ended.", fix="Resume the run.")
            if cause and not self._over.wait(GRACE_SECONDS):
                if self.rank and not is_held(self._folder.lock):  # the one that writes the events is gone
                    self._folder.end(cause)
                leave(cause)

    def _lost(self) -> Failed | None:
        """Why the first of the others that died without being an echo of another did; None while all are there."""
        causes = []
        for rank in set(range(self.size)) - {self.rank}:
            if is_held(self._file(rank)):
                self._seen.add(rank)
            elif rank in self._seen and (words := self._words(rank)) != DONE:
                causes.append(self._cause(rank, words))
        return next((cause for cause in causes if not cause.what.endswith(RANK_LOST[0])), None)

    def _cause(self, rank: int, words: str) -> Failed:
        who = f"Process {rank + 1} of {self.size}"
        try:
            what, fix = json.loads(words)
        except (ValueError, TypeError):  # nothing but the number of the process
            return Failed(what=f"{who} was ended without a last word.", fix="Perhaps memory ran out: see the log.")
        return Failed(what=f"{who} failed: {what}", fix=fix)

    def _words(self, rank: int) -> str:
        try:
            return self._file(rank).read_text(encoding="utf-8")
        except OSError:
            return ""

    def _file(self, rank: int) -> Path:
        return self._place / str(rank)


def ranks_of(environment: Mapping[str, str], folder: RunFolder, asked: int | None = None) -> Ranks:
    """What a launcher says this process is. Raises: RunError when it started fewer processes than it was asked for."""
    size = int(environment.get("WORLD_SIZE", "1"))
    quiet = "WORLD_SIZE" not in environment and {"ACCELERATE_USE_CPU", "MASTER_ADDR"} <= environment.keys()
    if quiet or (asked is not None and asked != size):
        wanted = "Several processes were" if asked is None else f"{asked} processes were" if asked > 1 else "One was"
        raise RunError(
            f"{wanted} asked for, but the launcher started {size}.",
            "Use torchrun, or accelerate launch with --multi_gpu (with --cpu it starts one).",
        )
    return Ranks(folder, int(environment.get("RANK", "0")), size)
