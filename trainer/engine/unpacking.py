"""Compressed files as plain ones, within bounds: a bomb is refused by its ratio, long before it fills the disk."""

from __future__ import annotations

import gzip
import os
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import IO

from trainer.errors import DataError

RATIO = 200  # text shrinks to a tenth, tables of repeated words to a hundredth
HARMLESS = 8 << 20  # bytes that may come out whatever the ratio
MEMBERS = 1000  # of a zip archive
CHUNK = 1 << 20
ENCRYPTED = 0x1
PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # a single read of any other may come to gigabytes


def unpack_gzip(path: Path, target: Path, name: str, limit: int) -> None:
    """Raises: DataError when the file is damaged, a bomb, or holds more than `limit` bytes."""
    try:
        with gzip.open(path) as stream, target.open("wb") as copy:
            _copy(stream, copy, path.stat().st_size, name, limit)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _damaged(name, "a gzip file") from error


def unpack_zip(
    path: Path, folder: Path, name: str, limit: int, wanted: Callable[[str], bool]
) -> list[tuple[Path, str]]:
    """The members of an archive whose names are `wanted`, as files of `folder` under names of ours, and their own.

    Raises: DataError when the archive is damaged, encrypted or a bomb, or a name in it leads out of it.
    """
    files = []
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            if len(members) > MEMBERS:
                what = f"The archive {name!r} holds {len(members):,} files; at most {MEMBERS:,} are read."
                raise DataError(what, "Put their texts into fewer files.")
            for member in members:
                place = PurePosixPath(member.filename.replace("\\", "/"))
                if place.is_absolute() or ".." in place.parts or ":" in member.filename.partition("/")[0]:
                    what = f"The archive {name!r} holds a file whose name leads out of it: {member.filename[:80]!r}."
                    raise DataError(what, "Pack the files anew.")
                if not wanted(place.name) or "__MACOSX" in place.parts[:1] or place.name.startswith("."):
                    continue
                if member.compress_type not in PACKINGS:
                    raise DataError(f"The archive {name!r} is packed in a way that is not read here.", "Use plain zip.")
                if member.flag_bits & ENCRYPTED:
                    raise DataError(f"The archive {name!r} is locked with a password.", "Pack it without one.")
                target = folder / f"{len(files)}{place.suffix.lower()}"
                with archive.open(member) as stream, target.open("wb") as copy:
                    limit -= _copy(stream, copy, member.compress_size, name, limit)
                files.append((target, place.name))
    except (zipfile.BadZipFile, EOFError, zlib.error, RuntimeError, OverflowError, ValueError) as error:
        raise _damaged(name, "a zip archive") from error
    return files


def _copy(stream: IO[bytes], copy: IO[bytes], packed_bytes: int, name: str, limit: int) -> int:
    """Copies until the end, or until it is too much; the bytes that came."""
    total = 0
    while chunk := stream.read(CHUNK):
        total += len(chunk)
        if total > max(HARMLESS, RATIO * packed_bytes):
            os.truncate(copy.fileno(), 0)
            what = f"What is packed in {name!r} is more than {RATIO} times larger than the file, as in a zip bomb."
            raise DataError(what, "Unpack it yourself and choose the text in it.")
        if total > limit:
            os.truncate(copy.fileno(), 0)
            what = f"What is packed in {name!r} has more than {limit / 1e6:,.0f} MB."
            raise DataError(what, "Split it, or leave some of it out.")
        copy.write(chunk)
    return total


def _damaged(name: str, kind: str) -> DataError:
    return DataError(f"The file {name!r} is not {kind}, or was cut short.", "Pack or fetch it again.")
