"""The runs below a home, as page, shell and HTTP handle them: start, watch, stop, resume, delete."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from trainer.config import TrainConfig
from trainer.errors import RunError
from trainer.events import PhaseChanged
from trainer.runs import launch
from trainer.runs.folder import WAITING, RunFolder, find_run, locked, new_run_id, run_ids
from trainer.runs.history import RunReader, RunView
from trainer.runs.supervisor import Supervisor, stopped
from trainer.runs.view import LIVE

TRIES = 2  # of a run that resumes by itself, without having come to a checkpoint
ENDING_SECONDS = 5.0  # a process may take after its last word


class RunManager:
    """The runs below `home`: one at a time, first in, first out. Any thread may call any method.

    Runs outlive the manager: the next one on the same home finds them by their locks.
    """

    def __init__(
        self,
        home: Path,
        python_environment: Mapping[str, str],
        grace_seconds: float = 30.0,
        *,
        max_queued: int = 20,
        auto_resume: bool = False,
        command: Callable[[RunFolder], list[str]] = launch.command,
    ) -> None:
        self.home = Path(home).resolve()
        self.home.mkdir(parents=True, exist_ok=True)
        self._max_queued = max_queued
        self._readers: dict[str, RunReader] = {}
        self._supervisor = Supervisor(self.home, launch.environment(python_environment), grace_seconds, command)
        self._changed = self._supervisor.changed
        self._auto_resume = auto_resume
        if auto_resume:
            for run_id in self._supervisor.interrupted:
                with suppress(RunError):  # its folder is damaged, or too many wait
                    if self.view(run_id).attempts <= TRIES:
                        self.resume(run_id)

    def start(self, config: TrainConfig) -> str:
        """Put a new run into the queue; its id. Raises: ConfigError; RunError when too many wait."""
        config.check()
        with self._changed:
            self._check_room()
            folder = RunFolder(self.home / new_run_id(os.listdir(self.home)))
            try:
                folder.write_config(config)
            except OSError as error:
                raise RunError(f"The run can't be saved: {error.strerror}.", "Make room on the disk.") from error
            self._supervisor.enqueue(folder.id)
        return folder.id

    def resume(self, run_id: str) -> None:
        """Put a run that has not come to its end into the queue again: from its newest checkpoint, or the beginning.

        Raises: RunError when it is complete, alive or waiting.
        """
        folder = find_run(self.home, run_id)
        with self._changed:
            self._check_over(run_id)
            self._check_room()
            if not self.view(run_id).can_resume:
                raise RunError(f"Run {folder.name} is complete.", "Start a new run.")
            with locked(folder.lock):
                folder.stop.unlink(missing_ok=True)
                folder.append(PhaseChanged(phase=WAITING))
            self._supervisor.enqueue(run_id)

    def stop(self, run_id: str) -> None:
        """End a run: a waiting one at once, a running one after its step. Raises: RunError when it is over."""
        folder = find_run(self.home, run_id)
        with self._changed:
            view = self.view(run_id)
            if view.is_over:
                raise RunError(f"Run {view.name} is over: {view.state}.", "There is nothing to stop.")
            folder.request_stop()
            if view.state == "queued":
                self._supervisor.forget(run_id)
                folder.end(stopped(view))
            else:
                self._supervisor.expect_end(run_id)

    def delete(self, run_id: str) -> None:
        """Remove a run with all its files. Raises: RunError when it is not over."""
        folder = find_run(self.home, run_id)
        with self._changed:
            self._check_over(run_id)
            with locked(folder.lock):
                shutil.rmtree(folder.path)
            self._readers.pop(run_id, None)

    def view(self, run_id: str) -> RunView:
        """A run as it stands. Raises: RunError when there is none of that id."""
        folder = find_run(self.home, run_id)
        with self._changed:
            reader = self._readers.setdefault(run_id, RunReader(folder))
            alive = run_id == self._supervisor.active
            position = self._supervisor.position(run_id)
        return reader.read(alive=alive, queue_position=position)

    def views(self) -> list[RunView]:
        """All runs, newest first."""
        return list(self._views(run_ids(self.home)))

    def current(self) -> RunView | None:
        """The run that is on; None when none is."""
        ids = run_ids(self.home)
        living = (i for i in ids if i == self._supervisor.active or RunFolder(self.home / i).is_alive())
        return next((view for view in self._views(living) if view.state in LIVE), None)

    def latest(self) -> RunView | None:
        """The newest run; None before the first."""
        return next(self._views(run_ids(self.home)), None)

    def models(self) -> list[tuple[str, str]]:
        """Id and label of every run that has a model, newest first."""
        return [(view.id, _label(view)) for view in self.views() if view.has_model]

    def model_folder(self, run_id: str) -> Path:
        """Where the best model of a run lies. Raises: RunError while there is none."""
        folder = find_run(self.home, run_id)
        if not folder.has_model():
            raise RunError(f"Run {folder.name} has no model.", "Wait for its first evaluation, or choose another run.")
        return folder.model

    def shut_down(self, patience_seconds: float = 8.0) -> None:
        """For a machine that is going down: the run that is on saves and ends, and resumes first if that is wanted."""
        view = self.current()
        if view and self._supervisor.terminate(view.id, patience_seconds) and self._auto_resume:
            with suppress(RunError):  # it had just come to its end
                self.resume(view.id)
        self.close()

    def close(self) -> None:
        """Stop starting and ending runs; one that is on goes on."""
        self._supervisor.close()

    def _views(self, ids: Iterable[str]) -> Iterator[RunView]:
        for run_id in ids:
            with suppress(RunError):  # deleted since it was listed
                yield self.view(run_id)

    def _check_room(self) -> None:
        waiting = len(self._supervisor.queue)
        if waiting >= self._max_queued:
            raise RunError(f"{waiting} runs are waiting already.", "Wait for one to begin, or stop one.")

    def _check_over(self, run_id: str) -> None:
        view = self.view(run_id)
        if view.is_over:
            self._changed.wait_for(lambda: self._supervisor.active != run_id, ENDING_SECONDS)
        if not view.is_over or self._supervisor.active == run_id:
            raise RunError(f"Run {view.name} has not ended yet.", "Stop it first, or wait for its end.")


def _label(view: RunView) -> str:
    perplexity = view.perplexity_now
    return view.name if perplexity is None else f"{view.name} (perplexity {perplexity:.3g})"
