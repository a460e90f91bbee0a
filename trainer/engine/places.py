"""What a user's words name on this machine: a file or folder to read, and a folder to fill."""

from __future__ import annotations

import json
import os
from pathlib import Path

from trainer.config import TrainConfig
from trainer.errors import ConfigError, RunError

OF_PROCESSES = {"lock", "ranks"}  # others of the same run may be here before the one that asks


def local_path(name: str) -> Path | None:
    """The file or folder of that name; None where there is none, or no name of one could be like that."""
    path = os.path.expanduser(name)
    return Path(path) if name != "bundled" and os.path.exists(path) else None


def check_folder(folder: Path) -> None:
    """Refuses a folder that is neither empty nor that of a run: a run replaces and deletes what its own files are.

    Raises: RunError.
    """
    try:
        found = set(os.listdir(folder)) - OF_PROCESSES
    except OSError:  # none yet, or none at all, which whoever makes it says in words
        return
    if not found:
        return
    try:
        settings = json.loads((folder / "config.json").read_bytes())
        TrainConfig.from_dict(settings if isinstance(settings, dict) else {"": settings})
    except (OSError, ValueError, RecursionError, ConfigError) as error:
        what = f"The folder {folder.absolute().name!r} is not empty, and not that of a run."
        raise RunError(what, "Choose an empty one, or one that is not there yet.") from error
