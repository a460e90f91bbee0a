"""Checkpoints that are either whole or not there, and are verified before they are believed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHECKPOINTS = "checkpoints"  # the folder's name in that of a run
MANIFEST = "manifest.json"
STATE = "state.json"
KEPT = 2  # checkpoints: the newest may turn out damaged

Writer = Callable[[Path], object]


def save_checkpoint(checkpoints: Path, step: int, writers: dict[str, Writer]) -> Path:
    """Writes `step-N` under another name, flushes it to disk, renames it, then removes the oldest ones."""
    target = checkpoints / f"step-{step}"
    unfinished = checkpoints / f".{target.name}.tmp"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    with _emptied_on_failure(unfinished):
        manifest = {}
        for name, write in writers.items():
            write(unfinished / name)
            manifest[name] = {"size": (unfinished / name).stat().st_size, "sha256": _sha256(unfinished / name)}
            flush(unfinished / name)
        write_json(unfinished / MANIFEST, manifest)
        flush(unfinished / MANIFEST)
        flush(unfinished)
    shutil.rmtree(target, ignore_errors=True)
    unfinished.rename(target)
    flush(checkpoints)
    folders = list(_newest_first(checkpoints))
    place = folders.index(target)  # those of later steps were damaged, or they would have been resumed from
    for other in folders[:place] + folders[place + KEPT :]:
        shutil.rmtree(other)
    return target


def newest_checkpoint(checkpoints: Path, warn: Callable[[str], None]) -> Path | None:
    """The newest checkpoint whose every file has the size and checksum it was written with; damaged ones are named."""
    for folder in _newest_first(checkpoints):
        damage = _damage(folder)
        if damage is None:
            return folder
        warn(f"The checkpoint {folder.name} is damaged ({damage}) and was passed over.")
    return None


def read_state(checkpoint: Path) -> dict[str, Any]:
    """The counters of a verified checkpoint: step, best loss, thread count, versions."""
    state: dict[str, Any] = json.loads((checkpoint / STATE).read_text())
    return state


def write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2))


def replace_folder(target: Path, write: Writer) -> None:
    """Lets `write` fill a folder, then puts its files in place of the old ones, each in one go."""
    unfinished = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    with _emptied_on_failure(unfinished):
        write(unfinished)
        for file in unfinished.iterdir():
            flush(file)
    if not target.exists():
        unfinished.rename(target)
    else:
        for file in unfinished.iterdir():
            os.replace(file, target / file.name)
        unfinished.rmdir()
    flush(target)
    flush(target.parent)


def set_aside(model: Path, checkpoint: Path) -> None:
    """Keeps the files of `model` with a checkpoint, without copying them where the disk knows links."""
    aside = checkpoint / model.name
    if model.exists() and not aside.exists():
        replace_folder(aside, lambda folder: shutil.copytree(model, folder, copy_function=link, dirs_exist_ok=True))


def take_back(model: Path, checkpoint: Path) -> None:
    """Makes `model` what it was when it was set aside with this checkpoint, if it was."""
    if (aside := checkpoint / model.name).exists():
        replace_folder(model, lambda folder: shutil.copytree(aside, folder, dirs_exist_ok=True))


def flush(path: Path) -> None:
    """Waits until a file or a folder's list of names is on the disk itself."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _emptied_on_failure(unfinished: Path) -> Iterator[None]:
    """On a full disk, what can't be finished makes room for the words that say so."""
    try:
        yield
    except BaseException:  # a Ctrl-C in the middle, too; it is raised again
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def link(source: str, target: str) -> None:
    """Another name for the same file, or a copy of it."""
    try:
        os.link(source, target)
    except OSError:  # not every file system can
        shutil.copyfile(source, target)


def _newest_first(checkpoints: Path) -> Iterator[Path]:
    numbered = [(int(f.name[5:]), f) for f in checkpoints.glob("step-*") if f.name[5:].isdecimal()]
    return (folder for _, folder in sorted(numbered, reverse=True))


def _damage(folder: Path) -> str | None:
    """What is wrong with a checkpoint, or None."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
        if STATE not in manifest:
            return f"its manifest names no {STATE}"
        for name, facts in manifest.items():
            if (folder / name).stat().st_size != facts["size"]:
                return f"{name} has the wrong size"
            if _sha256(folder / name) != facts["sha256"]:
                return f"{name} has changed"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
