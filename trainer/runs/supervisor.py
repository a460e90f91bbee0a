"""The thread that starts waiting runs one after another and sees to it that each comes to an end."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

from trainer.errors import RunError
from trainer.events import LAST_KINDS, SAVING, Event, Failed, Finished
from trainer.runs import launch
from trainer.runs.child import Child
from trainer.runs.folder import RunFolder, run_ids
from trainer.runs.history import RunReader, RunView
from trainer.runs.lock import locked
from trainer.runs.shown_text import without_machine_paths

POLL_SECONDS = 0.2
KILL_AFTER_SECONDS = 5.0  # between asking a process that ignored `stop` to end, and ending it
MOST_RENTED = 4  # runs on rented machines at a time
SAVE_SECONDS = 600.0  # for as long, a process that is saving is not ended

logger = logging.getLogger(__name__)


class Supervisor:
    """The queue of a home and the runs that are on; whoever reads or changes either holds `changed`.

    One at a time works on this machine; those on rented ones need not wait for it. Several supervisors may share a
    home: the one that starts a process that works here holds `home/lock` until that process has been buried.
    """

    def __init__(
        self,
        home: Path,
        environment: Mapping[str, str],
        grace_seconds: float,
        command: Callable[[RunFolder], list[str]],
        secret: Callable[[RunFolder], str],
        starts: bool = True,
    ) -> None:
        self.changed = threading.Condition()
        self.queue: list[str] = []
        self.interrupted: list[str] = []  # runs that were found dead without a last word, oldest first
        self._children: dict[str, Child] = {}  # runs whose processes are children of this one, or about to be
        self._home = home
        self._environment = environment
        self._grace_seconds = grace_seconds
        self._command = command
        self._secret = secret
        self._tokens: dict[str, str] = {}  # of visitors, each until their run begins
        self._stops: dict[str, tuple[float, signal.Signals]] = {}  # when to send which signal to a run
        self._closed = False
        self._starts, self._starts_here = True, starts
        for folder in map(self._folder, reversed(run_ids(home))):
            if folder.is_alive():
                if folder.stop_requested():
                    self.expect_end(folder.id)
            elif folder.is_waiting():
                self.queue.append(folder.id)
            elif (folder.last_record() or {}).get("kind") not in LAST_KINDS:
                self.interrupted.append(folder.id)
        self._thread = threading.Thread(target=self._run, name="run-supervisor", daemon=True)
        self._thread.start()

    def enqueue(self, run_id: str, token: str = "") -> None:
        """Let a run wait for its turn; if it is then to work on a rented machine, it is told the token."""
        with self.changed:
            self.queue.append(run_id)
            self._tokens[run_id] = token
            self.changed.notify_all()

    def forget(self, run_id: str) -> None:
        """Take a run out of the queue, if it is there."""
        with self.changed, suppress(ValueError):
            self.queue.remove(run_id)
            self._tokens.pop(run_id, None)

    def position(self, run_id: str) -> int | None:
        """The place of a run in the queue, from 1; None when it is not there."""
        with self.changed:
            return self.queue.index(run_id) + 1 if run_id in self.queue else None

    def check_room(self, most: int) -> None:
        """Raises: RunError when so many wait for a turn; none do that somebody else lets work here."""
        waiting = sum(self._starts_here or self._folder(run_id).is_rented() for run_id in self.queue)
        if waiting >= most:
            raise RunError(f"{waiting} runs are waiting already.", "Wait for one to begin, or stop one.")

    def is_on(self, run_id: str) -> bool:
        """Whether the process of a run is a child of this one that has not been buried."""
        return run_id in self._children

    def expect_end(self, run_id: str) -> None:
        """Give a run that was asked to stop its time of grace, then end it."""
        with self.changed:
            self._stops.setdefault(run_id, (time.monotonic() + self._grace_seconds, signal.SIGTERM))
            self.changed.notify_all()

    def terminate(
        self, run_ids: Iterable[str], patience_seconds: float, number: signal.Signals = signal.SIGTERM
    ) -> list[str]:
        """Begin no further run, and have these save and end at once, or end them; those that did not end in time."""
        give_up, left = time.monotonic() + patience_seconds, list(run_ids)
        with self.changed:
            self._starts = False
        for pid in [self._folder(run_id).pid() for run_id in left]:
            if pid:
                _send(pid, number)
        while left := [run_id for run_id in left if self._folder(run_id).is_alive() or self.is_on(run_id)]:
            if time.monotonic() >= give_up:
                break
            time.sleep(0.02)
        return left

    def close(self) -> None:
        """Let the runs that are on go on without supervision."""
        with self.changed:
            self._closed = True
            self.changed.notify_all()
        self._thread.join()
        for child in self._children.values():
            child.abandon()

    def _run(self) -> None:
        while not self._closed:
            try:
                self._bury_the_dead()
                self._send_signals()
                self._start_next()
            except Exception:  # a full disk, say: one run may lack its last line, but the others shall go on
                logger.exception("The supervision of %s met an error and goes on.", self._home)
            with self.changed:
                if not self._closed:
                    busy = self._children or self.queue or self._stops
                    self.changed.wait(POLL_SECONDS if busy else None)

    def _start_next(self) -> None:
        while child := self._next():
            folder = child.folder
            token = self._tokens.pop(folder.id, "")
            secret = (child.is_rented and token) or self._secret(folder)
            try:
                child.begin(self._command(folder), self._environment, secret)
                if folder.stop_requested():  # while it waited: it begins for the sake of its job
                    self.expect_end(folder.id)
            except OSError as error:
                what = f"The training process can't be started: {error.strerror}."
                fix = "Make room in memory and on the disk, then start it again."
                self._release(child, Failed(what=what, fix=fix))

    def _next(self) -> Child | None:
        """The run whose turn it is; None while all that wait have to."""
        with self.changed, ExitStack() as slot:
            if not self._starts:
                return None
            on = [child.is_rented for child in self._children.values()]
            for folder in map(self._folder, self.queue):
                may_rent = on.count(True) < MOST_RENTED or folder.stop_requested()  # a job that is to end costs money
                if may_rent if folder.is_rented() else False not in on and self._take(slot):
                    self.queue.remove(folder.id)
                    if folder.is_waiting():  # else another supervisor has had it
                        self._children[folder.id] = Child(folder, slot.pop_all())
                    return self._children.get(folder.id)
        return None

    def _take(self, slot: ExitStack) -> bool:
        """Whether this machine is free, and ours to give; it is taken until the end of `slot`."""
        if not self._starts_here:
            return False
        try:
            slot.enter_context(locked(self._home / "lock", patience_seconds=0))
        except RunError:  # another supervisor has a run on
            return False
        folders = map(self._folder, run_ids(self._home))
        if any(folder.is_alive() and not folder.is_rented() for folder in folders):  # begun in a shell
            slot.close()
            return False
        return True

    def _bury_the_dead(self) -> None:
        for run_id, child in list(self._children.items()):
            folder, returncode = child.folder, child.returncode
            if returncode is None:
                if child.reader.read().is_over:  # a process may hang after its last word
                    self.expect_end(run_id)
                continue
            child.end_the_rest()
            with self.changed:
                _, next_signal = self._stops.pop(run_id, (0.0, None))
            if folder.has_job():  # which goes on without the process that followed it
                self._release(child)
            elif next_signal is signal.SIGKILL:  # so it was ended at the user's wish
                self._release(child, stopped(child.reader.read()))
            else:
                self._release(child, launch.failure(returncode, without_machine_paths(folder.log_tail(), self._home)))

    def _release(self, child: Child, event: Event | None = None) -> None:
        try:
            if event is not None:
                child.folder.end(event)
        finally:
            with self.changed:
                child.release()
                del self._children[child.folder.id]
                self.changed.notify_all()

    def _send_signals(self) -> None:
        with self.changed:
            for run_id, (moment, number) in list(self._stops.items()):
                folder = self._folder(run_id)
                child = self._children.get(run_id)
                pid = (child and child.pid) or folder.pid()
                if pid is None:  # ended, and not our child
                    del self._stops[run_id]
                    if number is signal.SIGKILL and not folder.has_job():
                        folder.end(stopped(RunReader(folder).read()))
                elif time.monotonic() >= moment and not self._is_saving(folder, moment):
                    _send(pid, number)
                    self._stops[run_id] = (time.monotonic() + KILL_AFTER_SECONDS, signal.SIGKILL)

    def _is_saving(self, folder: RunFolder, moment: float) -> bool:
        child = self._children.get(folder.id)
        reader = child.reader if child else RunReader(folder)
        return reader.read().phase == SAVING and time.monotonic() < moment + SAVE_SECONDS

    def _folder(self, run_id: str) -> RunFolder:
        return RunFolder(self._home / run_id)


def stopped(view: RunView) -> Finished:
    """The last event of a run that was stopped and could not say so itself."""
    model = "model" if view.has_model else None
    return Finished(reason="stopped", step=view.step, elapsed_seconds=view.elapsed_seconds, model=model)


def _send(pid: int, number: signal.Signals) -> None:
    """Signal the process group of a run, or its process alone where a shell has put it into another group."""
    for send in (os.killpg, os.kill):
        with suppress(ProcessLookupError):
            return send(pid, number)
