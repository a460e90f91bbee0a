"""How the process of a run is started, and how its death is put into words; nothing here does either."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from trainer.environment import without_secrets
from trainer.events import Failed
from trainer.runs.folder import RunFolder

PROJECT = Path(__file__).resolve().parents[2]
LOG_CHARACTERS = 2000

FIXES = {
    "SIGKILL": "Perhaps memory ran out: try a smaller batch, shorter blocks or a smaller model.",
    "SIGXCPU": "It used up its processor time: try fewer steps or a smaller model.",
    "SIGTERM": "It was told to end from outside: resume it, or start it again.",
}


def command(folder: RunFolder) -> list[str]:
    """The command line that begins a run, and resumes one that has checkpoints."""
    return [sys.executable, "-m", "trainer", "run", str(folder.path)]


def environment(base: Mapping[str, str]) -> dict[str, str]:
    """What the process of a run sees of `base`: everything but secrets, which training never needs."""
    paths = [str(PROJECT), *filter(None, base.get("PYTHONPATH", "").split(os.pathsep))]
    return without_secrets(base) | {
        "PYTHONPATH": os.pathsep.join(paths),  # the process works in the run folder
        "PYTHONUNBUFFERED": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "DISABLE_SAFETENSORS_CONVERSION": "1",
    }


def failure(returncode: int, log_tail: str) -> Failed:
    """The last event of a process that died without one."""
    if returncode < 0:
        number = -returncode
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        what, fix = f"The training process was ended by {name}.", FIXES.get(name, "Try another model or other text.")
    else:
        what = f"The training process ended with exit code {returncode} and without a last word."
        fix = "The log says more; try other settings, or report it as a bug."
    log = f"\nThe end of its log:\n{log_tail[-LOG_CHARACTERS:]}" if log_tail else ""
    return Failed(what=what + log, fix=fix)
