"""A run as one zip file: its model and what was told about it, without its checkpoints."""

from __future__ import annotations

import hashlib
import os
import uuid
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from trainer.errors import RunError
from trainer.runs.folder import RunFolder
from trainer.runs.names import name_of
from trainer.runs.shown_text import without_machine_paths

CHUNK_BYTES = 1 << 20


def write_archive(folder: RunFolder, cache: Path, progress: Callable[[float], None] = lambda share: None) -> Path:
    """The zip of a run, below `cache`: the one made before, if nothing changed since.

    Weights hardly shrink, so nothing is compressed; no file is held in memory. `progress` gets shares, 0 to 1.
    Raises: RunError when the disk is full or a file is taken away meanwhile.
    """
    try:
        files = [(path, os.stat(path)) for path in _files(folder)]
        facts = [(str(path), stat.st_size, stat.st_mtime_ns) for path, stat in files]
        target = cache / hashlib.sha256(repr(facts).encode()).hexdigest() / f"{name_of(folder.id)}.zip"
        if target.exists():
            os.utime(target)  # who clears the cache goes by age
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            _write(folder, [path for path, _ in files], sum(size for _, size, _ in facts), target, progress)
    except OSError as error:
        what = f"The zip file of run {folder.name} can't be made: {error.strerror}."
        raise RunError(what, "Make room on the disk and try again.") from error
    return target


def _files(folder: RunFolder) -> Iterator[Path]:
    """What goes in: no checkpoints, and nothing that only points to a file elsewhere."""
    for path in (folder.config, folder.events, folder.log, *sorted(folder.model.rglob("*"))):
        if path.is_file() and not path.is_symlink():
            yield path


def _write(folder: RunFolder, paths: list[Path], size: int, target: Path, progress: Callable[[float], None]) -> None:
    draft = target.with_name(f"{uuid.uuid4().hex}.part")
    done = 0
    try:
        with zipfile.ZipFile(draft, "w") as archive:
            for path in paths:
                chunks = _chunks(path) if folder.model in path.parents else _lines(path, folder.path.parent)
                name = f"{target.stem}/{path.relative_to(folder.path)}"
                entry = zipfile.ZipInfo.from_file(path, name, strict_timestamps=False)
                with archive.open(entry, "w", force_zip64=True) as file:
                    for chunk in chunks:
                        file.write(chunk)
                        done += len(chunk)
                        progress(min(1.0, done / size))
        os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _lines(path: Path, home: Path) -> Iterator[bytes]:
    """Text of the run, without the paths of this machine."""
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            yield without_machine_paths(line, home).encode()
