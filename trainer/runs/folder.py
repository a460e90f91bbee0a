"""One run, one folder: its paths, and the lock that tells whether it lives."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from trainer.config import TrainConfig
from trainer.errors import RunError
from trainer.events import LAST_KINDS, Event, Paused, PhaseChanged, decode_lines, encode
from trainer.runs.label import checked_label
from trainer.runs.lock import is_held, locked
from trainer.runs.names import RUN_ID, name_of

WAITING = "Waiting in the queue"  # the phase of a run that is to be resumed
RENTED = "job:"  # how the key of such a backend begins
TAIL_BYTES = 64 * 1024
DELETED = ".{}.deleted"  # the name of a run's folder while its files are removed


class RunFolder:
    """Every path of a run, and what can be read off them; `lock` is held by whoever writes `events.jsonl`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.json"
        self.events = path / "events.jsonl"
        self.log = path / "log.txt"
        self.stop = path / "stop"
        self.lock = path / "lock"
        self.label = path / "label.txt"
        self.owner = path / "owner.txt"
        self.backend = path / "backend.txt"
        self.checkpoints = path / "checkpoints"
        self.model = path / "model"
        self.job = path / "job.json"  # of a run that works elsewhere: there while its end has not been told here

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def name(self) -> str:
        """What the user calls this run; until it has such a name, the one in its id."""
        try:
            return checked_label(self.label.read_text(encoding="utf-8")) or name_of(self.id)
        except (OSError, ValueError, RunError):  # none, or not written by us
            return name_of(self.id)

    def write_label(self, label: str) -> None:
        """Name this run. Raises: RunError for what can't be a name."""
        _replace(self.label, checked_label(label))
        with suppress(FileNotFoundError):
            os.utime(self.events)  # whoever lists this run looks at it again when these change

    def read_owner(self) -> str | None:
        """Whose run it is; None for one that was begun in a shell, or where nobody is told apart."""
        with suppress(OSError, ValueError):
            return self.owner.read_text(encoding="utf-8")
        return None

    def read_backend(self) -> str:
        """The key of where it is to work, see `backends`; empty where any will do."""
        with suppress(OSError, ValueError):
            return self.backend.read_text(encoding="utf-8")
        return ""

    def is_rented(self) -> bool:
        """Whether it works on a machine that was rented for it."""
        return self.read_backend().startswith(RENTED)

    def write_config(self, config: TrainConfig, owner: str | None = None, backend: str = "") -> None:
        """Make the folder and save the settings, whole or not at all."""
        self.path.mkdir(parents=True, exist_ok=True)
        if owner is not None:
            _replace(self.owner, owner)  # first: without settings it is no run yet, and so never nobody's
        if backend:
            _replace(self.backend, backend)
        _replace(self.config, config.to_json())

    def remove(self) -> None:
        """Delete all files, out of sight first: without some of them it would be a run that waits, or is nobody's."""
        gone = self.path.with_name(DELETED.format(self.id))
        os.replace(self.path, gone)
        shutil.rmtree(gone)

    def read_config(self) -> TrainConfig:
        """The settings as saved. Raises: RunError for an unreadable file, ConfigError for what is no setting."""
        try:
            values = json.loads(self.config.read_text(encoding="utf-8"))
            if not isinstance(values, dict):
                raise ValueError("not a JSON object")
        except (OSError, ValueError, RecursionError) as error:
            raise RunError(f"The settings of run {self.name} can't be read: {error}.", "Start a new run.") from error
        return TrainConfig.from_dict(values)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Be the process of this run, until the end of the block or of the process. Raises: RunError when held."""
        with locked(self.lock) as file:
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            yield

    def is_alive(self) -> bool:
        """Whether a process holds this run; the kernel lets go of the lock however that process ends."""
        return is_held(self.lock)

    def pid(self) -> int | None:
        """The process that holds this run; None when none does."""
        try:
            return int(self.lock.read_text(encoding="ascii")) if self.is_alive() else None
        except (OSError, ValueError):  # ended, or not yet written, in this very moment
            return None

    def request_stop(self) -> None:
        self.stop.touch()

    def stop_requested(self) -> bool:
        return os.path.exists(self.stop)

    def has_model(self) -> bool:
        return os.path.exists(self.model / "config.json")

    def has_job(self) -> bool:
        """Whether it works on a rented machine, with or without a process here that follows it."""
        return os.path.exists(self.job)

    def newest_checkpoint(self) -> Path | None:
        """That of the most steps, sound or not; None without any."""
        saved = (path for path in self.checkpoints.glob("step-*") if path.name[5:].isdecimal())
        return max(saved, key=lambda path: int(path.name[5:]), default=None)

    def append(self, event: Event, now: float | None = None) -> str:
        """Add a line to the events, after the half line of a process that died; only for who holds the lock."""
        line = encode(event, now)
        with open(self.events, "a+b") as file:
            if end := file.seek(0, os.SEEK_END):
                file.seek(end - 1)
            whole = file.read(1) in (b"", b"\n")
            file.write((b"" if whole else b"\n") + line.encode() + b"\n")
        return line

    def end(self, event: Event) -> None:
        """Write the last event of a run that could not do so itself; nothing when it has one, or is alive."""
        with suppress(RunError), locked(self.lock):  # a process that holds the run will write its own end
            if (self.last_record() or {}).get("kind") not in LAST_KINDS:
                self.append(event)

    def last_record(self) -> dict[str, Any] | None:
        """The newest whole event; nothing before it is read."""
        tail = _tail(self.events)
        whole = tail[: tail.rfind(b"\n") + 1].splitlines(keepends=True)
        return next((record for line in reversed(whole) for record in decode_lines(line)[0]), None)

    def is_waiting(self) -> bool:
        """Whether no process has worked on this run since it was put into the queue."""
        record = self.last_record()
        if record is None:
            return not _tail(self.events)
        return waits(record)

    def log_tail(self, lines: int = 10) -> str:
        """The last lines of the log that are not empty."""
        text = _tail(self.log).decode("utf-8", errors="replace")
        return "\n".join([line.rstrip() for line in text.splitlines() if line.strip()][-lines:])


def waits(record: dict[str, Any]) -> bool:
    """Whether a run whose newest event this is waits for its turn, or for its next slice."""
    return record["kind"] == Paused.kind or (record["kind"] == PhaseChanged.kind and record.get("phase") == WAITING)


def run_ids(home: Path) -> list[str]:
    """The ids of all runs, newest first."""
    names = os.listdir(home) if os.path.isdir(home) else []
    return sorted((name for name in names if is_run(home, name)), reverse=True)


def is_run(home: Path, name: str) -> bool:
    """Whether a folder of that name is a run."""
    return bool(RUN_ID.fullmatch(name)) and os.path.exists(f"{home}/{name}/config.json")


def find_run(home: Path, run_id: str) -> RunFolder:
    """The folder of a run. Raises: RunError for anything but the id of an existing run."""
    if not isinstance(run_id, str) or not is_run(home, run_id):
        raise no_run(run_id)
    return RunFolder(home / run_id)


def clear_away(home: Path) -> None:
    """Remove what is left of runs whose deletion broke off."""
    for gone in home.glob(DELETED.format("*")):
        shutil.rmtree(gone, ignore_errors=True)


def no_run(run_id: object) -> RunError:
    return RunError(f"There is no run {run_id!r}.", "Choose one from the list of runs.")


def _replace(path: Path, text: str) -> None:
    draft = path.with_suffix(".tmp")
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, path)


def _tail(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
            return file.read()
    except FileNotFoundError:
        return b""
