"""A look at a text before a run, in a short-lived process: what a stranger brings is never opened in this one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from trainer.config import TrainConfig
from trainer.errors import DataError
from trainer.previews import Preview
from trainer.runs import launch
from trainer.runs.shown_text import without_machine_paths

WALL_SECONDS = 60.0
NICENESS = 10  # below the run that is on
KEPT = 16  # previews in memory
ERROR = "error: "  # how the shell begins its one line
GONE = "The look at the text took too long, or more memory than there is."


def command(settings: Path) -> list[str]:
    """The command line that previews the text of some settings."""
    return [sys.executable, "-m", "trainer", "preview", "--json", "--config", str(settings)]


class PreviewService:
    """Previews, one after the other; the same question is answered from memory. Any thread may ask."""

    def __init__(
        self,
        home: Path,
        python_environment: Mapping[str, str],
        wall_seconds: float = WALL_SECONDS,
        command: Callable[[Path], list[str]] = command,
    ) -> None:
        self._home = home
        self._environment = launch.environment(python_environment)
        self._wall_seconds = wall_seconds
        self._command = command
        self._one_at_a_time = threading.Lock()
        self._kept: dict[str, Preview] = {}

    def preview(self, config: TrainConfig) -> Preview:
        """What is understood of the text, and what a run will take. Raises: DataError, in the words of the process."""
        settings = config.check().to_json()
        with self._one_at_a_time:
            if settings not in self._kept:
                self._kept[settings] = self._made(settings)
            self._kept[settings] = answer = self._kept.pop(settings)  # the last one
            while len(self._kept) > KEPT:
                del self._kept[next(iter(self._kept))]
        return answer

    def _made(self, settings: str) -> Preview:
        with tempfile.TemporaryDirectory(prefix="mask-studio-preview-") as folder:
            file = Path(folder) / "settings.json"
            file.write_text(settings, encoding="utf-8")
            child = subprocess.Popen(
                self._command(file),
                cwd=folder,
                env=self._environment | {"TMPDIR": folder},  # so that nothing is left of it, however it ends
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
            )
            with suppress(OSError, AttributeError):  # it is over already; Windows has no such thing
                os.setpriority(os.PRIO_PROCESS, child.pid, NICENESS)
            try:
                out, said = child.communicate(timeout=self._wall_seconds)
            except subprocess.TimeoutExpired as error:
                _kill(child)
                raise DataError(GONE, "Take a part of the text, or a smaller model.") from error
            except BaseException:  # a Ctrl-C, too, must leave no child behind; it is raised again
                _kill(child)
                raise
        try:
            return Preview.from_json(out)
        except (ValueError, KeyError, TypeError) as error:
            raise self._failure(said) from error

    def _failure(self, said: str) -> DataError:
        lines = [line for line in said.splitlines() if line.startswith(ERROR)]
        if lines:
            return DataError(without_machine_paths(lines[-1].removeprefix(ERROR), self._home))
        return DataError(GONE, "Choose another text or model; press Start to try it nevertheless.")


def _kill(child: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.communicate()
