"""A run as a process: what shell, page, launcher and rented machine start."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from trainer.config import TrainConfig
from trainer.errors import TrainingError
from trainer.events import Event, Failed, Planned
from trainer.limits import AROUND_SECONDS, limits_of
from trainer.loading import loading
from trainer.runs.folder import RunFolder
from trainer.runs.ranks import ranks_of

Tell = Callable[[Event, str], None]  # an event, and its line in events.jsonl

BROKEN = 1  # the exit code


def run_command(options: argparse.Namespace, out: TextIO) -> None:
    """What the page starts: the run of a folder, from its newest checkpoint when it has one."""
    folder, limits = RunFolder(Path(options.folder)), limits_of(os.environ)

    def tell(event: Event, line: str) -> None:
        if isinstance(event, Planned):
            limits.check_size(event.parameters)

    train(folder, folder.read_config(), tell, options.processes, resume=True)


def remote_command(options: argparse.Namespace, out: TextIO) -> None:
    """What the page starts: the run of a folder, on a rented machine; the token comes on standard input."""
    from trainer.jobs.remote import RemoteRun

    folder, signals = RunFolder(Path(options.folder).resolve()), _noted_signals()
    token = os.environ.get("HF_TOKEN", "").strip() or sys.stdin.readline().strip()
    with folder.hold():
        RemoteRun(folder, options.hardware, token, signals).work()


def job_command(options: argparse.Namespace, out: TextIO) -> None:
    """What a rented machine starts: the run of a folder, told in lines and sent back through a repository."""
    from trainer.jobs.rented import work

    def tell(line: str) -> None:
        print(line, file=out, flush=True)

    if not work(RunFolder(Path(options.folder)), options.repo, os.environ, tell):
        raise TrainingError("The run failed.")


def train(folder: RunFolder, config: TrainConfig, tell: Tell, processes: int | None, *, resume: bool = False) -> None:
    """Runs the engine on a run folder; SIGTERM and Ctrl-C stop it in order, a second Ctrl-C at once."""
    ranks, signals = ranks_of(os.environ, folder, processes), _noted_signals()
    main_process = ranks.rank == 0
    telling = threading.Lock()

    def emit(event: Event) -> None:
        if isinstance(event, Failed):
            ranks.tell_failure(event)
            event = ranks.blame(event)
        if main_process:
            with telling:
                tell(event, folder.append(event))

    def should_stop() -> bool:
        if signals:  # a launcher sends one, too, when a process has died
            ranks.check()
        return bool(signals) or folder.stop_requested()

    def leave(cause: Failed) -> None:
        try:
            if main_process and telling.acquire(timeout=1.0):
                folder.append(cause)
        finally:  # on a full disk, too
            os._exit(BROKEN)  # whatever the process waits for will not come

    with (
        folder.hold() if main_process else contextlib.nullcontext(),
        ranks.joined(leave),
        _ended_late(config.max_seconds if main_process else None, leave),  # the others notice its end
    ):
        with loading():  # takes seconds, in which the run must not look unheld
            from trainer.engine import hardware
            from trainer.engine.loop import fit

        hardware.limit_memory()
        fit(config, emit, should_stop, folder.path, resume=resume)


@contextlib.contextmanager
def _ended_late(max_seconds: float | None, leave: Callable[[Failed], None]) -> Iterator[None]:
    """Has a run `leave` that is not done so long after its time: who reads or cuts a text asks no clock."""
    if max_seconds is None:
        yield
        return
    late = f"{AROUND_SECONDS / 60:g} minutes after its time"
    what = f"The run was not done {late}: it was still reading its text or cutting it."
    fix = "Take less text or a smaller model, or allow more time."
    timer = threading.Timer(max_seconds + AROUND_SECONDS, leave, [Failed(what=what, fix=fix)])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _noted_signals() -> list[int]:
    """Those that ask this process to end; a second Ctrl-C does so at once."""
    signals = list[int]()

    def note(number: int, frame: Any) -> None:
        signals.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, note)
    return signals


def is_main_process() -> bool:
    """Of the ranks a launcher started; their own environment says who is first."""
    return os.environ.get("RANK", "0") == "0"
