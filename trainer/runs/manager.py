"""The runs below a home, as page, shell and HTTP handle them: start, watch, stop, resume, rename, delete."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from trainer.config import TrainConfig
from trainer.errors import RunError
from trainer.events import PhaseChanged
from trainer.presets import title_of
from trainer.runs import launch
from trainer.runs.archive import write_archive
from trainer.runs.catalogue import Catalogue
from trainer.runs.folder import WAITING, RunFolder, clear_away, find_run
from trainer.runs.history import RunReader, RunView
from trainer.runs.lock import locked
from trainer.runs.names import RUN_ID, new_run_id
from trainer.runs.shown_text import without_machine_paths
from trainer.runs.supervisor import Supervisor, stopped
from trainer.runs.uploads import UPLOADS, remove_unused
from trainer.runs.view import LIVE

TRIES = 2  # of a run that resumes by itself, without having come to a checkpoint
ENDING_SECONDS = 5.0  # a process may take after its last word, or when it is killed
READERS_KEPT = 16  # whole histories in memory, of the runs asked for last
LOG_LINES = 200  # the end of a log that is shown


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
        secret: Callable[[RunFolder], str] = lambda folder: "",
        starts: bool = True,
        usual: str = "",
    ) -> None:
        """`command` begins the process of a run, which reads the `secret` on its standard input.

        `usual` is the key of the backend of a run for which none is chosen. `starts`: whether runs on this machine
        begin by themselves when it is their turn; else somebody else lets them work. Raises: RunError.
        """
        self.home = Path(home).resolve()
        with _in_words(f"The folder {self.home} can't be used", "Set MASK_STUDIO_HOME to one that takes files."):
            self.home.mkdir(parents=True, exist_ok=True)
        clear_away(self.home)
        remove_unused(self.home)
        self.admission = threading.Lock()  # held by whoever counts runs before letting another begin
        self._max_queued = max_queued
        self._usual = usual
        self._readers: dict[str, RunReader] = {}
        environment = launch.environment(python_environment)
        self._supervisor = Supervisor(self.home, environment, grace_seconds, command, secret, starts)
        self._changed = self._supervisor.changed
        self._catalogue = Catalogue(self.home, self.view)
        threading.Thread(target=self._catalogue.views, name="run-catalogue", daemon=True).start()  # the first look
        self._auto_resume = auto_resume
        for run_id in self._supervisor.interrupted:
            with suppress(RunError, OSError):  # its folder is damaged, the disk is full, or too many wait
                folder = RunFolder(self.home / run_id)
                self._take_up(folder, follows=folder.has_job() and bool(secret(folder)))

    def start(self, config: TrainConfig, *, owner: str | None = None, backend: str = "", token: str = "") -> str:
        """Put a new run into the queue; its id. Raises: ConfigError; RunError when too many wait.

        It bears the mark of its `owner`, see `ownership`, and works by the `backend` of that key, see `backends`; a
        machine is rented with the visitor's own `token`, if that is given.
        """
        config.check()
        with self._changed, _in_words("The run can't be saved"):
            self._supervisor.check_room(self._max_queued)
            folder = RunFolder(self.home / new_run_id(os.listdir(self.home)))
            folder.write_config(config, owner, backend or self._usual)
            self._supervisor.enqueue(folder.id, token)
        return folder.id

    def resume(self, run_id: str, *, token: str = "") -> None:
        """Put a run that has not come to its end into the queue again: from its newest checkpoint, or the beginning.

        Raises: RunError when it is complete, alive or waiting.
        """
        folder = find_run(self.home, run_id)
        with self._changed, _in_words(f"Run {folder.name} can't be resumed"):
            self._check_over(run_id)
            self._supervisor.check_room(self._max_queued)
            if not self.view(run_id).can_resume:
                raise RunError(f"Run {folder.name} is complete.", "Start a new run.")
            with locked(folder.lock):
                folder.stop.unlink(missing_ok=True)
                folder.append(PhaseChanged(phase=WAITING))
            self._supervisor.enqueue(run_id, token)
            self._catalogue.forget(run_id)

    def stop(self, run_id: str) -> None:
        """End a run: a waiting one at once, one that works after its step. Raises: RunError when it is over."""
        folder = find_run(self.home, run_id)
        with self._changed, _in_words(f"Run {folder.name} can't be stopped"):
            view = self.view(run_id)
            if view.is_over:
                raise RunError(f"Run {view.name} is over: {view.state}.", "There is nothing to stop.")
            folder.request_stop()
            if view.state == "queued" and not folder.has_job():  # which only its follower can stop
                self._supervisor.forget(run_id)
                folder.end(stopped(view))
            else:
                self._supervisor.expect_end(run_id)

    def leave_queue(self, run_id: str) -> None:
        """For a run that somebody else lets work: it waits for no turn any more."""
        self._supervisor.forget(run_id)

    def rename(self, run_id: str, label: str) -> None:
        """Call a run by another name; by its own again when that is empty. Raises: RunError."""
        folder = find_run(self.home, run_id)
        with self._changed, _in_words("The name can't be saved"):
            folder.write_label(label)
            self._catalogue.forget(run_id)

    def delete(self, run_id: str) -> None:
        """Remove a run with all its files. Raises: RunError while it, or one that starts from its model, may go on."""
        folder = find_run(self.home, run_id)
        self._check_unneeded(folder)  # before the lock is taken: who lists all runs takes the catalogue's first
        with self._changed, _in_words(f"Run {folder.name} can't be deleted", "Look at the rights of its folder."):
            self._check_over(run_id)
            if folder.has_job() and self.view(run_id).can_resume:  # only its folder tells which job that is
                raise RunError(f"Run {folder.name} may still work on a rented machine.", "Resume it, and stop it.")
            with locked(folder.lock):
                folder.remove()
            self._readers.pop(run_id, None)
            self._catalogue.forget(run_id)
            remove_unused(self.home)

    def archive(self, run_id: str, cache: Path, progress: Callable[[float], None] = lambda share: None) -> Path:
        """A run as a zip file below `cache`, with its model and without its checkpoints. Raises: RunError."""
        return write_archive(find_run(self.home, run_id), cache, progress)

    def view(self, run_id: str) -> RunView:
        """A run as it stands. Raises: RunError when there is none of that id."""
        folder = find_run(self.home, run_id)
        with self._changed:
            reader = self._readers.pop(run_id, None) or RunReader(folder)
            self._readers[run_id] = reader  # the last one
            while len(self._readers) > READERS_KEPT:
                del self._readers[next(iter(self._readers))]
            alive = self._supervisor.is_on(run_id)
            position = self._supervisor.position(run_id)
        return reader.read(alive=alive, queue_position=position)

    def views(self) -> list[RunView]:
        """All runs, newest first; those that are over without their `points`, which `view` has."""
        return self._catalogue.views()

    def models(self) -> list[tuple[str, str]]:
        """Id and label of every run that has a model, newest first."""
        return [(view.id, _label(view)) for view in self.views() if view.has_model]

    def model_folder(self, run_id: str) -> Path:
        """Where the best model of a run lies. Raises: RunError while there is none."""
        folder = find_run(self.home, run_id)
        if not folder.has_model():
            raise RunError(f"Run {folder.name} has no model.", "Wait for its first evaluation, or choose another run.")
        return folder.model

    def text_of(self, run_id: str) -> Path:
        """The uploaded text that a run learned from. Raises: RunError when it learned from no such text."""
        folder = find_run(self.home, run_id)
        text = Path(folder.read_config().dataset)
        if not (text.is_relative_to(self.home / UPLOADS) and text.is_file()):
            raise RunError(f"The text of run {folder.name} is no longer here.", "Choose another.")
        return text

    def title(self, source: str) -> str:
        """What to call a model or data set before visitors: the model of a run by that run."""
        title = title_of(source)
        return RunFolder(self.home / title).name if RUN_ID.fullmatch(title) else title

    def log(self, run_id: str) -> str:
        """The end of a run's log, without the paths of this machine. Raises: RunError."""
        return without_machine_paths(find_run(self.home, run_id).log_tail(LOG_LINES), self.home)

    def shut_down(self, patience_seconds: float = 8.0) -> None:
        """For a machine that is going down: the runs that are on save and end, and resume first if that is wanted."""
        live = {view.id: view.state for view in self.views() if view.state in LIVE}
        late = self._supervisor.terminate(live, patience_seconds)
        if self._auto_resume:
            going_on = [run_id for run_id, state in live.items() if state == "running"]  # the others were to stop
            # Those that are late can't be waited for: what they say at their end would be taken for a user's wish.
            self._supervisor.terminate({*late}.intersection(going_on), ENDING_SECONDS, signal.SIGKILL)
            for run_id in going_on:
                with suppress(RunError):  # it had just come to its end
                    self.resume(run_id)
        self.close()

    def close(self) -> None:
        """Stop starting and ending runs; one that is on goes on."""
        self._supervisor.close()

    def _take_up(self, folder: RunFolder, *, follows: bool) -> None:
        """What becomes of a run that was found dead without a last word; that it was to stop is not forgotten."""
        stops = folder.stop_requested()
        if stops and not folder.has_job():
            return folder.end(stopped(self.view(folder.id)))
        if follows or (self._auto_resume and self.view(folder.id).attempts <= TRIES):
            self.resume(folder.id)
            if stops:
                self.stop(folder.id)

    def _check_unneeded(self, folder: RunFolder) -> None:
        for view in self.views():
            if view.may_go_on and view.config and view.config.model == str(folder.model):
                raise RunError(f"Run {view.name} starts from its model.", "Let it come to its end, or delete it first.")

    def _check_over(self, run_id: str) -> None:
        view = self.view(run_id)
        if view.is_over:
            self._changed.wait_for(lambda: not self._supervisor.is_on(run_id), ENDING_SECONDS)
        if not view.is_over or self._supervisor.is_on(run_id):
            raise RunError(f"Run {view.name} has not ended yet.", "Stop it first, or wait for its end.")


@contextmanager
def _in_words(what: str, fix: str = "Make room on the disk.") -> Iterator[None]:
    """Raises: RunError in the place of an OSError."""
    try:
        yield
    except OSError as error:
        raise RunError(f"{what}: {error.strerror}.", fix) from error


def _label(view: RunView) -> str:
    perplexity = view.perplexity_now
    return view.name if perplexity is None else f"{view.name} (perplexity {perplexity:.3g})"
