"""Text a visitor brings, kept where a run can read it; nothing here looks into it."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

from trainer.errors import DataError

PACKED = (".gz", ".zip")
UPLOADS = "uploads"  # folder below the home of all runs


def keep_file(home: Path, source: Path) -> Path:
    """A copy of an uploaded file, named by its content: the same file twice takes its room once.

    Raises: DataError when it is empty or can't be kept.
    """
    try:
        size = source.stat().st_size
        with source.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:  # uploads are kept for an hour
        raise DataError(f"The file {source.name!r} is no longer here.", "Choose it again.") from error
    if not size:
        raise DataError(f"The file {source.name!r} is empty.", "Choose one with text in it.")
    name = re.sub(r"[^\w.-]", "_", source.name)[-80:]
    return _keep(home / UPLOADS / digest / name, lambda draft: shutil.copyfile(source, draft))


def keep_files(home: Path, sources: list[Path]) -> Path:
    """Several files as one archive, a single one as it is. Raises: DataError like `keep_file`."""
    if len(sources) == 1:
        return keep_file(home, sources[0])
    if packed := [source.name for source in sources if source.suffix.lower() in PACKED]:
        raise DataError(f"{packed[0]!r} is packed itself.", "Choose packed files one at a time.")
    digest = hashlib.sha256()
    for source in sources:
        digest.update(keep_file(home, source).parent.name.encode() + source.name.encode())
    target = home / UPLOADS / digest.hexdigest()[:16] / f"{len(sources)}-files.zip"

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
    target = home / UPLOADS / hashlib.sha256(data).hexdigest()[:16] / "pasted.txt"
    return _keep(target, lambda draft: draft.write_bytes(data))


def _keep(target: Path, write: Callable[[Path], object]) -> Path:
    if not target.exists():
        draft = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            write(draft)
            os.replace(draft, target)
        except OSError as error:
            raise DataError(f"The text can't be kept: {error.strerror}.", "Make room on the disk.") from error
    return target
