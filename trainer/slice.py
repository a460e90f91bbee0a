"""One slice of a run, as it works in a process to which a GPU is lent."""

from __future__ import annotations

import os
import queue
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from trainer.errors import TrainerError
from trainer.events import Event, Failed, GpuLent, Planned
from trainer.limits import limits_of
from trainer.loading import loading
from trainer.runs.folder import RunFolder

MARGIN = 0.1  # of the time: that of the process's beginning, and of what takes longer than was measured
SIGN_SECONDS = 1.0  # between two signs of life


def slice_of(path: str, seconds: float) -> Iterator[str]:
    """Lets the waiting run of a folder work for so long; yields the kinds of its events, and signs of life between.

    It leaves the run at a checkpoint in time, and when it is closed: then the visitor has gone whose quota it is.
    """
    deadline = time.monotonic() + (1 - MARGIN) * seconds
    told: queue.SimpleQueue[str] = queue.SimpleQueue()
    left = threading.Event()

    def should_pause(needed: float) -> bool:
        return left.is_set() or time.monotonic() + needed >= deadline

    work = threading.Thread(target=_work, args=(RunFolder(Path(path)), seconds, should_pause, told.put), name="slice")
    work.start()
    try:
        while work.is_alive() or not told.empty():
            try:
                yield told.get(timeout=SIGN_SECONDS)
            except queue.Empty:
                yield ""
    finally:
        left.set()
        work.join()


def load_engine() -> None:
    """Loads into this process what slices need: they are forked from it, and each would begin with seconds of that."""
    with loading():
        import trainer.engine.loop  # noqa: F401


def _work(
    folder: RunFolder, seconds: float, should_pause: Callable[[float], bool], told: Callable[[str], None]
) -> None:
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")
    limits = limits_of(os.environ)

    def emit(event: Event) -> None:
        folder.append(event)
        told(event.kind)
        if isinstance(event, Planned):
            limits.check_size(event.parameters)

    try:
        with folder.hold():
            if not folder.is_waiting() or folder.stop_requested():  # stopped meanwhile
                return
            emit(GpuLent(seconds=seconds))
            from trainer.engine.loop import fit

            config = replace(folder.read_config(), compile="off")  # which takes as long as a slice, and each anew
            fit(config, emit, folder.stop_requested, folder.path, resume=True, should_pause=should_pause)
    except TrainerError as error:
        folder.end(Failed(what=error.what, fix=error.fix))  # unless that was told, or another process has the run
    except Exception:  # told as a bug, whose details the log has
        with open(folder.log, "a", encoding="utf-8") as log:
            traceback.print_exc(file=log)
