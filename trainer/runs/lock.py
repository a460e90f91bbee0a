"""The lock of a run: held by its process for as long as that lives, however it ends."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from trainer.errors import RunError
from trainer.runs.names import name_of


def is_held(path: Path) -> bool:
    """Whether a process holds the lock file at `path`."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        return not _try_lock(descriptor, shared=True)
    finally:
        _let_go(descriptor)
        os.close(descriptor)


@contextmanager
def locked(path: Path, patience_seconds: float = 1.0) -> Iterator[IO[str]]:
    """Hold the lock file at `path`. Raises: RunError when somebody else does.

    The patience outlasts readers, which hold it for an instant to see whether it is free.
    """
    give_up = time.monotonic() + patience_seconds
    with open(path, "a+", encoding="ascii") as file:
        while not _try_lock(file.fileno()):
            if time.monotonic() >= give_up:
                raise RunError(f"Run {name_of(path.parent.name)} is already running.", "Wait for its end, or stop it.")
            time.sleep(0.01)
        try:
            yield file
        finally:
            _let_go(file.fileno())


def _try_lock(descriptor: int, *, shared: bool = False) -> bool:
    import fcntl  # here, because Windows has none and should still import this module

    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _let_go(descriptor: int) -> None:
    """Unlock a file in so many words: a process forked meanwhile has it open, too, and would keep it locked."""
    import fcntl

    fcntl.flock(descriptor, fcntl.LOCK_UN)
