"""Text a visitor brings, kept where a run can read it; nothing here looks into it."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import threading
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from trainer.errors import DataError
from trainer.runs.folder import RunFolder, run_ids

PACKED = (".gz", ".zip")
UPLOADS = "uploads"  # folder below the home of all runs
DIGEST = 16  # characters, by which the folder of a text is named
USED = re.compile(rf"{UPLOADS}/([0-9a-f]{{{DIGEST}}})/".encode())  # in the settings of a run
UNUSED_SECONDS = 3600.0  # a text is kept that was only looked at, as it may be what the next run learns from


def keep_file(home: Path, source: Path) -> Path:
    """A copy of an uploaded file, named by its content: the same file twice takes its room once.

    Raises: DataError when it is empty or can't be kept.
    """
    name = re.sub(r"[^\w.-]", "_", source.name)[-80:]
    return _keep(home / UPLOADS / _digest(source) / name, lambda draft: shutil.copyfile(source, draft))


def keep_files(home: Path, sources: list[Path]) -> Path:
    """Several files as one archive, a single one as it is. Raises: DataError like `keep_file`."""
    if len(sources) == 1:
        return keep_file(home, sources[0])
    if packed := [source.name for source in sources if source.suffix.lower() in PACKED]:
        raise DataError(f"{packed[0]!r} is packed itself.", "Choose packed files one at a time.")
    digest = hashlib.sha256()
    for source in sources:
        digest.update(_digest(source).encode() + source.name.encode())
    target = home / UPLOADS / digest.hexdigest()[:DIGEST] / f"{len(sources)}-files.zip"

    def write(draft: Path) -> None:
        with zipfile.ZipFile(draft, "w", zipfile.ZIP_STORED) as archive:  # nothing looks into them here
            for number, source in enumerate(sources):
                archive.write(source, f"{number}/{source.name}")

    return _keep(target, write)


def keep_text(home: Path, text: str) -> Path:
    """Pasted text as a file. Raises: DataError when there is none."""
    if not text.strip():
        raise DataError("There is no text to learn from.", "Paste some, or choose another source.")
    data = text.encode("utf-8", errors="replace")
    target = home / UPLOADS / hashlib.sha256(data).hexdigest()[:DIGEST] / "pasted.txt"
    return _keep(target, lambda draft: draft.write_bytes(data))


def remove_unused(home: Path) -> None:
    """Removes the text that no run below `home` names, unless it was brought within the hour."""
    with suppress(OSError):  # what can't be read or removed now is looked at again
        folders = (home / UPLOADS).glob("[0-9a-f]" * DIGEST)
        old = [folder for folder in folders if time.time() - folder.stat().st_mtime > UNUSED_SECONDS]
        settings = [RunFolder(home / run_id).config.read_bytes() for run_id in run_ids(home)] if old else []
        used = {name.decode() for text in settings for name in USED.findall(text)}
        for folder in old:
            if folder.name not in used:
                shutil.rmtree(folder)


@functools.lru_cache(maxsize=1)
def _clear(home: Path, hour: int) -> None:
    """What is unused goes while the page runs, too, and the settings of all runs are read for that once an hour."""
    remove_unused(home)


def _digest(source: Path) -> str:
    """The name of a file's content. Raises: DataError when it is empty or gone."""
    try:
        size = source.stat().st_size
        with source.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()[:DIGEST]
    except OSError as error:  # uploads are kept for an hour
        raise DataError(f"The file {source.name!r} is no longer here.", "Choose it again.") from error
    if not size:
        raise DataError(f"The file {source.name!r} is empty.", "Choose one with text in it.")
    return digest


def _keep(target: Path, write: Callable[[Path], object]) -> Path:
    with suppress(OSError):
        os.utime(target.parent)  # brought again, and so not to be removed for an hour
    _clear(target.parents[2], int(time.time() / UNUSED_SECONDS))
    if not target.exists():
        draft = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            write(draft)
            os.replace(draft, target)
        except OSError as error:
            raise DataError(f"The text can't be kept: {error.strerror}.", "Make room on the disk.") from error
        finally:
            with suppress(OSError):
                draft.unlink()
    return target
