"""The process of a run that is on, as whoever has started it sees it."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping
from contextlib import ExitStack, suppress

from trainer.runs.folder import RunFolder
from trainer.runs.history import RunReader


class Child:
    """A run, its process once that has begun, and what it keeps others from: `slot` is let go at its end."""

    def __init__(self, folder: RunFolder, slot: ExitStack) -> None:
        self.folder, self.reader = folder, RunReader(folder)
        self.is_rented = folder.is_rented()
        self._slot = slot
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def returncode(self) -> int | None:
        """How the process ended; None while it goes on."""
        return self._process.poll() if self._process else None

    def begin(self, command: list[str], environment: Mapping[str, str], secret: str) -> None:
        """Start the process; it is told the secret where no file and no list shows it. Raises: OSError."""
        with open(self.folder.log, "ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.folder.path,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        assert self._process.stdin
        with suppress(BrokenPipeError), self._process.stdin as told:  # it may be over already
            told.write(secret.encode())

    def end_the_rest(self) -> None:
        """What an ended process left behind."""
        with suppress(ProcessLookupError, PermissionError):
            if self._process:
                os.killpg(self._process.pid, signal.SIGKILL)

    def release(self) -> None:
        """Let others begin."""
        self._slot.close()

    def abandon(self) -> None:
        """Let it go on; it is collected by somebody, so that it won't stay a zombie."""
        self.release()
        if self._process is not None:
            threading.Thread(target=self._process.wait, daemon=True).start()
